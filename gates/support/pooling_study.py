"""Pooling rules compared on the same maps: separation, reaction to one noisy patch, stability under re-encoding.

The rule of choice is applied alike to rules, top-k ratios, trimmed fractions and attention temperatures. It was written
down before anything was measured, but for the second half of step 2: without it attention at temperature 2 was chosen,
whose logits have an offset that a temperature cannot take away (NLL 0.64 after calibration, against 0.51 of the mean).

1. Who moves by more than `max_patch_reaction` standard deviations (over faces) because of one noisy patch is out;
   if that is everyone, the one that moves least is chosen.
2. Of the others, those whose AUC is not shown to be below the best one's, and whose negative log-likelihood after the
   contract's calibration (fitted out of fold) is not shown to be above the best one's (paired bootstrap over faces, at
   the contract's confidence), count as equally good.
3. Of these the most stable under JPEG and resizing is chosen; shifts within a tenth of the least count as equal, and
   then the first in the order of the list, which goes from simple to elaborate.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.calibration.temperature_scaling import fit_temperature
from ecdd.contract.model_sections import Pooling, PoolingRule
from ecdd.inference.patch_grid import cell_box, standing_for
from ecdd.inference.pooling import RULES, pool
from ecdd.pipeline.preprocess import normalise
from gates.support.fixtures import Detector
from gates.support.portraits import Portrait, open_portrait, png, relaxed

Scores = NDArray[np.float64]
JPEG_QUALITY = 75
RESIZE_FACTOR = 0.75
NOISY_PLACES = 3
RESAMPLES = 1000
CALIBRATION_FOLDS = 5
EQUAL_SHIFTS = 1.1
TOP_K_RATIOS = (0.01, 0.02, 0.05, 0.1)
TEMPERATURES = (0.5, 1.0, 2.0, 4.0)
# strengths that are compared of every rule, from simple to elaborate
STRENGTHS: Mapping[PoolingRule, Sequence[float]] = {
    "mean": (),
    "trimmed_mean": (0.05, 0.1, 0.25),
    "top_k": TOP_K_RATIOS[::-1],
    "attention": TEMPERATURES[::-1],
}


@dataclass(frozen=True, eq=False)
class StudiedFace:
    """One labelled face: its map, the same face re-encoded and resized, and with one noisy patch in three places."""

    name: str
    label: int
    patch_map: NDArray[np.float32]
    jpeg: NDArray[np.float32]
    resized: NDArray[np.float32]
    noisy: NDArray[np.float32]


Studies = Callable[[str], list[StudiedFace]]


def studied_faces(portraits: Sequence[Portrait], detector: Detector) -> list[StudiedFace]:
    """Pass portraits through the whole pipeline as they are and degraded; those with one face each time are studied."""
    open_gates, faces = relaxed(detector), []
    for place, portrait in enumerate(portraits):
        image = open_portrait(portrait, detector.policy)
        small = (round(image.width * RESIZE_FACTOR), round(image.height * RESIZE_FACTOR))
        resized = image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)
        coded = io.BytesIO()
        image.save(coded, "JPEG", quality=JPEG_QUALITY)
        seen = [open_gates.examine(content) for content in (png(image), coded.getvalue(), png(resized))]
        if portrait.label is None or any(len(judgement.judged) != 1 for judgement in seen):
            continue
        maps = [next(iter(judgement.judged.values())).patch_map for judgement in seen]
        (index,) = seen[0].judged
        noisy = _with_noisy_patches(seen[0].prepared.faces[index].s3, detector, seed=place)
        faces.append(StudiedFace(portrait.name, portrait.label, *maps, noisy))
    return faces


def _with_noisy_patches(s3: Any, detector: Detector, seed: int) -> NDArray[np.float32]:
    policy, rng, batch = detector.policy, np.random.default_rng([seed, 33]), []
    grid = standing_for(policy.patch_grid, policy.pixel_pipeline.input_size)
    for _ in range(NOISY_PLACES):
        box = cell_box(*(int(rng.integers(1, n - 1)) for n in (grid.rows, grid.cols)), grid)
        changed = s3.copy()
        shape = (box.y1 - box.y0, box.x1 - box.x0, 3)
        changed[box.y0 : box.y1, box.x0 : box.x1] = rng.integers(0, 256, shape, dtype=np.uint8)
        batch.append(normalise(changed, policy.pixel_pipeline))
    return np.asarray(detector.runtime.patch_map(np.stack(batch)))


def variants(pooling: Pooling, *kinds: PoolingRule) -> dict[str, Pooling]:
    """Pooling policies by name, from simple to elaborate."""
    made = []
    for kind in kinds:
        rule = pooling.model_copy(update={"rule": kind})
        made += [rule.model_copy(update={RULES[kind].knob: value}) for value in STRENGTHS[kind]] or [rule]
    return {name_of(policy): policy for policy in made}


def name_of(pooling: Pooling, rule: PoolingRule | None = None) -> str:
    """The name that `variants` gives to the contract's own parameters of a rule."""
    rule = rule or pooling.rule
    knob = RULES[rule].knob
    return f"{rule} {getattr(pooling, knob):g}" if knob else rule


def reference_pool(patch_map: NDArray[np.float32], rule: Pooling) -> float:
    """Pool in float64, written from the specification and not from the implementation."""
    values = [float(v) for v in np.asarray(patch_map).reshape(-1)]
    n = len(values)
    if rule.rule == "top_k":
        k = -(-round(rule.top_k_ratio * 10**6) * n // 10**6)
        values = sorted(values, reverse=True)[:k]
    elif rule.rule == "trimmed_mean":
        cut = round(rule.trim_fraction * 10**6) * n // 10**6
        values = sorted(values)[cut : n - cut]
    elif rule.rule == "attention":
        top = max(values)
        weights = [np.exp((v - top) / rule.attention_temperature) for v in values]
        return float(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return sum(values) / len(values)


@dataclass(frozen=True, eq=False)
class Studied:
    """Measures of one rule: scores and calibrated losses by face, and what stands in the table."""

    scores: Scores
    losses: Scores
    row: dict[str, Any]


def study(faces: Sequence[StudiedFace], policies: Mapping[str, Pooling]) -> dict[str, Studied]:
    """Measure every rule on the same maps."""
    labels = np.array([face.label for face in faces])
    return {name: _measured(name, policy, faces, labels) for name, policy in policies.items()}


def _measured(name: str, policy: Pooling, faces: Sequence[StudiedFace], labels: Any) -> Studied:
    scores = np.array([pool(face.patch_map, policy) for face in faces])
    spread = float(scores.std())
    reactions = [max(abs(pool(m, policy) - s) for m in f.noisy) / spread for f, s in zip(faces, scores, strict=True)]
    shifts = {
        key: float(np.mean([abs(pool(getattr(f, key), policy) - s) for f, s in zip(faces, scores, strict=True)]))
        / spread
        for key in ("jpeg", "resized")
    }
    worst, losses = int(np.argmax(reactions)), calibrated_losses(scores, labels)
    row = {
        "rule": name,
        "faces": len(faces),
        "auc": auc(scores, labels),
        "calibrated_nll": float(losses.mean()),
        "largest_patch_reaction": float(max(reactions)),
        "jpeg_shift": shifts["jpeg"],
        "resize_shift": shifts["resized"],
        "worst_face": faces[worst].name,
    }
    return Studied(scores, losses, row)


def auc(scores: Scores, labels: NDArray[np.int64]) -> float:
    """Area under the ROC curve; ties count half."""
    from scipy.stats import rankdata

    fake = labels == 1
    n_fake, n_real = int(fake.sum()), int((~fake).sum())
    if not n_fake or not n_real:
        return float("nan")
    return float((rankdata(scores)[fake].sum() - n_fake * (n_fake + 1) / 2) / (n_fake * n_real))


def calibrated_losses(scores: Scores, labels: NDArray[np.int64]) -> Scores:
    """Negative log-likelihood of every face at a temperature that was fitted on the other folds."""
    fold, losses = np.empty(labels.size, int), np.empty(labels.size)
    for value in (0, 1):
        members = np.flatnonzero(labels == value)
        fold[np.random.default_rng([35, value]).permutation(members)] = np.arange(members.size) % CALIBRATION_FOLDS
    for k in range(CALIBRATION_FOLDS):
        scaled = scores[fold == k] / fit_temperature(scores[fold != k], labels[fold != k])
        losses[fold == k] = np.logaddexp(0, scaled) - labels[fold == k] * scaled
    return losses


def worse_bounds(kept: Sequence[Studied], labels: NDArray[np.int64], confidence: float) -> None:
    """Note lower confidence bounds of how far each rule's AUC lies below the best, and its NLL above the best.

    A bound above 0 shows the rule to be worse; faces are drawn within their class and compared in pairs.
    """
    rng, groups = np.random.default_rng(34), [np.flatnonzero(labels == value) for value in (0, 1)]
    drawn = np.array([np.concatenate([rng.choice(g, g.size) for g in groups]) for _ in range(RESAMPLES)])
    counts = np.array([np.bincount(row, minlength=labels.size) for row in drawn])
    aucs = [_aucs(one.scores, labels, counts) for one in kept]
    auc_best = aucs[max(range(len(kept)), key=lambda k: kept[k].row["auc"])]
    nll_best = min(kept, key=lambda one: one.row["calibrated_nll"]).losses
    for one, mine in zip(kept, aucs, strict=True):
        above = (one.losses - nll_best)[drawn].mean(axis=1)
        low = np.quantile([auc_best - mine, above], 1 - confidence, axis=1)
        one.row.update({"auc_below_best_bound": float(low[0]), "nll_above_best_bound": float(low[1])})


def _aucs(scores: Scores, labels: NDArray[np.int64], counts: NDArray[np.int64]) -> Scores:
    """`auc` of every resample (rows of ``counts``: how often each face was drawn), all at once."""
    order = np.argsort(scores, kind="stable")
    values, drawn = scores[order], counts[:, order]
    ties = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    fakes, reals = (np.add.reduceat(drawn * (labels[order] == value), ties, axis=1) for value in (1, 0))
    wins = (fakes * (2 * (np.cumsum(reals, axis=1) - reals) + reals)).sum(axis=1) / 2
    return wins / ((labels == 1).sum() * (labels == 0).sum())


def choose(found: Mapping[str, Studied], labels: NDArray[np.int64], limit: float, confidence: float) -> str:
    """Apply the rule of choice (see the module) and note in the rows what each step decided."""
    for studied in found.values():
        studied.row["kept"] = studied.row["largest_patch_reaction"] <= limit
    kept = {name: s for name, s in found.items() if s.row["kept"]}
    if not kept:
        return min(found, key=lambda name: found[name].row["largest_patch_reaction"])
    worse_bounds(list(kept.values()), labels, confidence)
    bounds = ("auc_below_best_bound", "nll_above_best_bound")
    good = {name: s for name, s in kept.items() if all(s.row[bound] <= 0 for bound in bounds)}
    if not good:  # the best by one measure is worse by the other: then the likelihood decides
        return min(kept, key=lambda name: kept[name].row["calibrated_nll"])
    shift = {name: s.row["jpeg_shift"] + s.row["resize_shift"] for name, s in good.items()}
    return next(name for name in good if shift[name] <= EQUAL_SHIFTS * min(shift.values()))
