"""The verdict on one picture: what every command, log and gate reads."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr

from ecdd.errors import EcddError

if TYPE_CHECKING:
    from PIL import Image


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
        Which look found it: ``first``, ``second`` (with a border of air), ``turned`` or ``part`` (of a long picture).
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
    look: Literal["first", "second", "turned", "part"] = "first"
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
    file_sha256 : str or None
        None when the file was not decoded, and for pixels that came without a file (``pixels_given`` in ``notes``).

    Examples
    --------
    >>> from ecdd import Detector
    >>> verdict = Detector.load().predict(b"no picture")
    >>> verdict
    <Verdict abstain: IO-002 format unknown; accepted are JPEG, PNG, WEBP>
    >>> verdict.label, verdict.outcome, verdict.reason_codes
    ('abstain', 'rejected', ('IO-002',))
    >>> verdict.face is None, verdict.heatmap() is None
    (True, True)
    >>> verdict.to_dict()["probability"] is None
    True
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
    _drawing: Callable[[str, str], Image.Image] | None = PrivateAttr(None)

    @property
    def face(self) -> FaceVerdict | None:
        """The face that decided; None where none was judged."""
        return None if self.deciding_face is None else self.faces[self.deciding_face]

    def heatmap(self) -> Image.Image | None:
        """Draw the map of local logits over the deciding face.

        Returns
        -------
        Image or None
            RGB: face, overlay, colour bar in logits; None where no face was judged. Takes some 20 ms.

        Raises
        ------
        EcddError
            A face was judged, and its pixels were not kept: `Detector.predict` keeps them, `Detector.predict_many`
            with ``heatmaps=True``, JSON never.
        """
        if self.deciding_face is None or self.probability is None:
            return None
        if self._drawing is None:
            raise EcddError(
                "this verdict kept no pixels of its face: use Detector.predict, or predict_many with heatmaps=True"
            )
        which = f", face {self.deciding_face + 1} of {len(self.faces)}" if len(self.faces) > 1 else ""
        title = f"{self.label}, P(fake) = {self.probability:.3f}{which}"
        limits = f"real <= {self.thresholds['t_real']:.3f}, fake >= {self.thresholds['t_fake']:.3f}"
        parts = [PurePath(self.path).name[-60:], limits, " ".join(self.reason_codes)]
        return self._drawing(title, " ".join(" - ".join(part for part in parts if part).split()))

    def keep(self, drawing: Callable[[str, str], Image.Image] | None) -> Verdict:
        """Keep what draws the heatmap, from a title and a subtitle; gives this verdict."""
        self._drawing = drawing
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values of every field, at full precision."""
        return self.model_dump(mode="json")

    def __repr__(self) -> str:
        """One line: label, probability or reasons, and path."""
        said = "" if self.probability is None else f" P(fake)={self.probability:.3f}"
        why = f": {' '.join(self.reason_codes)} {self.detail}" if self.label == "abstain" else ""
        where = f" {self.path!r}" if self.path else ""
        return f"<Verdict {self.label}{said}{why}{where}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Table and, where it was kept, heatmap, as a notebook shows them."""
        probability = "not judged" if self.probability is None else f"{self.probability:.3f}"
        limits = f"real up to {self.thresholds['t_real']:.3f}, fake from {self.thresholds['t_fake']:.3f}"
        rows = [("verdict", self.label), ("P(fake)", f"{probability} ({limits})"), ("picture", self.path or "given")]
        if self.reason_codes:
            rows.insert(1, ("because", f"{' '.join(self.reason_codes)}: {self.detail}"))
        rows += [("note", warning) for warning in self.warnings]
        table = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows)
        return f"<table>{table}</table>{self._picture_html()}"

    def _picture_html(self) -> str:
        drawn = None if self._drawing is None else self.heatmap()
        if drawn is None:
            return ""
        import base64
        import io

        buffer = io.BytesIO()
        drawn.save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f'<img alt="heatmap of the face that decided" src="data:image/png;base64,{data}">'

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
