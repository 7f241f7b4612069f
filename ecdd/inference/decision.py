"""Deciding (S8): which face decides, and what it means against the thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecdd.contract.model_sections import OperatingPoint
    from ecdd.contract.pixel_sections import QualityGates

Label = Literal["real", "fake", "abstain"]
LOW_MODEL_CONFIDENCE = "MD-001"


@dataclass(frozen=True)
class Decision:
    """S8 of one picture.

    Attributes
    ----------
    label : {"real", "fake", "abstain"}
        Verdict.
    reason_codes : tuple of str
        Sorted; empty when decided.
    deciding_face : int or None
        Index of the face whose probability decided, also when it abstains inside the band.
    """

    label: Label
    reason_codes: tuple[str, ...]
    deciding_face: int | None


def decide(
    probabilities: Mapping[int, float],
    face_codes: Sequence[Sequence[str]],
    gates: QualityGates,
    point: OperatingPoint,
) -> Decision:
    """Decide a picture from the probabilities of its judged faces.

    Parameters
    ----------
    probabilities : mapping of int to float
        Face index to P(fake), for the faces that were judged.
    face_codes : sequence of sequence of str
        Reason codes of every face that counts under the multi-face policy; empty where none.
    gates : QualityGates
        ``unjudged_face_policy``.
    point : OperatingPoint
        Thresholds.

    Returns
    -------
    Decision
        Fake when the most suspicious judged face reaches ``t_fake``. Otherwise a face that failed a gate makes the
        picture abstain (it could be the forged one), unless the contract ignores such faces. Real at or below
        ``t_real``; between the thresholds MD-001.
    """
    failed = tuple(sorted({str(code) for codes in face_codes for code in codes}))
    if not probabilities:
        return Decision("abstain", failed, None)
    decider = max(probabilities, key=lambda index: (probabilities[index], -index))
    highest = probabilities[decider]
    if highest >= point.t_fake:
        return Decision("fake", (), decider)
    if failed and gates.unjudged_face_policy == "abstain":
        return Decision("abstain", failed, decider)
    if highest <= point.t_real:
        return Decision("real", (), decider)
    return Decision("abstain", (LOW_MODEL_CONFIDENCE,), decider)
