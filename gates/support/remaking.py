"""The bundle's weights through the export path once more, on golden faces: what a release would do tomorrow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.bundle.loading import Bundle
from ecdd.bundle.manifest import WEIGHTS_FILE
from ecdd.contract.loading import LoadedContract
from ecdd.errors import how_to_install
from ecdd.pipeline.preprocess import normalise

TURNS = 8  # every face, turned and mirrored: pixels of the same levels, other neighbours


@dataclass(frozen=True, eq=False)
class Remade:
    """A file that the export path made in this process, or why it refused.

    Attributes
    ----------
    model : bytes or None
        None where it was refused.
    refusal : str
        Empty where it was made.
    """

    model: bytes | None
    refusal: str = ""


def turned(pixels: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """One of the eight symmetries of a square picture."""
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if k >= TURNS // 2 else pixels, k % 4))


def representative_faces(faces: list[NDArray[np.uint8]], contract: LoadedContract) -> Any:
    """Golden faces in all symmetries, chosen as a release chooses calibration pictures."""
    from ecdd.export.variants import RepresentativePictures

    pictures = RepresentativePictures()
    for face in {hashlib.sha256(face.tobytes()).hexdigest(): face for face in faces}.values():
        for k in range(TURNS):
            pixels = turned(face, k)
            batch = normalise(pixels, contract.policy.pixel_pipeline)[None]
            pictures(hashlib.sha256(pixels.tobytes()).hexdigest(), batch)
    return pictures.chosen(contract)


def cannot_remake(bundle: Bundle) -> str | None:
    """Why this bundle or installation cannot go through the export path; None where it can."""
    if WEIGHTS_FILE not in bundle.manifest.files:
        return f"the bundle has no {WEIGHTS_FILE}"
    absent = [name for name in ("torch", "tensorflow", "ai_edge_quantizer") if find_spec(name) is None]
    return f"{', '.join(absent)} not installed; {how_to_install('train,export')}" if absent else None


def remake(bundle: Bundle, contract: LoadedContract, faces: list[NDArray[np.uint8]], mode: str) -> Remade:
    """Export the bundle's weights in a mode; needs what `cannot_remake` asks for."""
    from ecdd.export.export_error import ExportError
    from ecdd.export.folding import fold
    from ecdd.export.quantize import quantise
    from ecdd.models.checkpoint import load_weights

    folded = fold(load_weights(bundle.file(WEIGHTS_FILE))[0])
    try:
        return Remade(quantise(folded, mode, contract.policy, representative_faces(faces, contract)).model)
    except ExportError as error:
        return Remade(None, str(error))
