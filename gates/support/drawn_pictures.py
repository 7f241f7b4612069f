"""Files for the tests of prediction: drawn faces that pass the shipped gates, and input of every bad kind."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from ecdd.bundle.loading import load_bundle
from ecdd.contract.loading import LoadedContract
from gates.support.drawn_faces import scene

CONTRACT = load_bundle("tiny").contract
# Thresholds that make any probability in the open interval fake, real or undecided: labels without a trained model.
FAKE = {"operating_point.t_real": 1e-9, "operating_point.t_fake": 2e-9}
REAL = {"operating_point.t_real": 1 - 2e-9, "operating_point.t_fake": 1 - 1e-9}
BAND = {"operating_point.t_real": 1e-9, "operating_point.t_fake": 1 - 1e-9}
# Gates that a drawn face passes whatever the shipped values are.
PASSING = {
    "face_detector.score_threshold": 0.5,
    "quality_gates.min_face_side": 64,
    "quality_gates.blur_threshold": 1.0,
    "quality_gates.max_blockiness": 3.0,
    "quality_gates.min_tonal_levels": 0.0,
    "quality_gates.max_large_steps": 1.0,
}


def contract(values: dict[str, float]) -> LoadedContract:
    """The contract of the bundle tiny with gates that drawn faces pass, and some values."""
    return CONTRACT.with_values({**PASSING, **values})


def jpeg(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def portrait(seed: int = 0, faces: int = 1) -> bytes:
    """A JPEG with one or more drawn faces in a row, 260 px each."""
    places = [(60 + 330 * k, 70, 260) for k in range(faces)]
    return jpeg(scene((380 + 330 * (faces - 1), 400), places, seed=seed, noise=6))


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """One input of each bad kind, with the code that its verdict must carry."""
    good = portrait()
    contents = {
        "empty.jpg": (b"", "IO-001"),
        "cut.jpg": (good[: len(good) // 2], "IO-008"),
        "noise.jpg": (bytes(range(256)) * 40, "IO-001"),
        "text.txt": (b"no picture at all", "IO-002"),
        "disguised.png": (good, "IO-006"),
        "tiny.jpg": (jpeg(Image.new("RGB", (5, 3))), "GR-006"),
        "plain.jpg": (jpeg(Image.new("RGB", (300, 300), (90, 120, 150))), "GR-001"),
    }
    made = {}
    for name, (content, code) in contents.items():
        (folder / name).write_bytes(content)
        made[name] = (folder / name, code)
    (folder / "folder.jpg").mkdir()
    made["folder.jpg"] = (folder / "folder.jpg", "IO-010")
    made["missing.jpg"] = (folder / "missing.jpg", "IO-010")
    os.mkfifo(folder / "pipe.jpg")
    made["pipe.jpg"] = (folder / "pipe.jpg", "IO-010")
    return made
