"""Comparing the stages that the site answers with the frozen ones of a golden picture."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecdd.bundle.loading import Bundle
from ecdd.contract.schema import PolicyContract
from ecdd.evidence.stage_snapshots import numbers_close
from ecdd.golden.golden_hashes import FrozenPicture, FrozenStages, read_s3
from ecdd.golden.golden_outputs import output_folder, read_npy
from gates.support.fixtures import GoldenItem

_ROUNDED = 0.00051  # the site rounds boxes to 3 digits, patch logits to 4


@dataclass(frozen=True)
class Comparison:
    """What the stages are compared with.

    Attributes
    ----------
    policy : PolicyContract
        Tolerances.
    frozen : FrozenStages
        S0 to S4.
    bundle : Bundle
        With golden outputs, S5 to S8.
    """

    policy: PolicyContract
    frozen: FrozenStages
    bundle: Bundle

    def first(self, item: GoldenItem, answer: dict[str, Any]) -> list[str]:
        """Names of the stages S0 to S4 that differ, in order."""
        stored = self.frozen.picture(item.id)
        if stored is None:
            return ["S0: never frozen"]
        rows = _by_stage(answer)
        if stored.rejected:
            return [] if tuple(answer["reason_codes"]) == stored.rejected else ["S8: rejected by another code"]
        if ("S0", None) not in rows:
            return [f"S0: refused with {' '.join(answer['reason_codes'])}"]
        found = [] if rows["S0", None]["file"] == f"sha256-file-bytes:{stored.s0}" else ["S0"]
        if self.frozen.same_decoder and rows["S1", None]["image"] != stored.s1_digest:
            found.append("S1")
        if len(answer["faces"]) != len(stored.faces):
            return [*found, "S2: number of faces"]
        return found + [
            stage for index in range(len(stored.faces)) for stage in self._face(stored, rows, answer, index)
        ]

    def _face(self, stored: FrozenPicture, rows: Any, answer: dict[str, Any], index: int) -> Iterator[str]:
        face, detector = stored.faces[index], self.policy.face_detector
        s2, exact = rows["S2", index], self.frozen.same_fingerprint
        boxes = {"box": _ROUNDED, "score": 1e-6, "crop_box": 0.0}
        if not exact:
            side = detector.tolerance_box
            boxes = {"box": side, "score": detector.tolerance_score, "crop_box": 2 * side}
        old = {"box": list(face.box), "score": face.score, "crop_box": list(face.crop_box)}
        if not numbers_close({key: s2[key] for key in old}, old, boxes) or (exact and s2["crop"] != face.crop_digest):
            yield f"S2 of face {index}"
        s3 = read_s3(base64.b64decode(answer["faces"][index]["crop_png"]))
        limit = 0 if exact else self.policy.pixel_pipeline.tolerance_s3
        told = rows["S3", index]["image"].endswith(hashlib.sha256(s3.tobytes()).hexdigest())
        moved = tuple(s2["crop_box"]) != face.crop_box  # another platform: other pixels by right
        if not told or (not moved and int(np.abs(s3.astype(np.int32) - face.s3).max()) > limit):
            yield f"S3 of face {index}"
        if exact and rows["S4", index]["tensor"] != face.s4_digest:
            yield f"S4 of face {index}"

    def last(self, item: GoldenItem, answer: dict[str, Any]) -> list[str]:
        """Names of the stages S5 to S8 that differ from the bundle's golden outputs."""
        stem = output_folder(self.bundle, item) / item.id
        stored = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        rows = _by_stage(answer)
        decided, s8 = stored["S8"], rows.get(("S8", stored["S8"]["deciding_face"]))
        same = s8 is not None and all(s8[key] == decided[key] for key in ("label", "outcome", "reason_codes"))
        found = [] if same else ["S8"]
        if len(stored["faces"]) != len(answer["faces"]):
            return [*found, "S5: number of faces"]
        maps = iter(read_npy(stem.with_suffix(".npy").read_bytes())) if stem.with_suffix(".npy").is_file() else iter(())
        for index, face in enumerate(stored["faces"]):
            if rows["S2", index]["reason_codes"] != face["reason_codes"] or ("S5" in face) != (("S5", index) in rows):
                found.append(f"S8 of face {index}")
            elif "S5" in face:
                found += self._numbers(face, next(maps), rows, answer["faces"][index]["patch_map"], index)
        return found

    def _numbers(self, face: Any, old: Any, rows: Any, patch_map: Any, index: int) -> Iterator[str]:
        policy = self.policy
        new, spread = np.asarray(patch_map, np.float64), float(np.ptp(old))
        near = policy.patch_grid.tolerance_s5 * spread
        ends = dict.fromkeys(("min", "max", "mean"), near)
        summary = {key: rows["S5", index][key] for key in ends}
        same_shape = new.shape == old.shape and rows["S5", index]["shape"] == list(old.shape)
        if not same_shape or np.abs(new - old).max() > near + _ROUNDED / 10:
            yield f"S5 of face {index}"
        elif not numbers_close(summary, {key: face["S5"][key] for key in ends}, ends):
            yield f"S5 of face {index}: summary"
        if abs(rows["S6", index]["pooled_logit"] - face["S6"]["logit"]) > policy.pooling.tolerance_s6:
            yield f"S6 of face {index}"
        s7, limit = rows["S7", index], policy.calibration.tolerance_s7
        # the calibrated logit is a multiple of the pooled one: it is held as the probability is, as in gate G3
        if abs(s7["probability"] - face["S7"]["probability"]) > limit:
            yield f"S7 of face {index}"


def _by_stage(answer: dict[str, Any]) -> dict[tuple[str, int | None], dict[str, Any]]:
    return {(row["stage"], row["face"]): row for row in answer["stages"]}


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
