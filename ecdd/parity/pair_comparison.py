"""Two files over pictures, in two tolerance classes.

*Same tensor*: both models read the S4 that the reference's pipeline made. *Same file*: each side takes the file's bytes
through a pipeline of its own (decoding, faces, crop, resize, normalisation, model, pooling, calibration).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecdd.inference.calibration import probability
from ecdd.inference.pooling import pooled_logits
from ecdd.parity.float_vs_tflite import ProbabilityParity, probability_parity
from ecdd.parity.output_pairs import OutputPairs, output_metrics, pair_outputs
from ecdd.parity.parity_metric import ParityError, ParityLimits, ParityMetric, metric
from ecdd.parity.patch_map_parity import PatchParity, patch_parity
from ecdd.parity.pooled_logit_parity import PooledParity, pooled_parity
from ecdd.runtimes.base import ModelOutputs, RuntimeFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.model_sections import Pooling
    from ecdd.parity.pictures import PicturePipeline, PreparedTensors
    from ecdd.parity.runtime_pair import Side, SideCalibration

SAME_TENSOR, SAME_FILE = "same_tensor.", "same_file."
Named = dict[str, "NDArray[np.float32]"]
_KEPT = 4  # tensors kept for the comparison layer by layer


@dataclass(frozen=True)
class ComparedSide:
    """A file with its pipeline and, where there is one, its calibration."""

    side: Side
    pipeline: PicturePipeline
    calibration: SideCalibration | None


@dataclass(frozen=True, eq=False)
class Sample:
    """One face or picture: name, pixels (H, W, 3) uint8 and tensor (H, W, 3) float32."""

    name: str
    s3: NDArray[np.uint8]
    s4: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PairParity:
    """What was measured of a pair.

    Attributes
    ----------
    names : tuple of str
        Of the tensors.
    reference, candidate : ModelOutputs
        Maps and pooled logits of the same tensors.
    patch, pooled, probability
        Parity at the three levels; None where no calibration is known.
    pooled_by : str
        ``each file`` or the contract's rule, applied to the maps of both.
    other_outputs : OutputPairs
        Beside map and logit: what was compared, and what has no partner.
    metrics : tuple of ParityMetric
        Of both classes.
    worst : Sample
        With the largest difference of a patch logit.
    first : tuple of Sample
        The first few.
    left_out : dict of str to str
        Pictures that neither model read, with the codes.
    n_pictures : int
        All that were given.
    """

    names: tuple[str, ...]
    reference: ModelOutputs
    candidate: ModelOutputs
    patch: PatchParity
    pooled: PooledParity
    probability: ProbabilityParity | None
    pooled_by: str
    other_outputs: OutputPairs
    metrics: tuple[ParityMetric, ...]
    worst: Sample
    first: tuple[Sample, ...]
    left_out: dict[str, str]
    n_pictures: int

    @property
    def same_file(self) -> tuple[ParityMetric, ...]:
        """Metrics of the class *same file*."""
        return tuple(one for one in self.metrics if one.name.startswith(SAME_FILE))


@dataclass
class _Kept:
    """What is collected while the pictures go by; the tensors themselves would not fit."""

    names: list[str] = field(default_factory=list)
    outputs: tuple[list[ModelOutputs], list[ModelOutputs]] = field(default_factory=lambda: ([], []))
    others: tuple[list[Named], list[Named]] = field(default_factory=lambda: ([], []))
    first: list[Sample] = field(default_factory=list)
    worst: Sample | None = None
    largest: float = -1.0
    left_out: dict[str, str] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    scores: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    other_outcome: list[str] = field(default_factory=list)
    other_tensor: list[str] = field(default_factory=list)


def compare_pair(
    reference: ComparedSide,
    candidate: ComparedSide,
    pictures: Iterable[tuple[str, Path]],
    pooling: Pooling,
    limits: ParityLimits | None,
) -> PairParity:
    """Send pictures through both files and compare.

    Parameters
    ----------
    reference, candidate : ComparedSide
        Both or neither have a calibration.
    pictures : iterable of (str, Path)
        Names and files.
    pooling : Pooling
        Rule for both sides where not both files pool themselves.
    limits : ParityLimits or None
        Of both classes; None: everything is only reported, but that the same pictures reach both models.

    Returns
    -------
    PairParity
        Metrics of both classes.

    Raises
    ------
    ParityError
        If no picture reaches the models.
    RuntimeFileError
        If the maps have other shapes: the candidate is another model.
    """
    kept = _Kept()
    rule = None if reference.side.pools and candidate.side.pools else pooling
    given = 0
    for name, path in pictures:
        _one_picture(name, path, reference, candidate, rule, kept)
        given += 1
    if kept.worst is None:
        reasons = ", ".join(sorted(set(kept.left_out.values())))
        msg = f"none of {given} pictures reaches a model ({reasons}); use --whole-picture where no faces are meant"
        raise ParityError(msg)
    one, other = (_joined(outputs, rule) for outputs in kept.outputs)
    pairs = pair_outputs(reference.side.runtime, candidate.side.runtime)
    patch = patch_parity(one.maps, other.maps)
    assert one.pooled is not None
    assert other.pooled is not None
    pooled = pooled_parity(one.pooled, other.pooled)
    chances = _probabilities(reference, candidate, one.pooled, other.pooled)
    metrics = patch.metrics(limits, kept.names, SAME_TENSOR) + pooled.metrics(limits, kept.names, SAME_TENSOR)
    metrics += [] if chances is None else chances.metrics(limits, kept.names, SAME_TENSOR)
    for pair in pairs.pairs:
        values = [np.concatenate([one[name] for one in side]) for name, side in zip(pair, kept.others, strict=True)]
        metrics += output_metrics(pair, values[0], values[1], limits, kept.names, SAME_TENSOR)
    metrics += _of_files(reference, candidate, kept, limits, given)
    pooled_by = "each file" if rule is None else f"the contract's rule {rule.rule}, from the maps"
    return PairParity(
        tuple(kept.names), one, other, patch, pooled, chances, pooled_by, pairs, tuple(metrics), kept.worst,
        tuple(kept.first), kept.left_out, given,
    )  # fmt: skip


def _one_picture(
    name: str, path: Path, reference: ComparedSide, candidate: ComparedSide, rule: Pooling | None, kept: _Kept
) -> None:
    prepared = [one.pipeline.prepare(path) for one in (reference, candidate)]
    mine, theirs = prepared
    if _why(mine) != _why(theirs):
        kept.other_outcome.append(name)
    if not len(mine.s4):
        kept.left_out[name] = _why(mine)
        return
    found = [_run(one.side, mine.s4) for one in (reference, candidate)]
    if found[0].maps.shape != found[1].maps.shape:
        shapes = [str(one.maps.shape[1:]) for one in found]
        raise RuntimeFileError(
            candidate.side.file, f"maps {shapes[0]} as of {reference.side.file}", f"maps {shapes[1]}"
        )
    for outputs, others, one, side in zip(
        kept.outputs, kept.others, found, (reference.side, candidate.side), strict=True
    ):
        outputs.append(one)
        if len(side.runtime.every) > sum(facts is not None for facts in side.runtime.chosen[1:]):
            others.append(side.runtime.named_outputs(mine.s4))
    many = len(mine.s4) > 1
    samples = [
        Sample(f"{name} face {k}" if many else name, *pair) for k, pair in enumerate(zip(mine.s3, mine.s4, strict=True))
    ]
    kept.names += [sample.name for sample in samples]
    kept.first += samples[: max(0, _KEPT - len(kept.first))]
    # a logit that is not finite is the worst there is
    apart = np.nan_to_num(np.abs(found[0].maps - found[1].maps).max(axis=(1, 2)), nan=np.inf, posinf=np.inf)
    if apart.max() > kept.largest:
        kept.largest, kept.worst = float(apart.max()), samples[int(apart.argmax())]
    if not len(theirs.s4):
        return
    own = found[1]
    if theirs.s4.tobytes() != mine.s4.tobytes():
        kept.other_tensor.append(name)
        own = _run(candidate.side, theirs.s4)
    kept.pictures.append(name)
    for scores, one in zip(kept.scores, (found[0], own), strict=True):
        scores.append(float(_pooled(one, rule).max()))


def _run(side: Side, batch: NDArray[np.float32]) -> ModelOutputs:
    try:
        return side.runtime.outputs(batch)
    except ValueError as error:  # another size than the file takes
        raise RuntimeFileError(side.file, f"a model of pictures {batch.shape[1:]}", str(error)) from None


def _pooled(found: ModelOutputs, rule: Pooling | None) -> NDArray[np.float32]:
    if rule is None:
        assert found.pooled is not None
        return found.pooled
    return pooled_logits(found, rule)


def _joined(outputs: list[ModelOutputs], rule: Pooling | None) -> ModelOutputs:
    maps = np.concatenate([one.maps for one in outputs])
    return ModelOutputs(maps, np.concatenate([_pooled(one, rule) for one in outputs]))


def _why(prepared: PreparedTensors) -> str:
    """How many tensors, or which codes kept the picture from the model."""
    if len(prepared.s4):
        return f"{len(prepared.s4)} tensors"
    return " ".join(sorted({*prepared.picture_codes, *(code for codes in prepared.codes for code in codes)}))


def _probabilities(
    reference: ComparedSide, candidate: ComparedSide, one: NDArray[np.float32], other: NDArray[np.float32]
) -> ProbabilityParity | None:
    mine, theirs = reference.calibration, candidate.calibration
    if mine is None or theirs is None:
        return None
    chances = [
        np.array([probability(calibration.applied.logit(float(logit))) for logit in row])
        for calibration, row in ((mine, one), (theirs, other))
    ]
    return probability_parity(chances[0], chances[1], mine.band, theirs.band if mine.band else None)


def _of_files(
    reference: ComparedSide, candidate: ComparedSide, kept: _Kept, limits: ParityLimits | None, given: int
) -> list[ParityMetric]:
    """The class *same file*: a picture's score is its largest pooled logit, as under ``max_p_fake``."""
    equal = reference.pipeline.rule == candidate.pipeline.rule
    pixels = {"limit": 0, "clause": "one contract, one S4"} if equal else {}
    rows = [
        metric(
            f"{SAME_FILE}pictures_with_another_outcome",
            len(kept.other_outcome),
            "picture",
            n=given,
            worst=", ".join(kept.other_outcome[:3]),
            limit=0,
            clause="the same pictures reach both models",
        ),
        metric(
            f"{SAME_FILE}pictures_with_another_tensor",
            len(kept.other_tensor),
            "picture",
            n=len(kept.pictures),
            worst=", ".join(kept.other_tensor[:3]),
            **pixels,
        ),
    ]
    one, other = (np.array(scores, np.float32) for scores in kept.scores)
    rows += pooled_parity(one, other).metrics(limits, kept.pictures, SAME_FILE)
    chances = _probabilities(reference, candidate, one, other)
    return rows + ([] if chances is None else chances.metrics(limits, kept.pictures, SAME_FILE))
