"""The stages S0 to S8 of one picture: one record, of which every text that shows or freezes a stage is a part.

``ecdd trace`` and the site show all of it, golden stages freeze S0 to S4, golden outputs S5 to S8, and a verdict holds
S5 of its deciding face. What stands for bytes has a name that says algorithm, dtype, shape and layout.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecdd.inference.decision import Decision
from ecdd.inference.patch_grid import cell_box, cell_box_in_picture, standing_for
from ecdd.inference.stages import argmax_cell, map_checksum
from ecdd.pipeline.decode import decoder_fingerprint, s1_digest
from ecdd.pipeline.given_pixels import GIVEN
from ecdd.pipeline.orientation import box_to_stored
from ecdd.pipeline.stages import crop_digest
from ecdd.verdict import PatchMapSummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.schema import PolicyContract
    from ecdd.inference.stages import JudgedFace
    from ecdd.pipeline.stages import PreparedFace, PreparedPicture


@dataclass(eq=False)
class StageRecord:
    """Everything that was computed for one picture; the verdict is a summary of it.

    The arrays are kept; digests and summaries of a stage are computed when it is asked for. ``s0()`` to ``s8()`` give
    JSON values; those of a face take its index.

    Attributes
    ----------
    policy : PolicyContract
        The contract in force.
    prepared : PreparedPicture or None
        S0 to S4; None when the file was rejected.
    judged : dict of int to JudgedFace
        S5 to S7 by face index.
    decision : Decision
        S8.
    outcome : {"judged", "abstained", "rejected", "error"}
        As in the verdict.
    detail : str
        One sentence for a person.
    milliseconds : dict of str to float
        Time by stage.
    """

    policy: PolicyContract
    prepared: PreparedPicture | None = None
    judged: dict[int, JudgedFace] = field(default_factory=dict)
    decision: Decision = field(default_factory=lambda: Decision("abstain", (), None))
    outcome: Literal["judged", "abstained", "rejected", "error"] = "abstained"
    detail: str = ""
    milliseconds: dict[str, float] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """List the stages that the picture reached.

        Returns
        -------
        list of dict
            ``stage``, ``face`` (index or None) and the stage's values; boxes rounded to 0.001 pixels.
        """
        rows: list[dict[str, Any]] = []
        if self.prepared is not None:
            rows += [{"stage": "S0", "face": None, **self.s0()}, {"stage": "S1", "face": None, **self.s1()}]
            for index in range(len(self.prepared.faces)):
                rows += [{"stage": stage, "face": index, **values} for stage, values in self._of_face(index)]
        point = self.policy.operating_point
        thresholds = {"t_real": point.t_real, "t_fake": point.t_fake}
        return [*rows, {"stage": "S8", "face": self.decision.deciding_face, **self.s8(), **thresholds}]

    def _of_face(self, index: int) -> list[tuple[str, dict[str, Any]]]:
        s2 = self.s2(index)
        del s2["landmarks"]
        s2 |= {"box": [round(v, 3) for v in s2["box"]], "score": round(s2["score"], 6)}
        found = [("S2", s2), ("S3", self.s3(index)), ("S4", self.s4(index))]
        if index in self.judged:
            s5 = self.s5(index)
            found.append(("S5", s5.model_dump(mode="json") | self._places(index, *s5.argmax)))
            found += [("S6", self.s6(index)), ("S7", self.s7(index))]
        return found

    def s0(self) -> dict[str, Any]:
        """Name and number of the file's bytes; pixels that came without a file are *given*."""
        decoded = self._picture.decoded
        if decoded.sha256 is None:
            return {"file": GIVEN, "bytes": None}
        return {"file": s0_name(decoded.sha256), "bytes": decoded.n_bytes}

    def s1(self) -> dict[str, Any]:
        """Pixels of the upright picture, what decoded them, and what was noticed."""
        decoded = self._picture.decoded
        return {
            "image": s1_digest(decoded.image),
            "decoder": GIVEN if decoded.sha256 is None else decoder_fingerprint(),
            "orientation": decoded.orientation,
            "notes": list(decoded.notes),
        }

    def s2(self, index: int) -> dict[str, Any]:
        """The face, its crop, and the gates that it failed; lengths in pixels of the upright picture."""
        face = self._face(index)
        detector = self.policy.face_detector
        return {
            "box": list(face.face.box),
            "score": face.face.score,
            "landmarks": [list(point) for point in face.face.landmarks],
            "crop_box": list(face.crop_box),
            "crop": crop_digest(self._picture.decoded.image, face.crop_box, detector, face.face),
            "reason_codes": [str(code) for code in face.reason_codes],
        }

    def s3(self, index: int) -> dict[str, Any]:
        """Pixels of the resized crop."""
        return {"image": _array_name("rgb-uint8", self._face(index).s3)}

    def s4(self, index: int) -> dict[str, Any]:
        """The tensor that the model reads."""
        s4 = self._face(index).s4(self.policy.pixel_pipeline)
        return {"tensor": s4_digest(s4), "min": round(float(s4.min()), 6), "max": round(float(s4.max()), 6)}

    def s5(self, index: int) -> PatchMapSummary:
        """Shape, range, mean and largest cell of the patch-logit map; the mean is taken in float64."""
        patch_map = self.judged[index].patch_map
        return PatchMapSummary(
            shape=(patch_map.shape[0], patch_map.shape[1]),
            min=float(patch_map.min()),
            max=float(patch_map.max()),
            mean=float(patch_map.mean(dtype=np.float64)),
            argmax=argmax_cell(patch_map),
            checksum=map_checksum(patch_map, self.policy.patch_grid.checksum_step),
        )

    def s6(self, index: int) -> dict[str, Any]:
        """Pooled logit."""
        return {"rule": self.policy.pooling.rule, "pooled_logit": self.judged[index].pooled_logit}

    def s7(self, index: int) -> dict[str, Any]:
        """Calibrated logit and P(fake)."""
        judged = self.judged[index]
        return {"calibrated_logit": judged.calibrated_logit, "probability": judged.probability}

    def s8(self) -> dict[str, Any]:
        """The decision."""
        codes = [str(code) for code in self.decision.reason_codes]
        return {"label": self.decision.label, "reason_codes": codes, "outcome": self.outcome}

    @property
    def _picture(self) -> PreparedPicture:
        assert self.prepared is not None, "the file was rejected: there is no stage before S8"
        return self.prepared

    def _face(self, index: int) -> PreparedFace:
        return self._picture.faces[index]

    def _places(self, index: int, row: int, col: int) -> dict[str, Any]:
        """Where a cell lies: in S4, in the upright picture, and in the picture as stored; x0, y0, x1, y1 each."""
        side = self.policy.pixel_pipeline.input_size
        grid = standing_for(self.policy.patch_grid, side)
        y0, x0, y1, x1 = cell_box(row, col, grid)
        places: dict[str, Any] = {"argmax_in_s4": [x0, y0, x1, y1]}
        if self.policy.face_detector.crop_alignment == "eye_line":
            return places  # the crop was turned: its cells are no boxes of the picture
        crop, decoded = self._face(index).crop_box, self._picture.decoded
        box = cell_box_in_picture(row, col, grid, crop, side)
        stored = box_to_stored(box, decoded.orientation, decoded.stored_size)
        places["argmax_in_picture"] = [round(value, 3) for value in box]
        places["argmax_in_stored"] = [round(value, 3) for value in stored]
        return places


def s0_name(sha256: str) -> str:
    """Name of S0, from the SHA-256 of the file's bytes."""
    return f"sha256-file-bytes:{sha256}"


def s4_digest(s4: NDArray[np.float32]) -> str:
    """Name of S4, shape (S, S, 3), from its little-endian bytes."""
    return _array_name("float32", s4.astype("<f4"))


def _array_name(kind: str, values: NDArray[Any]) -> str:
    """Name of the bytes of S3 or S4, shape (S, S, 3)."""
    shape = "x".join(str(n) for n in values.shape)
    return f"sha256-{kind}-hwc-{shape}:{hashlib.sha256(values.tobytes()).hexdigest()}"
