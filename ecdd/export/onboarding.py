"""From two model files to the contract that describes them: what is found, what is inferred, what has to be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ecdd.contract.interface_section import CLASS_KINDS, FILE_KINDS, FileKind, OutputKind
from ecdd.contract.upgrading import SCHEMA_VERSION
from ecdd.errors import ListedError
from ecdd.export.quantised_file import EXPECTED, convolutions, tensor_types
from ecdd.runtimes.inspection import FileFacts, input_problems, inspect, layout_of, refuse
from ecdd.runtimes.model_interface import OPEN, TensorFacts, numbers_of_a_picture

if TYPE_CHECKING:
    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.yaml_reading import Value

# name -> (factor on a level, mean, standard deviation)
SCALINGS: Final[dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]]] = {
    "-1..1": (1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..1": (1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..255": (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


class OnboardingError(ListedError):
    """What the files do not say and nobody has said, one entry a line, each with an example.

    Parameters
    ----------
    problems : list of str
        What has to be said.
    found : sequence of str
        What was found and inferred all the same.
    """

    def __init__(self, problems: list[str], found: Sequence[str] = ()) -> None:
        super().__init__(problems)
        self.found = tuple(found)


@dataclass(frozen=True)
class Said:
    """What only the team knows; None or empty where it is not said.

    Attributes
    ----------
    scaling : str
        A key of `SCALINGS`.
    crop_margin : float
        Side of the crop / longer side of the face box.
    kind : OutputKind
        What the deciding output is.
    fake_index : int
        Place of fake among the classes.
    outputs, maps : sequence of str
        Name of the deciding output and of the map: one for both files, or TFLite's and ONNX's.
    channels : {"RGB", "BGR"}
        In which order the model reads colours.
    method : str
        ``calibration.method``.
    """

    scaling: str | None = None
    crop_margin: float | None = None
    kind: OutputKind | None = None
    fake_index: int | None = None
    outputs: Sequence[str] = ()
    maps: Sequence[str] = ()
    channels: Literal["RGB", "BGR"] = "RGB"
    method: str = "platt"


@dataclass
class _Answers:
    """What was inferred, and what is missing."""

    values: dict[str, Value] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def contract_for(tflite: Path, onnx: Path, said: Said, base: LoadedContract) -> tuple[LoadedContract, list[str]]:
    """Describe a pair of files in a contract.

    Parameters
    ----------
    tflite, onnx : Path
        The file that ships and its float reference.
    said : Said
        What only the team knows.
    base : LoadedContract
        Everything else: policy, gates, limits.

    Returns
    -------
    (LoadedContract, list of str)
        The contract, and what was found and inferred, one line each.

    Raises
    ------
    RuntimeFileError
        A file is no picture model that can be run; all problems of both files in one message.
    OnboardingError
        Something has to be said; every option with an example.
    """
    files: dict[FileKind, FileFacts] = {"tflite": inspect(tflite, "tflite"), "onnx": inspect(onnx, "onnx")}
    refuse([(facts.path, problem) for facts in files.values() for problem in input_problems(facts)])
    answers = _Answers()
    for facts in files.values():
        answers.notes.append(f"{facts.path}: in {facts.inputs[0]}; out {'; '.join(map(str, facts.outputs))}")
    _picture(files, said, answers)
    deciding = _outputs(files, said, answers)
    if deciding:
        _kind(files, deciding, said, answers)
    _mode(tflite, answers)
    if answers.missing:
        raise OnboardingError(answers.missing, answers.notes)
    filled = {key: base.values[key] for key in base.written}
    newest = base.with_values({"schema_version": SCHEMA_VERSION})
    return newest.with_values(filled | answers.values, status="proposed"), answers.notes


def _picture(files: dict[FileKind, FileFacts], said: Said, answers: _Answers) -> None:
    images = {kind: facts.inputs[0] for kind, facts in files.items()}
    sides = {kind: image.shape[2] for kind, image in images.items()}
    if len(set(sides.values())) > 1:
        answers.missing.append(
            f"the files read pictures of {sides['tflite']} and {sides['onnx']} px: export both for one size"
        )
    if said.scaling is None:
        names = ", ".join(SCALINGS)
        answers.missing.append(f"--scaling: what the model was fed with; one of {names}; for example --scaling=-1..1")
    elif said.scaling not in SCALINGS:
        answers.missing.append(f"--scaling {said.scaling}: one of {', '.join(SCALINGS)} is needed")
    if said.crop_margin is None:
        answers.missing.append(
            "--crop-margin: side of the training crops / longer side of the face; for example --crop-margin 1.3"
        )
    scale, mean, std = SCALINGS.get(said.scaling or "", SCALINGS["0..1"])
    answers.values |= {
        "pixel_pipeline.input_size": sides["tflite"],
        "pixel_pipeline.pixel_scale": scale,
        "pixel_pipeline.normalisation_mean": list(mean),
        "pixel_pipeline.normalisation_std": list(std),
        "face_detector.crop_margin": said.crop_margin or 1.0,
        "model_interface.input_name": {kind: image.name for kind, image in images.items()},
        "model_interface.input_layout": {kind: layout_of(image) for kind, image in images.items()},
        "model_interface.input_dtype": {kind: image.dtype for kind, image in images.items()},
        "model_interface.input_channels": said.channels,
        "model_interface.batch": {kind: "one" if image.shape[0] == 1 else "free" for kind, image in images.items()},
    }
    answers.notes.append(f"colours are read as {said.channels}; --channels BGR where that is wrong")


def _outputs(files: dict[FileKind, FileFacts], said: Said, answers: _Answers) -> dict[FileKind, TensorFacts]:
    """The output of each file that decides; empty where it cannot be told."""
    maps = {kind: _named(files[kind], _of(said.maps, kind), "--map", answers) for kind in FILE_KINDS}
    found: dict[FileKind, TensorFacts] = {}
    for kind in FILE_KINDS:
        facts, name = files[kind], _of(said.outputs, kind)
        rows = [one for one in facts.outputs if numbers_of_a_picture(one) and one != maps[kind]]
        least = min((numbers_of_a_picture(one) for one in rows), default=0)
        chosen = [one for one in rows if numbers_of_a_picture(one) == least]
        if name:
            named = _named(facts, name, "--output", answers)
            chosen = [] if named is None else [named]
        elif len(chosen) != 1:
            listed = "; ".join(map(str, facts.outputs))
            what = "more than one output could decide" if chosen else "no output of one number a picture or a class"
            answers.missing.append(
                f"--output: {what} in {facts.path} ({listed}); for example --output {_example(facts)}"
            )
        if len(chosen) == 1:
            found[kind] = chosen[0]
    answers.values |= {
        "model_interface.logit_name": {kind: one.name for kind, one in found.items()},
        "model_interface.map_name": {kind: one.name if one else "" for kind, one in maps.items()},
        "model_interface.ignored_outputs": {
            kind: [one.name for one in facts.outputs if one not in (found.get(kind), maps[kind])]
            for kind, facts in files.items()
        },
        "pooling.rule": "none",
        "patch_grid.input_operator": "none",
        "patch_grid.operator_scale": 1.0,
        "patch_grid.padding": 0,
        "patch_grid.receptive_field": "whole_picture",
    }
    side = files["tflite"].inputs[0].shape[2]
    cells = _cells(maps["tflite"])
    stride = -(-side // max(cells))
    answers.values |= {"patch_grid.rows": cells[0], "patch_grid.cols": cells[1], "patch_grid.stride": stride}
    return found if len(found) == len(files) else {}


def _kind(
    files: dict[FileKind, FileFacts], deciding: dict[FileKind, TensorFacts], said: Said, answers: _Answers
) -> None:
    numbers = {kind: numbers_of_a_picture(one) for kind, one in deciding.items()}
    if len(set(numbers.values())) > 1:
        answers.missing.append(
            f"--output: {deciding['tflite']} and {deciding['onnx']} differ in their classes; name one of each"
        )
        return
    many, last = numbers["tflite"] > 1, files["tflite"].last.get(deciding["tflite"].name, "")
    probabilities = {"LOGISTIC": "probability", "SOFTMAX": "class_probabilities"}.get(last)
    kind = said.kind or probabilities or ("class_logits" if many else "logit")
    if (kind in CLASS_KINDS) != many:
        answers.missing.append(f"--kind {kind}: {deciding['tflite'].name} gives {numbers['tflite']} numbers a picture")
        return
    answers.notes.append(
        f"{deciding['tflite'].name} decides ({kind}{f', it ends in {last}' if last else ''}); else --output, --kind"
    )
    fake = said.fake_index
    if many and (fake is None or not 0 <= fake < numbers["tflite"]):
        answers.missing.append(
            f"--fake-index: place of fake among the {numbers['tflite']} classes of {deciding['tflite'].name}, from 0; "
            "for example --fake-index 1"
        )
        return
    names: list[Value] = ["fake" if place == fake else "real" if numbers["tflite"] == 2 else f"class {place}"
             for place in range(numbers["tflite"])] if many else []  # fmt: skip
    answers.values |= {
        "model_interface.output_kind": kind,
        "model_interface.class_names": names,
        "model_interface.fake_index": fake or 0,
        "calibration.method": said.method,
    }


def _mode(tflite: Path, answers: _Answers) -> None:
    """How the file is quantised, seen inside it."""
    content = tflite.read_bytes()
    found = {(one.weights, one.activations) for one in convolutions(content)}
    modes = [mode for mode, types in EXPECTED.items() if types in found and mode != "float32"]
    small = tensor_types(content) & {"float16", "int4", "int8", "int16", "uint8"}
    mode = modes[0] if modes else "float32"
    if not modes and small:
        answers.notes.append(f"{tflite} holds {', '.join(sorted(small))} tensors and no convolution of such weights")
    releasable: list[Value] = [mode]
    answers.values |= {"quantization.mode": mode, "quantization.releasable": releasable}
    answers.notes.append(f"{tflite} computes as {mode}")


def _named(facts: FileFacts, name: str, option: str, answers: _Answers) -> TensorFacts | None:
    found = next((one for one in facts.outputs if one.name == name), None)
    if name and found is None:
        listed = "; ".join(map(str, facts.outputs))
        answers.missing.append(f"{option} {name}: {facts.path} has no such output ({listed})")
    return found


def _of(names: Sequence[str], kind: str) -> str:
    """The name meant for a file: the one, or TFLite's before ONNX's."""
    return "" if not names else names[-1] if kind == "onnx" else names[0]


def _example(facts: FileFacts) -> str:
    return facts.outputs[0].name


def _cells(patch_map: TensorFacts | None) -> tuple[int, int]:
    if patch_map is None:
        return 1, 1
    long = [side for side in patch_map.shape[1:] if side != 1]
    if len(long) != 2 or OPEN in long:
        raise OnboardingError([f"--map {patch_map.name}: rows and columns are needed, found {patch_map}"])
    return long[0], long[1]
