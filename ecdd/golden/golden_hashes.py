"""Frozen stages of the golden pictures: S0 to S4 for a contract and its face detector, kept in ``golden/stages``.

Hashes cannot carry tolerances. So S1 is kept as a digest, S3 as a lossless PNG, S4 as a digest that is recomputed
from S3. S1 is exact where the decoder is the one that froze it, the rest where the platform is too (face detection
computes in floating point); tolerances apply only where they differ.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.contract.schema import PolicyContract
from ecdd.files import parse_json, read_json
from ecdd.pipeline.decode import decoder_fingerprint
from ecdd.pipeline.stages import PreparedPicture
from ecdd.tracing import StageRecord, s0_name

STAGES_FOLDER: Final = "stages"
_FROZEN_WITH: Final = ("preprocessing_digest", "decoder", "platform")


@dataclass(frozen=True, eq=False)
class FrozenFace:
    """S2 to S4 of one golden face."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: tuple[tuple[float, float], ...]
    crop_box: tuple[int, int, int, int]
    crop_digest: str
    s3: NDArray[np.uint8]
    s4_digest: str


@dataclass(frozen=True, eq=False)
class FrozenPicture:
    """S0 to S4 of one golden picture; no S1 and no faces where the file is rejected."""

    s0: str
    s1_digest: str | None
    rejected: tuple[str, ...]
    faces: tuple[FrozenFace, ...]


@dataclass(frozen=True, eq=False)
class FrozenStages:
    """All frozen pictures.

    Attributes
    ----------
    pictures : mapping of str to FrozenPicture
        By golden id.
    fingerprint : mapping of str to str
        Decoder that froze them.
    platform : mapping of str to str
        Libraries and processor that froze them.
    preprocessing_digest : str
        Contract sections that they belong to.
    """

    pictures: Mapping[str, FrozenPicture]
    fingerprint: Mapping[str, str]
    platform: Mapping[str, str]
    preprocessing_digest: str

    @property
    def same_decoder(self) -> bool:
        """Whether today's decoder is the one that froze the stages: S1 is exact then."""
        return dict(self.fingerprint) == decoder_fingerprint()

    @property
    def same_fingerprint(self) -> bool:
        """Whether decoder and platform are the ones that froze the stages: S2 to S4 are exact then."""
        return self.same_decoder and dict(self.platform) == platform_fingerprint()

    def picture(self, key: str) -> FrozenPicture | None:
        """One picture's stages; None when it was never frozen."""
        return self.pictures.get(key)


@functools.cache
def _platform() -> tuple[tuple[str, str], ...]:
    about: Any = np.show_config(mode="dicts")
    simd = about.get("SIMD Extensions", {})
    found = {
        "machine": platform.machine(),
        "vector_instructions": " ".join([*simd.get("baseline", ()), *simd.get("found", ())]),
        "ai_edge_litert": importlib.metadata.version("ai-edge-litert"),
    }
    return tuple(sorted(found.items()))


def platform_fingerprint() -> dict[str, str]:
    """What decides the last bits of the face detector's floating-point results.

    Returns
    -------
    dict of str
        Machine, the vector instructions of its processor, and the version of LiteRT.
    """
    return dict(_platform())


