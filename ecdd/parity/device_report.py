"""What a dump's comparison says as a whole: limits by stage, the first that moves, its likely cause, the decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecdd.parity.device_dump import Dump, Platform
from ecdd.parity.device_judging import STAGES, Compared, StageLimit, compare, limits
from ecdd.parity.device_reference import Reference
from ecdd.parity.likely_causes import Cause, likely_cause


@dataclass(frozen=True)
class StageResult:
    """One stage over all pictures of a dump.

    Attributes
    ----------
    stage : str
        ``"S0"`` to ``"S8"``.
    n : int
        Pictures or faces compared; 0 where the dump does not hold the stage.
    worst, worst_name : float, str
        Largest movement, and where.
    moved : tuple of str
        Pictures and faces beyond the limit.
    limit : StageLimit
        What the contract allows.
    """

    stage: str
    n: int
    worst: float
    worst_name: str
    moved: tuple[str, ...]
    limit: StageLimit


@dataclass(frozen=True)
class DeviceReport:
    """Verdict on one dump.

    Attributes
    ----------
    platform : Platform
        Whose dump.
    frozen : bool
        Whether all of the reference is frozen; else this machine computed a part of it.
    stages : tuple of StageResult
        S0 to S8.
    cause : Cause or None
        Of the first stage that moves; None where none does.
    missing : tuple of str
        Golden pictures that the dump lacks.
    end_to_end : dict of str to float
        Largest difference to the frozen S3 (levels), S6 (logit) and S7 (probability), whatever it comes from.
    other_decisions : tuple of str
        Pictures whose S8 is another, with both.
    """

    platform: Platform
    frozen: bool
    stages: tuple[StageResult, ...]
    cause: Cause | None
    missing: tuple[str, ...]
    end_to_end: dict[str, float]
    other_decisions: tuple[str, ...]

    @property
    def first(self) -> StageResult | None:
        """The first stage that moves."""
        return next((one for one in self.stages if one.moved), None)

    @property
    def not_dumped(self) -> tuple[str, ...]:
        """Stages of which the dump holds nothing."""
        return tuple(one.stage for one in self.stages if not one.n)

    @property
    def passes(self) -> bool:
        """Whether every stage is there, of every golden picture, and none moves."""
        return self.first is None and not self.missing and not self.not_dumped

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        first = self.first
        return {
            "platform": self.platform.model_dump(),
            "passes": self.passes,
            "reference": "frozen" if self.frozen else "frozen where there is one, else computed on this machine",
            "first_moved": None if first is None else first.stage,
            "cause": None if self.cause is None else vars(self.cause),
            "stages": [
                {"stage": one.stage, "n": one.n, "worst": _finite(one.worst), "worst_at": one.worst_name,
                 "limit": one.limit.value, "unit": one.limit.unit, "clause": one.limit.clause, "moved": list(one.moved)}
                for one in self.stages
            ],
            "missing": list(self.missing),
            "not_dumped": list(self.not_dumped),
            "end_to_end": {key: _finite(value) for key, value in self.end_to_end.items()},
            "other_decisions": list(self.other_decisions),
        }  # fmt: skip


def judge_dump(dump: Dump, reference: Reference) -> DeviceReport:
    """Hold a dump to the reference of its bundle.

    Parameters
    ----------
    dump : Dump
        Of any implementation.
    reference : Reference
        Of the same bundle.

    Returns
    -------
    DeviceReport
        Complete: what is missing in the dump is listed there.

    Raises
    ------
    DumpError
        It is of another bundle or golden set.
    """
    compared, allowed = compare(dump, reference), limits(reference)
    stages, cause = [], None
    for stage in STAGES:
        mine = [one for one in compared if one.stage == stage]
        moved = [one for one in mine if not one.moved <= allowed[stage].value]
        worst = max(mine, key=lambda one: one.moved, default=None)
        if moved and cause is None:
            cause = likely_cause(stage, compared, moved, (dump, reference))
        stages.append(
            StageResult(
                stage,
                len(mine),
                0.0 if worst is None else worst.moved,
                "" if worst is None or not worst.moved else worst.name,
                tuple(one.name for one in moved),
                allowed[stage],
            )
        )
    wanted = reference.dump.head.pictures
    return DeviceReport(
        platform=dump.head.platform,
        frozen=reference.frozen == wanted.keys(),
        stages=tuple(stages),
        cause=cause,
        missing=tuple(sorted(wanted.keys() - dump.head.pictures.keys())),
        end_to_end=_end_to_end(dump, reference),
        other_decisions=tuple(_decisions(compared)),
    )


def _decisions(compared: list[Compared]) -> list[str]:
    return [
        f"{one.picture}: {_told(one.got)}, frozen {_told(one.want)}"
        for one in compared
        if one.stage == "S8" and one.moved
    ]


def _told(decision: Any) -> str:  # noqa: ANN401 - DumpedDecision
    return " ".join([decision.label, *decision.reason_codes])


def _end_to_end(dump: Dump, reference: Reference) -> dict[str, float]:
    """Largest difference to the frozen numbers, of faces that both have."""
    found = {"S3": 0.0, "S6": 0.0, "S7": 0.0}
    for name, picture in dump.head.pictures.items():
        frozen = reference.dump.head.pictures[name]
        if len(picture.faces) != len(frozen.faces):
            continue
        for index, (got, want) in enumerate(zip(picture.faces, frozen.faces, strict=True)):
            one, other = dump.of(name, "S3", index), reference.dump.of(name, "S3", index)
            if one is not None and other is not None and one.shape == other.shape:
                found["S3"] = max(found["S3"], float(np.abs(one.astype(np.int16) - other.astype(np.int16)).max()))
            pairs = {"S6": (got.pooled_logit, want.pooled_logit), "S7": (got.probability, want.probability)}
            for stage, (mine, theirs) in pairs.items():
                if mine is not None and theirs is not None:
                    found[stage] = max(found[stage], abs(mine - theirs))
    return found


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else "another shape or number"
