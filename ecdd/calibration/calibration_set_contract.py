"""The calibration set: which pictures, scored how, and whether the contract accepts it (E4.1)."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecdd.calibration.calibration_error import CalibrationError
from ecdd.files import plain_cell, read_text, spreadsheet_cell
from ecdd.inference.calibration import UNCALIBRATED
from ecdd.inference.stages import judge
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.reason_codes import Rejected
from ecdd.pipeline.stages import prepare
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.tflite import TFLiteRuntime, wants_xnnpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.model_sections import Calibration
    from ecdd.contract.schema import PolicyContract
    from ecdd.dataset_governance.usable_faces import TaggedRow
    from ecdd.pipeline.face import FaceBackend

JUDGED = "judged"


@dataclass(frozen=True)
class ScoredPicture:
    """One calibration picture and what the shipped model says of it.

    Attributes
    ----------
    sha256, source, group : str
        File digest, source and near-duplicate group.
    label : int
        1 fake, 0 real.
    outcome : str
        ``judged``, or the reason codes that kept the picture from the model, joined by ``+``.
    logit : float or None
        Largest pooled logit (S6) of the judged faces, before calibration.
    """

    sha256: str
    source: str
    group: str
    label: int
    outcome: str
    logit: float | None


def score_pictures(
    rows: list[TaggedRow],
    policy: PolicyContract,
    models: Sequence[bytes],
    seen: Callable[[str, NDArray[np.float32]], None] = lambda *_: None,
) -> Iterator[tuple[ScoredPicture, ...]]:
    """Send pictures through the exact pipeline, once, and through models, in the pinned runtime.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        Lineage CALIBRATION.
    policy : PolicyContract
        Pipeline, gates, grid, pooling and runtime.
    models : sequence of bytes
        TFLite files that this process made or verified.
    seen : callable
        Given SHA-256 and S4 of every picture that can be judged: float32, shape (faces, S, S, 3).

    Yields
    ------
    tuple of ScoredPicture
        One a model, for every row; a picture that cannot be judged is an outcome, never left out.
    """
    detector = load_detector(policy.face_detector)
    xnnpack = wants_xnnpack(policy.runtime.delegate)
    threads, interface = policy.runtime.threads, ModelInterface.of(policy, "tflite")
    runtimes = [TFLiteRuntime(model, threads=threads, xnnpack=xnnpack, interface=interface) for model in models]
    for row, tag in rows:
        outcome, batch = _prepared(row.path, policy, detector)
        if batch is not None:
            seen(row.sha256, batch)
        logits = [None if batch is None else _largest_logit(runtime, batch, policy) for runtime in runtimes]
        known = (row.sha256, row.source, tag.near_duplicate_group, int(row.label or 0), outcome)
        yield tuple(ScoredPicture(*known, logit) for logit in logits)


def _prepared(path: Path, policy: PolicyContract, detector: FaceBackend) -> tuple[str, NDArray[np.float32] | None]:
    """Outcome, and S4 of the faces that may be judged."""
    try:
        picture = prepare(read_file(path, policy.pixel_pipeline), policy, detector, name=path.name)
    except Rejected as rejected:
        return "+".join(rejected.codes), None
    batch = picture.batch(policy.pixel_pipeline)
    if len(batch):
        return JUDGED, batch
    codes = {*picture.reason_codes, *(code for face in picture.faces for code in face.reason_codes)}
    return "+".join(sorted(codes)), None


def _largest_logit(runtime: TFLiteRuntime, batch: NDArray[np.float32], policy: PolicyContract) -> float:
    faces = judge(runtime.outputs(batch), len(batch), policy.patch_grid, policy.pooling, UNCALIBRATED)
    return max(face.pooled_logit for face in faces)


@dataclass(frozen=True)
class JudgedSet:
    """The pictures that reached the model, as arrays of one length."""

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    digest: str

    @property
    def n_real(self) -> int:
        """Number of real pictures."""
        return int((self.labels == 0).sum())

    @property
    def n_fake(self) -> int:
        """Number of fake pictures."""
        return int((self.labels == 1).sum())


def judged_set(pictures: list[ScoredPicture], policy: Calibration) -> JudgedSet:
    """Take the pictures that reached the model and check them against the contract.

    Parameters
    ----------
    pictures : list of ScoredPicture
        The whole scored set.
    policy : Calibration
        ``min_samples_per_class``.

    Returns
    -------
    JudgedSet
        Its digest covers SHA-256 and label of every picture in it.

    Raises
    ------
    CalibrationError
        If a picture stands twice, a sampled source was never judged, or a class has fewer pictures than the contract
        asks for; every violation is listed.
    """
    judged = sorted((p for p in pictures if p.logit is not None), key=lambda p: p.sha256)
    names = sorted({p.group for p in judged})
    number = {name: k for k, name in enumerate(names)}
    lines = "".join(f"{p.sha256},{p.label}\n" for p in judged)
    out = JudgedSet(
        np.array([p.logit for p in judged], np.float64),
        np.array([p.label for p in judged], np.int64),
        np.array([number[p.group] for p in judged], np.int64),
        hashlib.sha256(lines.encode()).hexdigest(),
    )
    problems = _violations(pictures)
    for name, count in (("real", out.n_real), ("fake", out.n_fake)):
        if count < policy.min_samples_per_class:
            problems.append(
                f"calibration.min_samples_per_class is {policy.min_samples_per_class}, but only {count} {name} "
                f"pictures of {len(pictures)} reached the model; add CALIBRATION pictures"
            )
    if problems:
        raise CalibrationError("\n".join(problems))
    return out


def _violations(pictures: list[ScoredPicture]) -> list[str]:
    """What is wrong with a set whatever its size: duplicates, sources that never reached the model, odd numbers."""
    times = Counter(picture.sha256 for picture in pictures)
    problems = [
        f"picture {key[:12]} stands {count} times; keep one row" for key, count in sorted(times.items()) if count > 1
    ]
    problems += [
        f"picture {p.sha256[:12]}: label {p.label} and logit {p.logit}; allowed are labels 0 and 1 and finite logits"
        for p in pictures
        if p.label not in (0, 1) or (p.logit is not None and not math.isfinite(p.logit))
    ]
    judged = {picture.source for picture in pictures if picture.logit is not None}
    problems += [
        f"source {source}: none of its pictures reached the model (sampling_rule stratified_by_source); "
        "add pictures of it, or leave the source out"
        for source in sorted({picture.source for picture in pictures} - judged)
    ]
    return problems


def scores_csv(pictures: list[ScoredPicture]) -> str:
    """Write the scored set as CSV, sorted by SHA-256, logits exact."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(ScoredPicture.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for picture in sorted(pictures, key=lambda p: p.sha256):
        row = asdict(picture)
        row["logit"] = "" if picture.logit is None else repr(picture.logit)
        writer.writerow({name: spreadsheet_cell(value) for name, value in row.items()})
    return buffer.getvalue()


def read_scores(path: Path) -> list[ScoredPicture]:
    """Read what `scores_csv` wrote.

    Raises
    ------
    CalibrationError
        If a line is malformed.
    """
    pictures = []
    with io.StringIO(read_text(path), newline="") as handle:
        for line, row in enumerate(csv.DictReader(handle), start=2):
            try:
                logit = float(row["logit"]) if row["logit"] else None
                source, group = plain_cell(row["source"]), plain_cell(row["group"])
                pictures.append(ScoredPicture(row["sha256"], source, group, int(row["label"]), row["outcome"], logit))
            except (AttributeError, KeyError, TypeError, ValueError) as error:  # a short line lacks some
                msg = f"{path.name}:{line}: not a line of calibration scores ({error})"
                raise CalibrationError(msg) from error
    return pictures