def stages_text(sha256: str, prepared: PreparedPicture | tuple[str, ...], policy: PolicyContract, digest: str) -> str:
    """S0 to S4 of one picture as text that a person can compare.

    Parameters
    ----------
    sha256 : str
        S0.
    prepared : PreparedPicture or tuple of str
        What the pipeline made of it, or the codes it was rejected with.
    policy : PolicyContract
        The contract.
    digest : str
        Its preprocessing digest.

    Returns
    -------
    str
        JSON with sorted keys.
    """
    content: dict[str, Any] = {
        "preprocessing_digest": digest,
        "decoder": decoder_fingerprint(),
        "platform": platform_fingerprint(),
        "S0": s0_name(sha256),
        "S1": None,
        "rejected": [],
        "faces": [],
    }
    if isinstance(prepared, tuple):
        content["rejected"] = [str(code) for code in prepared]
    else:
        record = StageRecord(policy, prepared)
        content["S1"] = record.s1()["image"]
        for index in range(len(prepared.faces)):
            s2 = record.s2(index)
            del s2["reason_codes"]
            content["faces"].append({"S2": s2, "S4": record.s4(index)["tensor"]})
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def s3_png(s3: NDArray[np.uint8]) -> bytes:
    """S3 as a lossless PNG."""
    buffer = io.BytesIO()
    Image.fromarray(s3).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def read_s3(content: bytes) -> NDArray[np.uint8]:
    """The pixels of a stored S3."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
        return np.asarray(opened.convert("RGB"))


def s3_path(root: Path, key: str, face: int) -> Path:
    """Where the S3 of one face lies."""
    return root / STAGES_FOLDER / f"{key}.face{face}.png"


def load_frozen(root: Path) -> FrozenStages:
    """Load all frozen stages of a golden set.

    Parameters
    ----------
    root : Path
        The golden set's folder.

    Returns
    -------
    FrozenStages
        Empty where nothing was frozen.

    Raises
    ------
    ValueError
        When pictures were frozen under different contracts or decoders: freeze them again together.
    """
    pictures = {}
    marks = set()
    for path in sorted((root / STAGES_FOLDER).glob("*.json")):
        content = read_json(path)
        pictures[path.stem] = _picture(root, path.stem, content)
        marks.add(json.dumps([content[key] for key in _FROZEN_WITH], sort_keys=True))
    if len(marks) > 1:
        msg = (
            f"{STAGES_FOLDER}: frozen under {len(marks)} different contracts, decoders or platforms; "
            f"run pytest --snapshot-update"
        )
        raise ValueError(msg)
    digest, decoder, machine = parse_json(next(iter(marks), '["", {}, {}]'), STAGES_FOLDER)
    return FrozenStages(pictures, decoder, machine, digest)


def _picture(root: Path, key: str, content: dict[str, Any]) -> FrozenPicture:
    faces = []
    for index, face in enumerate(content["faces"]):
        s2 = face["S2"]
        faces.append(
            FrozenFace(
                box=tuple(s2["box"]),
                score=s2["score"],
                landmarks=tuple((point[0], point[1]) for point in s2["landmarks"]),
                crop_box=tuple(s2["crop_box"]),
                crop_digest=s2["crop"],
                s3=read_s3(s3_path(root, key, index).read_bytes()),
                s4_digest=face["S4"],
            )
        )
    s0 = content["S0"].partition(":")[2]
    return FrozenPicture(s0, content["S1"], tuple(content["rejected"]), tuple(faces))


def changed_stages(old: str, new: str) -> list[str]:
    """Names of the stages in which two texts of one picture differ.

    Parameters
    ----------
    old, new : str
        From `stages_text`.

    Returns
    -------
    list of str
        ``["S1", "S2"]`` and the like; ``"faces"`` when their number changed.
    """
    one, two = parse_json(old, "frozen stages"), parse_json(new, "new stages")
    found = [key for key in (*_FROZEN_WITH, "S0", "S1", "rejected") if one.get(key) != two[key]]
    if len(one["faces"]) != len(two["faces"]):
        return [*found, "faces"]
    stages = ("S2", "S4")
    found += [s for s in stages if [face[s] for face in one["faces"]] != [face[s] for face in two["faces"]]]
    return found


def first_moved(stages: Iterable[str]) -> str:
    """The first stage of those that differ: whatever comes after it may only have followed.

    Parameters
    ----------
    stages : iterable of str
        From `changed_stages`; ``"S3"`` too, which a text does not hold.

    Returns
    -------
    str
        ``"S0"`` to ``"S4"``; empty where none differs.
    """
    known = {"rejected": "S1", "faces": "S2"}
    return min((known.get(stage, stage) for stage in stages if stage not in _FROZEN_WITH), default="")
