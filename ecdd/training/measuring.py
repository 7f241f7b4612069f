"""What a trained network reaches on variants it did not learn from, beside what shortcuts alone reach on the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.metrics import auc
from ecdd.contract.schema import PolicyContract
from ecdd.models.patch_network import PatchNetwork
from ecdd.training.batches import pooled_logits
from ecdd.training.cache import HARMONISED, ORIGINAL, Variant
from ecdd.training.config import TrainingConfig, TrainingError
from ecdd.training.sampling import balanced
from ecdd.training.shortcut_baseline import auc_interval, shortcut_baseline

Weighted = tuple[list[Variant], NDArray[np.float64]]
Scores = dict[tuple[str, int], float]


def score_variants(model: PatchNetwork, variants: list[Variant], policy: PolicyContract) -> Scores:
    """Score every variant once.

    Returns
    -------
    dict
        File and row of the tensor to its pooled logit.
    """
    return dict(zip(map(_key, variants), pooled_logits(model, variants, policy).tolist(), strict=True))


def measure(scores: Scores, train: list[Variant], test: list[Variant], config: TrainingConfig) -> dict[str, Any]:
    """Measure a network on a part, three ways, each beside the shortcut baseline of the same tensors.

    ``size_matched``: harmonised tensors, face size and colour mode alike in both classes.
    ``size_and_sharpness_matched``: sharpness too. ``files_as_they_are``: originals, each picture once, with every
    shortcut that they hold.

    Parameters
    ----------
    scores : dict
        Of every test variant, from `score_variants`.
    train, test : list of Variant
        Of any kind; the baseline learns from ``train``. Forgeries of our own are left out of both.
    config : TrainingConfig
        Matching and seed.

    Returns
    -------
    dict
        By kind of matching: AUC, its 95 % interval (near-duplicate groups drawn together), counts, baseline; None
        where the part does not hold both classes.
    """
    train, test = ([v for v in part if v.is_given] for part in (train, test))
    parts = {
        "size_matched": (_matched(train, []), _matched(test, [])),
        "size_and_sharpness_matched": (_matched(train, config.sharpness_edges), _matched(test, config.sharpness_edges)),
        "files_as_they_are": (_originals(train), _originals(test)),
    }
    return {name: _measured(scores, *pair, config) for name, pair in parts.items()}


def by_source(scores: Scores, test: list[Variant], config: TrainingConfig) -> dict[str, tuple[float, float, float]]:
    """AUC and 95 % interval of every source against all of the other class, face size and colour mode matched.

    Sources that share no cell with the other class are left out.
    """
    found: dict[str, tuple[float, float, float]] = {}
    own = [v for v in test if v.is_given]
    for source in sorted({v.source for v in own}):
        label = next(v.label for v in own if v.source == source)
        part = _matched([v for v in own if v.source == source or v.label != label], [])
        if part is not None:
            values, labels = _values(scores, part[0]), _labels(part[0])
            low, high = auc_interval(values, part[0], part[1], config.seed)
            found[source] = (auc(values, labels, part[1]), low, high)
    return found


def _measured(
    scores: Scores, train: Weighted | None, test: Weighted | None, config: TrainingConfig
) -> dict[str, Any] | None:
    if train is None or test is None:
        return None
    values = _values(scores, test[0])
    baseline = shortcut_baseline(train, test, config.seed)
    return {
        "auc": auc(values, _labels(test[0]), test[1]),
        "interval": list(auc_interval(values, test[0], test[1], config.seed)),
        "pictures": {
            name: len({v.sha256 for v in test[0] if v.label == label}) for label, name in enumerate(("real", "fake"))
        },
        "tensors": len(test[0]),
        "shortcut_baseline": {
            "auc": baseline.auc,
            "interval": list(baseline.interval),
            "single_features": baseline.single,
        },
    }


def _matched(variants: list[Variant], edges: list[float]) -> Weighted | None:
    try:
        data = balanced([v for v in variants if v.kind == HARMONISED], edges)
    except TrainingError:
        return None
    return data.variants, data.weights()


def _originals(variants: list[Variant]) -> Weighted | None:
    chosen = [v for v in variants if v.kind == ORIGINAL]
    return (chosen, np.ones(len(chosen))) if len({v.label for v in chosen}) == 2 else None


def _labels(variants: list[Variant]) -> NDArray[np.int64]:
    return np.array([v.label for v in variants], np.int64)


def _key(variant: Variant) -> tuple[str, int]:
    return str(variant.file), variant.row


def _values(scores: Scores, variants: list[Variant]) -> NDArray[np.float64]:
    return np.array([scores[_key(v)] for v in variants], np.float64)
