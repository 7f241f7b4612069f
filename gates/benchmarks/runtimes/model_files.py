"""The files that are timed: what the bundle ships, and the same network in every other mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecdd.bundle.loading import Bundle
from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import calibration_of, modes, place
from ecdd.export.export_error import ExportError
from ecdd.export.folding import FoldedNetwork
from ecdd.export.quantised_file import CELL, INTEGER_MODES, ISLANDS, OPERATOR, Mode
from ecdd.export.quantize import quantise
from ecdd.export.representative_data import RepresentativeSet
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration
from ecdd.parity.float_vs_tflite import Band

PURE_INT8: Final = "full_int8, all integers"
FROM_BUNDLE: Final = "calibration pictures, as the bundle was made"
FROM_GOLDEN: Final = "golden faces in all symmetries of a square"
NO_RANGES: Final = "none needed"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A TFLite file and how its logits become probabilities.

    Attributes
    ----------
    name : str
        Mode, and what differs from the way in which a bundle carries it.
    mode : str
        One of `ecdd.export.quantised_file.Mode`.
    islands : tuple of str
        Layers that stay float although the mode computes with integers.
    content : bytes
        The file.
    calibration : AppliedCalibration
        Its own where the bundle has one, else the float file's.
    band : (t_real, t_fake), or None
        Thresholds; None without calibration.
    own_calibration, in_bundle : bool
        Whether the calibration was fitted on this file, and whether the bundle carries the file.
    ranges : str
        What the ranges of activations were measured on.
    """

    name: str
    mode: Mode
    islands: tuple[str, ...]
    content: bytes
    calibration: AppliedCalibration = UNCALIBRATED
    band: Band | None = None
    own_calibration: bool = False
    in_bundle: bool = False
    ranges: str = NO_RANGES


@dataclass(frozen=True)
class _Recipe:
    name: str
    mode: Mode
    islands: tuple[str, ...] = ISLANDS
    integer_io: bool = False


_RECIPES: Final = (
    _Recipe("float32", "float32"),
    _Recipe("float16", "float16"),
    _Recipe("weight_only_int8", "weight_only_int8"),
    _Recipe("dynamic_range", "dynamic_range"),
    _Recipe("full_int8", "full_int8"),
    _Recipe("full_int8, operator float", "full_int8", (OPERATOR,)),
    _Recipe("full_int8, map float", "full_int8", (CELL,)),
    _Recipe("full_int8, no islands", "full_int8", ()),
    _Recipe(PURE_INT8, "full_int8", (), integer_io=True),
    _Recipe("int16x8", "int16x8"),
    _Recipe("int16x8, no islands", "int16x8", ()),
)
TEACHER_MODES: Final[tuple[Mode, ...]] = ("float32", "dynamic_range")


def golden_faces(golden: Any, frozen: Any) -> list[NDArray[np.uint8]]:
    """Every frozen S3 of the golden set once, in the order of the set."""
    found: dict[bytes, NDArray[np.uint8]] = {}
    for item in golden.items:
        stored = frozen.picture(item.id)
        for face in () if stored is None else stored.faces:
            found.setdefault(face.s3.tobytes(), face.s3)
    return list(found.values())


def student_files(
    bundle: Bundle, folded: FoldedNetwork, representative: RepresentativeSet
) -> tuple[list[ModelFile], dict[str, str]]:
    """Files of the student, the bundle's own first choice.

    Returns
    -------
    list of ModelFile, dict of str to str
        Files, and why a mode could not be made, by its name.
    """
    files, refused = [], {}
    default = calibration_of(bundle, "float32" if "float32" in modes(bundle) else bundle.manifest.model.mode)
    for recipe in _RECIPES:
        carried = recipe.name in modes(bundle)
        own = calibration_of(bundle, recipe.name) if carried else default
        ranges = NO_RANGES
        if recipe.mode in INTEGER_MODES:
            ranges = FROM_BUNDLE if carried else FROM_GOLDEN
        try:
            content = bundle.read(place(bundle, recipe.name, MODEL_FILE)) if carried else _made(
                folded, recipe, bundle, representative
            )  # fmt: skip
        except ExportError as error:
            refused[recipe.name] = str(error)
            continue
        calibration, band = AppliedCalibration.of(own), (own.thresholds.t_real, own.thresholds.t_fake)
        islands = recipe.islands if recipe.mode in INTEGER_MODES else ()
        files.append(ModelFile(recipe.name, recipe.mode, islands, content, calibration, band, carried, carried, ranges))
    return files, refused


def teacher_files(bundle: Bundle, folded: FoldedNetwork) -> list[ModelFile]:
    """Files of the teacher, which no bundle calibrates."""
    policy = bundle.contract.policy
    return [ModelFile(mode, mode, (), quantise(folded, mode, policy).model) for mode in TEACHER_MODES]


def _made(folded: FoldedNetwork, recipe: _Recipe, bundle: Bundle, representative: RepresentativeSet) -> bytes:
    made = quantise(
        folded,
        recipe.mode,
        bundle.contract.policy,
        representative,
        float_layers=recipe.islands,
        integer_io=recipe.integer_io,
    )
    return made.model
