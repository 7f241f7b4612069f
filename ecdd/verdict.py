"""The verdict on one picture: what every command, log and gate reads."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FaceVerdict(_Part):
    """One face.

    Attributes
    ----------
    box : tuple of float
        ``x0, y0, x1, y1``, upright picture pixels.
    crop_box : tuple of int
        What the model saw, upright picture pixels, half open.
    score : float
        Face detector's confidence, 0 to 1.
    look : str
        Which look found it: ``first``, ``second`` (with a border of air) or ``turned``.
    face_side, blur, blockiness, roll : float
        Quality measures: px, level², ratio, degrees.
    tonal_levels, large_steps : float or None
        Effective number of luma levels, share of neighbours far apart; None where the contract does not ask.
    jpeg_quality : float or None
        IJG quality; None when unknown.
    probability : float or None
        P(fake); None when the face was not judged.
    """

    box: tuple[float, float, float, float]
    crop_box: tuple[int, int, int, int]
    score: float
    landmarks: tuple[tuple[float, float], ...]
    face_side: float
    blur: float
    soft: bool
    jpeg_quality: float | None
    jpeg_quality_kind: str
    blockiness: float
    roll: float = 0.0
    tonal_levels: float | None = None
    large_steps: float | None = None
    look: Literal["first", "second", "turned"] = "first"
    reason_codes: tuple[str, ...]
    logit: float | None = None
    probability: float | None = None


class PatchMapSummary(_Part):
    """S5 of a face: shape, range, mean, the cell with the largest logit, and the checksum of the rounded map.

    The mean is taken in float64; the pooled logit under the rule ``mean`` is taken in float32.
    """

    shape: tuple[int, int]
    min: float
    max: float
    mean: float
    argmax: tuple[int, int]
    checksum: str


class DetectorSummary(_Part):
    """Identity of the face detector."""

    name: str
    version: str
    weights_sha256: str
    score_threshold: float
    detection_size: int


class Verdict(_Part):
    """The verdict on one picture.

    Attributes
    ----------
    label : {"real", "fake", "abstain"}
        Never anything else; a rejected file abstains too.
    outcome : {"judged", "abstained", "rejected", "error"}
        ``judged``: a label by the thresholds. ``abstained``: a gate, or the band. ``rejected``: the file was not
        decoded. ``error``: the detector failed; counted on its own, never as real or fake.
    probability, logit : float or None
        Calibrated P(fake) and pooled logit of the deciding face; None when no face was judged.
    reason_codes : tuple of str
        Why it abstained; empty for real and fake.
    detail : str
        One sentence for a person.
    size : tuple of int or None
        Width and height of the upright picture, pixels; None when it was not decoded.
    """

    path: str
    label: Literal["real", "fake", "abstain"]
    outcome: Literal["judged", "abstained", "rejected", "error"]
    probability: float | None
    logit: float | None
    thresholds: dict[str, float]
    reason_codes: tuple[str, ...]
    detail: str
    faces: tuple[FaceVerdict, ...]
    deciding_face: int | None
    abstain_action: str | None
    patch_map: PatchMapSummary | None
    size: tuple[int, int] | None = None
    file_sha256: str | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    contract_digest: str
    bundle_digest: str
    detector: DetectorSummary
    versions: dict[str, str]
    milliseconds: dict[str, float]

    def without_picture(self, outcome: Literal["rejected", "error"], code: str, detail: str) -> Verdict:
        """Verdict of the same system on a file that it never saw.

        Parameters
        ----------
        outcome : {"rejected", "error"}
            Refused before it was decoded, or lost with the process that had it.
        code : str
            The reason.
        detail : str
            One sentence for a person.

        Returns
        -------
        Verdict
            Thresholds, digests and versions are this verdict's own, which must be one on a file without a picture.
        """
        told: dict[str, Any] = {"outcome": outcome, "reason_codes": (code,), "detail": detail, "milliseconds": {}}
        return self.model_copy(update=told)
