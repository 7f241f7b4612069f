"""Golden outputs: S5 to S8 of the golden pictures, of one bundle's float reference, kept inside that bundle.

They belong to the bundle's model and calibration and to one golden set; the index says to which. A bundle without
them is not tested at S5 to S8, and is never compared with another model's. S5 to S7 are computed from the frozen S3,
so that a defect in decoding or cropping does not show here again; S8 is the verdict of the whole system.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.files import parse_json
from ecdd.golden.golden_hashes import platform_fingerprint
from ecdd.pipeline.preprocess import normalise

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.detector import Detector
    from ecdd.golden.golden_sets import GoldenItem
    from ecdd.tracing import StageRecord

OUTPUTS_FOLDER: Final = "golden_outputs"
INDEX: Final = "index.json"
REFERENCE: Final = "onnx"
_BOUND_TO: Final = {"model": "model.onnx", "calibration": "calibration.json"}


@dataclass(frozen=True, eq=False)
class GoldenOutput:
    """S5 to S8 of one golden picture.

    Attributes
    ----------
    text : str
        S5's summary, S6 to S8 as JSON that a person can compare.
    maps : ndarray, float32, shape (judged faces, rows, cols)
        S5.
    """

    text: str
    maps: NDArray[np.float32]


def compute_output(item: GoldenItem, detector: Detector, s3: Sequence[NDArray[np.uint8]] | None) -> GoldenOutput:
    """Compute S5 to S8 of one golden picture.

    Parameters
    ----------
    item : GoldenItem
        Its ``path`` can be opened.
    detector : Detector
        The bundle, in the runtime to measure.
    s3 : sequence of ndarray of uint8, shape (S, S, 3), or None
        Frozen S3 by face; today's where None, or where today's faces are others in number.

    Returns
    -------
    GoldenOutput
        With one map for each face that reached the model.
    """
    record, policy = detector.examine(Path(item.path)), detector.policy
    faces = () if record.prepared is None else record.prepared.faces
    indices = sorted(record.judged)
    if indices and s3 is not None and len(s3) == len(faces):
        batch = np.stack([normalise(s3[index], policy.pixel_pipeline) for index in indices])
        record = replace(record, judged=dict(zip(indices, detector.judge_tensors(batch), strict=True)))
    content = {
        "faces": [
            {"reason_codes": [str(code) for code in face.reason_codes]}
            | (_numbers(record, index) if index in record.judged else {})
            for index, face in enumerate(faces)
        ],
        "S8": record.s8() | {"deciding_face": record.decision.deciding_face},
    }
    grid = policy.patch_grid
    maps = [record.judged[index].patch_map for index in indices]
    stacked = np.stack(maps) if maps else np.empty((0, grid.rows, grid.cols), np.float32)
    return GoldenOutput(json.dumps(content, indent=1, sort_keys=True) + "\n", stacked)


def _numbers(record: StageRecord, index: int) -> dict[str, Any]:
    s7 = record.s7(index)
    return {
        "S5": record.s5(index).model_dump(mode="json"),
        "S6": {"logit": record.s6(index)["pooled_logit"]},
        "S7": {"logit": s7["calibrated_logit"], "probability": s7["probability"]},
    }


def npy(maps: NDArray[np.float32]) -> bytes:
    """S5 as the content of a ``.npy`` file, little-endian float32."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(maps, "<f4"), allow_pickle=False)
    return buffer.getvalue()


def read_npy(content: bytes) -> NDArray[np.float32]:
    """The maps of a stored S5."""
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), np.float32)


def output_folder(bundle: Bundle, item: GoldenItem) -> Path:
    """Where a picture's outputs lie: ``<bundle>/golden_outputs/<set>``."""
    return bundle.path / OUTPUTS_FOLDER / item.set


def index_text(bundle: Bundle, golden_digest: str, library: str) -> str:
    """What the golden outputs belong to.

    Parameters
    ----------
    bundle : Bundle
        Whose model and calibration computed them.
    golden_digest : str
        SHA-256 of the golden set's manifest.
    library : str
        Name and version of the reference runtime.

    Returns
    -------
    str
        JSON with sorted keys.
    """
    content = {
        "schema_version": 1,
        "reference": {"runtime": REFERENCE, "library": library, "platform": platform_fingerprint()},
        "golden_digest": golden_digest,
        "preprocessing_digest": bundle.manifest.preprocessing_digest,
        **{f"{name}_sha256": bundle.manifest.files[file].sha256 for name, file in _BOUND_TO.items()},
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def read_index(bundle: Bundle) -> dict[str, Any] | None:
    """The index of a bundle's golden outputs; None without any."""
    if f"{OUTPUTS_FOLDER}/{INDEX}" not in bundle.manifest.files:
        return None
    content: dict[str, Any] = parse_json(
        bundle.read(f"{OUTPUTS_FOLDER}/{INDEX}"), f"{bundle.path}/{OUTPUTS_FOLDER}/{INDEX}"
    )
    return content


def why_not_comparable(index: Mapping[str, Any] | None, golden_digest: str) -> str:
    """Why S5 to S8 are not tested with this bundle and golden set; empty when they can be."""
    if index is None:
        return "the bundle has no golden outputs; make them with pytest --snapshot-update --bundle PATH"
    if index["golden_digest"] != golden_digest:
        return "the bundle's golden outputs are of another golden set; make them again with pytest --snapshot-update"
    return ""


def stale_parts(index: Mapping[str, Any], bundle: Bundle) -> list[str]:
    """Parts of the bundle that are not those that the golden outputs were computed with."""
    files = bundle.manifest.files
    stale = [file for name, file in _BOUND_TO.items() if index.get(f"{name}_sha256") != files[file].sha256]
    if index.get("preprocessing_digest") != bundle.manifest.preprocessing_digest:
        stale.append("policy_contract.yaml (pixel pipeline, face detector)")
    return stale


def golden_digest_of(root: Path) -> str:
    """SHA-256 of a golden set's manifest."""
    return hashlib.sha256((root / "manifest.yaml").read_bytes()).hexdigest()
