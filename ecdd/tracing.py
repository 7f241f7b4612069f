"""The artifacts S0 to S8 of one picture, each under a name that says algorithm, dtype, shape and layout."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ecdd.inference.patch_grid import cell_box, cell_box_in_picture
from ecdd.inference.stages import argmax_cell, map_checksum
from ecdd.pipeline.decode import decoder_fingerprint, s1_digest
from ecdd.pipeline.orientation import box_to_stored
from ecdd.pipeline.stages import crop_digest

if TYPE_CHECKING:
    from ecdd.detector import Detector, Judgement


def stage_artifacts(detector: Detector, judgement: Judgement) -> list[dict[str, Any]]:
    """List the stages that a picture reached.

    Parameters
    ----------
    detector : Detector
        The detector that judged it.
    judgement : Judgement
        From `Detector.examine`.

    Returns
    -------
    list of dict
        ``stage``, ``face`` (index or None) and the artifact's values.
    """
    prepared, policy = judgement.prepared, detector.policy
    rows: list[dict[str, Any]] = []
    if prepared is not None:
        decoded = prepared.decoded
        rows.append(
            {"stage": "S0", "face": None, "file": f"sha256-file-bytes:{decoded.sha256}", "bytes": decoded.n_bytes}
        )
        rows.append(
            {
                "stage": "S1",
                "face": None,
                "image": s1_digest(decoded.image),
                "decoder": decoder_fingerprint(),
                "orientation": decoded.orientation,
                "notes": list(decoded.notes),
            }
        )
        for index, _ in enumerate(prepared.faces):
            rows += _face_rows(detector, judgement, index)
    decision = judgement.decision
    rows.append(
        {
            "stage": "S8",
            "face": decision.deciding_face,
            "label": decision.label,
            "reason_codes": [str(code) for code in decision.reason_codes],
            "outcome": judgement.outcome,
            "t_real": policy.operating_point.t_real,
            "t_fake": policy.operating_point.t_fake,
        }
    )
    return rows


def _face_rows(detector: Detector, judgement: Judgement, index: int) -> list[dict[str, Any]]:
    prepared, policy = judgement.prepared, detector.policy
    assert prepared is not None
    face = prepared.faces[index]
    s4 = face.s4(policy.pixel_pipeline)
    shape = "x".join(str(n) for n in face.s3.shape)
    rows: list[dict[str, Any]] = [
        {
            "stage": "S2",
            "face": index,
            "box": [round(v, 3) for v in face.face.box],
            "score": round(face.face.score, 6),
            "crop_box": list(face.crop_box),
            "crop": crop_digest(prepared.decoded.image, face.crop_box, policy.face_detector, face.face),
            "reason_codes": [str(code) for code in face.reason_codes],
        },
        {"stage": "S3", "face": index, "image": f"sha256-rgb-uint8-hwc-{shape}:{_sha256(face.s3.tobytes())}"},
        {
            "stage": "S4",
            "face": index,
            "tensor": f"sha256-float32-hwc-{shape}:{_sha256(s4.astype('<f4').tobytes())}",
            "min": round(float(s4.min()), 6),
            "max": round(float(s4.max()), 6),
        },
    ]
    judged = judgement.judged.get(index)
    if judged is None:
        return rows
    patch_map = judged.patch_map
    row, col = argmax_cell(patch_map)
    rows.append(
        {
            "stage": "S5",
            "face": index,
            "map": map_checksum(patch_map, policy.patch_grid.checksum_step),
            "shape": list(patch_map.shape),
            "min": float(patch_map.min()),
            "max": float(patch_map.max()),
            "mean": float(patch_map.mean()),
            "argmax": [row, col],
            **_places(detector, judgement, index, row, col),
        }
    )
    rows.append({"stage": "S6", "face": index, "rule": policy.pooling.rule, "pooled_logit": judged.pooled_logit})
    rows.append(
        {
            "stage": "S7",
            "face": index,
            "calibrated_logit": judged.calibrated_logit,
            "probability": judged.probability,
        }
    )
    return rows


def _places(detector: Detector, judgement: Judgement, index: int, row: int, col: int) -> dict[str, Any]:
    """Where a cell lies: in S4, in the upright picture, and in the picture as stored; x0, y0, x1, y1 each."""
    prepared, policy = judgement.prepared, detector.policy
    assert prepared is not None
    y0, x0, y1, x1 = cell_box(row, col, policy.patch_grid)
    places: dict[str, Any] = {"argmax_in_s4": [x0, y0, x1, y1]}
    if policy.face_detector.crop_alignment == "eye_line":
        return places  # the crop was turned: its cells are no boxes of the picture
    crop, decoded = prepared.faces[index].crop_box, prepared.decoded
    box = cell_box_in_picture(row, col, policy.patch_grid, crop, policy.pixel_pipeline.input_size)
    stored = box_to_stored(box, decoded.orientation, decoded.stored_size)
    places["argmax_in_picture"] = [round(value, 3) for value in box]
    places["argmax_in_stored"] = [round(value, 3) for value in stored]
    return places


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
