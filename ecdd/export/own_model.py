"""A bundle from a pair of model files that were made elsewhere: ``ecdd bundle build --tflite M --onnx M``.

What the files must be is read from the contract and refused by name where they are not. What they compute is left to
the gates. The pair is calibrated by the contract like any other model; a bundle without a calibration cannot be made.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ecdd.bundle import Bundle, ModelDescription, load_bundle, write_manifest
from ecdd.bundle.manifest import CALIBRATION_FILE, CONTRACT_FILE, MODEL_FILE
from ecdd.bundle.variants import SCORES_FILE, refuse_existing
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibration_set_contract import ScoredPicture, judged_set, read_scores, score_pictures, scores_csv
from ecdd.calibration.choosing import chosen_method
from ecdd.calibration.fitting import FittedCalibration, fit_calibration
from ecdd.contract.value_lines import set_contract_values
from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag, load_split
from ecdd.dataset_governance.manifest import load_manifest
from ecdd.dataset_governance.usable_faces import TaggedRow, usable_faces
from ecdd.errors import EcddError
from ecdd.export.contract_text import read_contract, with_thresholds
from ecdd.export.export_error import ExportError
from ecdd.export.quantised_file import EXPECTED, convolutions, tensor_types
from ecdd.export.shortcuts import SHORTCUTS, shortcut_line
from ecdd.files import parse_json, write_bytes, write_text
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import POOLED_NAME, PatchRuntime, RuntimeFileError
from ecdd.runtimes.inspection import FileFacts, input_problems, last_operators, opened, refuse
from ecdd.runtimes.model_file import read_model
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.output_meaning import PROBABILITIES

if TYPE_CHECKING:
    from ecdd.contract.interface_section import FileKind
    from ecdd.contract.schema import PolicyContract

ONNX_FILE: Final = "model.onnx"
TRAINING_FILE: Final = "training_record.json"
OWN: Final = "own"  # an architecture that is not of this project
_LIBRARIES: Final = ("pillow", "numpy", "ai-edge-litert", "onnxruntime", "scipy")
_PICTURES: Final = 3  # of the trial batch


@dataclass(frozen=True)
class OwnModel:
    """What a team brings.

    Attributes
    ----------
    tflite, onnx : Path
        The file that ships and its float reference.
    contract : str
        Text of the contract; its two thresholds are rewritten.
    name, release : str
        Of the new bundle.
    architecture : str
        Name of the network, for a reader.
    training : Path or None
        Training record, JSON; a bundle without one says so.
    small_logits : bool
        Given logits are no probabilities, though all lie between 0 and 1.
    choose_method : bool
        Nobody has decided ``calibration.method``: the logits do.
    """

    tflite: Path
    onnx: Path
    contract: str
    name: str
    release: str
    architecture: str = OWN
    training: Path | None = None
    small_logits: bool = False
    choose_method: bool = False


def build(
    own: OwnModel,
    out: Path,
    pictures: Sequence[ScoredPicture] | Sequence[TaggedRow],
    frozen_on: datetime.date,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Bundle, FittedCalibration]:
    """Check both files, calibrate the shipped one, and write a bundle.

    Parameters
    ----------
    own : OwnModel
        Files, contract and names.
    out : Path
        Folder to write; it must not exist, or be empty.
    pictures : sequence of ScoredPicture, or of (ManifestRow, SplitRow)
        Logits of calibration pictures that the maker vouches for, or CALIBRATION faces that are scored here.
    frozen_on : date
        Day the calibration set was frozen.
    progress : callable
        Called after every picture that was scored.

    Returns
    -------
    (Bundle, FittedCalibration)
        The bundle as it was read back, and what was fitted.

    Raises
    ------
    BundleError, ContractError, CalibrationError
        As elsewhere.
    RuntimeFileError, ExportError
        A file is no such model, or is not what the contract says; names file, expectation and finding.
    """
    refuse_existing(out)
    contract = read_contract(own.contract, out)
    tflite, onnx = check_pair(own.tflite, own.onnx, contract.policy)
    record = None if own.training is None else _training_record(own.training)
    scored, given = _scored(pictures, contract.policy, tflite, progress)
    if own.choose_method:
        judged = judged_set(scored, contract.policy.calibration)
        method = chosen_method(judged, contract.policy.operating_point.confidence)
        own = replace(own, contract=set_contract_values(own.contract, {"calibration.method": method}, "proposed"))
        contract = read_contract(own.contract, out)
    digest, small = hashlib.sha256(tflite).hexdigest(), own.small_logits
    fitted = fit_calibration(scored, contract.policy, digest, frozen_on, small_logits=small)
    calibration = fitted.record
    rows = [picture for picture in pictures if not isinstance(picture, ScoredPicture)]
    said = {SHORTCUTS: shortcut_line(rows, scored, contract)}
    said |= {"pictures": "logits given by the maker of the bundle, not scored here"} if given else {}
    calibration = calibration.model_copy(update={"metrics": {**calibration.metrics, **said}})
    fitted = replace(fitted, record=calibration)
    text = with_thresholds(own.contract, contract, fitted)
    write_bytes(out / MODEL_FILE, tflite)
    write_bytes(out / ONNX_FILE, onnx)
    write_text(out / CONTRACT_FILE, text)
    write_text(out / SCORES_FILE, scores_csv(scored))
    write_bytes(out / CALIBRATION_FILE, calibration.text())
    if record is not None:
        write_bytes(out / TRAINING_FILE, record)
    about = _description(own, contract.policy)
    write_manifest(out, name=own.name, version=own.release, model=about, created_by=_created_by())
    return load_bundle(out), fitted


def _training_record(path: Path) -> bytes:
    content = path.read_bytes()
    with suppress(EcddError):
        if isinstance(parse_json(content, path), dict):
            return content
    msg = f"{path}: not a training record; a JSON object is needed, or leave --training out"
    raise ExportError(msg)


def calibration_pictures(
    data: Path | None, split: Path, scores: Path | None
) -> Sequence[ScoredPicture] | Sequence[TaggedRow]:
    """Read what the pair is to be calibrated on.

    Parameters
    ----------
    data : Path or None
        Manifest; its faces that the split tags CALIBRATION are meant.
    split : Path
        Lineage tags.
    scores : Path or None
        Logits in place of pictures, in the form of ``calibration_scores.csv``.

    Returns
    -------
    sequence
        For `build`.

    Raises
    ------
    ManifestError, CalibrationError
        Not readable, or empty.
    LineageError
        Nothing is tagged CALIBRATION, or a logit is of a picture that the split keeps for another use.
    """
    if scores is None:
        if data is None:
            msg = "neither pictures nor logits: a bundle cannot be calibrated without; give --data or --scores"
            raise CalibrationError(msg)
        return usable_faces(load_manifest(data), load_split(split), [LineageTag.CALIBRATION])
    pictures = read_scores(scores)
    if not pictures:
        msg = f"{scores}: holds no picture; its header is {','.join(ScoredPicture.__dataclass_fields__)}"
        raise CalibrationError(msg)
    tags = load_split(split).rows if split.is_file() else {}
    wrong = [p.sha256 for p in pictures if p.sha256 in tags and tags[p.sha256].lineage is not LineageTag.CALIBRATION]
    if wrong:
        raise LineageError(
            [
                f"{scores}: picture {sha256[:12]} is tagged {tags[sha256].lineage}, not CALIBRATION"
                for sha256 in wrong[:5]
            ]
        )
    return pictures


def _scored(
    pictures: Sequence[ScoredPicture] | Sequence[TaggedRow],
    policy: PolicyContract,
    model: bytes,
    progress: Callable[[], None],
) -> tuple[list[ScoredPicture], bool]:
    """Logits, and whether they were given and not measured."""
    given = [picture for picture in pictures if isinstance(picture, ScoredPicture)]
    rows = [picture for picture in pictures if not isinstance(picture, ScoredPicture)]
    found = []
    for (picture,) in score_pictures(rows, policy, [model]) if rows else ():
        found.append(picture)
        progress()
    return given or found, bool(given)


def check_pair(tflite: Path, onnx: Path, policy: PolicyContract) -> tuple[bytes, bytes]:
    """Hold two files to the contract: picture, outputs, their kind, and the mode inside TFLite.

    Parameters
    ----------
    tflite, onnx : Path
        Files from elsewhere; the TFLite file is first run in a process of its own.
    policy : PolicyContract
        ``model_interface``, ``pixel_pipeline``, ``patch_grid`` and ``quantization.mode``.

    Returns
    -------
    (bytes, bytes)
        Their content.

    Raises
    ------
    RuntimeFileError, ExportError
        For what does not fit, of both files in one message.
    """
    paths: dict[FileKind, Path] = {"tflite": tflite, "onnx": onnx}
    wrong = []
    for kind, path in paths.items():
        try:
            _check_file(path, kind, policy)
        except RuntimeFileError as error:
            wrong.append(error)
    if wrong:
        first, *rest = wrong
        raise RuntimeFileError(first.file, first.expected, "\n".join([first.found, *map(str, rest)]))
    contents = tflite.read_bytes(), onnx.read_bytes()
    _check_mode(tflite, contents[0], policy)
    return contents


def _check_file(path: Path, kind: FileKind, policy: PolicyContract) -> None:
    """One of them: what it states, what its output is, and what it gives for pictures of noise."""
    runtime = opened(path, kind, ModelInterface.of(policy, kind))
    # the contract tells the side of a picture that a file leaves open, but not what other sides would do to its map
    refuse([(path, problem) for problem in input_problems(FileFacts(path, (runtime.chosen.image,), (), {}))])
    if kind == "tflite":
        check_kind(path, policy)
    _try(path, runtime, policy)


def check_kind(tflite: Path, policy: PolicyContract) -> None:
    """Refuse a logit that a sigmoid or a softmax made: the next one would be applied twice.

    Raises
    ------
    RuntimeFileError
        Naming the operator, and the kind that its output is of.
    """
    said = policy.model_interface
    name = said.map_name["tflite"] if said.output_kind == "patch_logits" else said.logit_name["tflite"]
    made_by = last_operators(read_model(tflite, str(tflite))[1]).get(name, "")
    ends = PROBABILITIES.get(made_by)
    if ends and said.output_kind not in PROBABILITIES.values():
        wanted = f"{name} of scores, as model_interface.output_kind {said.output_kind} says"
        raise RuntimeFileError(str(tflite), wanted, f"the output of {made_by}; its kind is {ends}")


def _try(path: Path, runtime: PatchRuntime, policy: PolicyContract) -> None:
    """Run a batch of pictures of noise: shapes as the contract says, all finite, and not the same for every picture."""
    grid, many = policy.patch_grid, policy.pixel_pipeline
    rng, shape = np.random.default_rng(0), (many.input_size, many.input_size, 3)
    # softer and softer, so that what saturates in integers is not taken for a constant
    levels = [rng.integers(128 - reach, 128 + reach, shape, np.uint8) for reach in (120, 30, 4)]
    found = runtime.outputs(np.stack([normalise(one, many) for one in levels]))
    wanted = f"outputs of shape ({_PICTURES}, {grid.rows}, {grid.cols}) and ({_PICTURES},), all finite"
    if found.pooled is None and policy.model_interface.logit_name["tflite"]:
        raise RuntimeFileError(str(path), f"an output {POOLED_NAME} (N,) beside the map", "no such output")
    pooled = np.zeros(_PICTURES, np.float32) if found.pooled is None else found.pooled
    if found.maps.shape != (_PICTURES, grid.rows, grid.cols) or pooled.shape != (_PICTURES,):
        raise RuntimeFileError(str(path), wanted, f"{found.maps.shape} and {pooled.shape}")
    if not (np.isfinite(found.maps).all() and np.isfinite(pooled).all()):
        raise RuntimeFileError(str(path), wanted, "numbers that are not finite")
    if float(np.ptp(found.maps)) == 0:
        what = "a map" if found.maps[0].size > 1 else "an output"
        raise RuntimeFileError(str(path), f"{what} that depends on the picture", f"{found.maps.flat[0]:g} everywhere")


def _check_mode(path: Path, content: bytes, policy: PolicyContract) -> None:
    """What a file computes with is looked up inside it: a mode that it is not in would be measured as another."""
    mode = policy.quantization.mode
    small = sorted(tensor_types(content) & {"float16", "int4", "int8", "int16", "uint8"})
    if mode == "float32":
        if small:
            msg = f"{path}: quantization.mode is float32, but the file holds {', '.join(small)} tensors; name its mode"
            raise ExportError(msg)
        return
    wanted = EXPECTED[mode]
    found = {(one.weights, one.activations) for one in convolutions(content)}
    if wanted not in found:
        held = ", ".join(sorted(f"{a}/{b}" for a, b in found)) or "none"
        msg = (
            f"{path}: quantization.mode is {mode}, which asks for a convolution of {wanted[0]} weights and {wanted[1]} "
            f"activations; found {held}"
        )
        raise ExportError(msg)


def _description(own: OwnModel, policy: PolicyContract) -> ModelDescription:
    grid, pixels = policy.patch_grid, policy.pixel_pipeline
    return ModelDescription(
        architecture=own.architecture,
        parameters=None,
        input_operator=grid.input_operator,
        operator_scale=grid.operator_scale,
        grid=[grid.rows, grid.cols],
        stride=grid.stride,
        receptive_field=grid.receptive_field,
        input_size=pixels.input_size,
        normalisation_mean=list(pixels.normalisation_mean),
        normalisation_std=list(pixels.normalisation_std),
        mode=policy.quantization.mode,
        weights_sha256=None,
    )


def _created_by() -> Mapping[str, str]:
    return {
        "ecdd": version("ecdd"),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }
