"""The golden outputs of a bundle as arrays: S3, S5 and S6 of every golden face that reached the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecdd.golden import golden_outputs as outputs
from gates.support.fixtures import Bundle, FrozenStages, GoldenSet, LoadedContract, NotTested


@dataclass(frozen=True, eq=False)
class FrozenFace:
    """One face as it was frozen: ``patch_map`` (rows, cols) float32 is S5 of ``s3``, ``pooled_logit`` its S6."""

    name: str
    label: str | None
    s3: NDArray[np.uint8]
    patch_map: NDArray[np.float32]
    pooled_logit: float


def frozen_faces(bundle: Bundle, contract: LoadedContract, golden: GoldenSet, frozen: FrozenStages) -> list[FrozenFace]:
    """Faces of the in-scope set; not tested where the bundle has no outputs that this contract may be compared with."""
    why = outputs.why_not_comparable(outputs.read_index(bundle), outputs.golden_digest_of(Path(golden.root)))
    if contract.digest != bundle.contract.digest:
        why = "golden outputs belong to the bundle's own contract, and --contract is another one"
    if why:
        raise NotTested("golden S5 and S6", why)
    faces = []
    for item in golden.by_set("in_scope"):
        stem, stored = outputs.output_folder(bundle, item) / item.id, frozen.picture(item.id)
        if stored is None or not stem.with_suffix(".npy").is_file():
            continue
        maps = outputs.read_npy(stem.with_suffix(".npy").read_bytes())
        rows = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))["faces"]
        judged = [(index, row["S6"]["logit"]) for index, row in enumerate(rows) if "S6" in row]
        for (index, logit), patch_map in zip(judged, maps, strict=True):
            name = f"{item.id} face {index}"
            faces.append(FrozenFace(name, item.expected.label, stored.faces[index].s3, patch_map, float(logit)))
    return faces


def spread_difference(now: NDArray[np.float32], then: NDArray[np.float32], faces: Sequence[FrozenFace] = ()) -> float:
    """Largest difference of two maps relative to the spread of the second; that of all faces where it has one cell."""
    spread = np.ptp(then) if then.size > 1 else np.ptp([face.patch_map for face in faces])
    return float(np.abs(now - then).max() / spread)
