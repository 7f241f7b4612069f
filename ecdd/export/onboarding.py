"""From two model files to the contract that describes them: what is found, what is inferred, what has to be said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ecdd.contract.interface_section import CLASS_KINDS, FileKind
from ecdd.contract.model_sections import POOLING_RULES, WHOLE_PICTURE
from ecdd.contract.upgrading import SCHEMA_VERSION
from ecdd.export.quantised_file import EXPECTED, convolutions, tensor_types
from ecdd.export.said import SCALINGS, Answers, OnboardingError, Said
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.inspection import (
    FileFacts,
    input_problems,
    inspect,
    layout_of,
    output_problems,
    refuse,
    signature_note,
)
from ecdd.runtimes.model_interface import OPEN, TensorFacts, numbers_of_a_picture
from ecdd.runtimes.output_meaning import PROBABILITIES
from ecdd.runtimes.tflite_file import try_in_own_process

if TYPE_CHECKING:
    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.yaml_reading import Value

MEGABYTE: Final = 1e6
CLIP: Final = 1e-4  # from here on to 1 a float32 probability holds three digits of its logit or fewer


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
    files = _looked_at({"tflite": tflite, "onnx": onnx})
    answers = Answers(missing=list(said.wrong))
    for facts in files.values():
        answers.notes.append(f"{facts.path}: in {facts.inputs[0]}; out {'; '.join(map(str, facts.outputs))}")
        if note := signature_note(str(facts.path), facts.signatures):
            answers.notes.append(note)
    _picture(files, said, answers)
    maps = _maps(files, said, answers)
    rows = {kind: [one for one in facts.outputs if numbers_of_a_picture(one) and one != maps.get(kind)]
            for kind, facts in files.items()}  # fmt: skip
    if said.kind == "patch_logits" or not any(rows.values()):
        deciding = _map_decides(files, rows, maps, said, answers)
    else:
        deciding = _outputs(files, rows, said, answers)
        if len(deciding) == len(files):
            _kind(files, deciding, said, answers)
    _interface(files, deciding, maps, said, answers)
    _mode(tflite, answers)
    if answers.missing:
        raise OnboardingError(answers.missing, answers.notes)
    tolerance = answers.values.get("pooling.tolerance_s6", 0.0)
    if isinstance(tolerance, float):
        answers.values["pooling.tolerance_s6"] = max(tolerance, base.policy.pooling.tolerance_s6)
    _memory(tflite, base, answers)
    filled = {key: base.values[key] for key in base.written}
    newest = base.with_values({"schema_version": SCHEMA_VERSION})
    return newest.with_values(filled | answers.values, status="proposed"), answers.notes


def _looked_at(paths: dict[FileKind, Path]) -> dict[FileKind, FileFacts]:
    """Both files as they are; what is wrong with either is refused in one message."""
    found: dict[FileKind, FileFacts] = {}
    errors: list[RuntimeFileError] = []
    for kind, path in paths.items():
        try:
            found[kind] = inspect(path, kind)
            refuse([(path, problem) for problem in input_problems(found[kind])])
        except RuntimeFileError as error:
            errors.append(error)
    if len(errors) > 1:
        raise OnboardingError([str(error) for error in errors])
    if errors:
        raise errors[0]
    return found


def _picture(files: dict[FileKind, FileFacts], said: Said, answers: Answers) -> None:
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
    for kind, image in images.items():
        if image.dtype == "uint8" and image.quantisation is None and said.scaling in set(SCALINGS) - {"0..255"}:
            answers.missing.append(
                f"--scaling {said.scaling}: {image} of {files[kind].path} has no scale and so takes levels as they "
                "are; say --scaling=0..255, or quantise the file again with its input's scale"
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


def _maps(files: dict[FileKind, FileFacts], said: Said, answers: Answers) -> dict[FileKind, TensorFacts]:
    """The map of each file: the named one, or, where nothing else can decide, the only one."""
    found: dict[FileKind, TensorFacts] = {}
    none_else = said.kind == "patch_logits" or not any(
        numbers_of_a_picture(one) for facts in files.values() for one in facts.outputs
    )
    for kind, facts in files.items():
        name = _of(said.maps, kind)
        like = [one for one in facts.outputs if is_map(one)]
        named = _named(facts, name, "--map", answers) if name else None
        if named is not None and not is_map(named):
            answers.missing.append(f"--map {name}: rows and columns are needed, found {named} in {facts.path}")
        elif named is not None:
            found[kind] = named
        elif none_else and not name and len(like) == 1:
            found[kind] = like[0]
        elif none_else and not name:
            what = (
                f"more than one output could be the map in {facts.path} ({_listed(facts)}); name it; for example --map "
                f"{like[0].name}"
                if like
                else f"no output of one number a picture, class or cell in {facts.path} ({_listed(facts)}); export the "
                "logit of fake"
            )
            answers.missing.append(f"--map: {what}")
    sizes = {_cells(one) for one in found.values()}
    if len(sizes) > 1:
        answers.missing.append(f"--map: {found['tflite']} and {found['onnx']} differ in their cells; name one of each")
    return found


def _map_decides(
    files: dict[FileKind, FileFacts],
    rows: dict[FileKind, list[TensorFacts]],
    maps: dict[FileKind, TensorFacts],
    said: Said,
    answers: Answers,
) -> dict[FileKind, TensorFacts]:
    """Patch logits: a rule pools them; an output that the file pooled itself is held to that rule where it is named."""
    deciding: dict[FileKind, TensorFacts] = {}
    for kind, facts in files.items():
        named = _named(facts, _of(said.outputs, kind), "--output", answers)
        if named is not None and named in rows[kind]:
            deciding[kind] = named
        if kind in maps and facts.last.get(maps[kind].name) in PROBABILITIES:
            answers.missing.append(
                f"--map {maps[kind].name}: it ends in {facts.last[maps[kind].name]} in {facts.path}, and a rule pools "
                "logits: export the map before that operator"
            )
    if said.pooling is None:
        answers.missing.append(
            f"--pooling: how the map becomes one logit; one of {', '.join(POOLING_RULES)}; for example --pooling mean"
        )
    answers.values |= {
        "model_interface.output_kind": "patch_logits",
        "model_interface.class_names": _two_names(said.fake_index),
        "model_interface.fake_index": 1 if said.fake_index is None else said.fake_index,
        "pooling.rule": said.pooling or "mean",
        "calibration.method": said.method or "platt",
    }
    if maps:
        answers.notes.append(f"{next(iter(maps.values())).name} decides (patch_logits), pooled; else --output, --kind")
    return deciding


def _outputs(
    files: dict[FileKind, FileFacts], rows: dict[FileKind, list[TensorFacts]], said: Said, answers: Answers
) -> dict[FileKind, TensorFacts]:
    """The output of each file that decides; fewer than files where it cannot be told."""
    found: dict[FileKind, TensorFacts] = {}
    for kind, facts in files.items():
        name = _of(said.outputs, kind)
        least = min((numbers_of_a_picture(one) for one in rows[kind]), default=0)
        chosen = [one for one in rows[kind] if numbers_of_a_picture(one) == least]
        if name:
            named = _named(facts, name, "--output", answers)
            chosen = [] if named is None else [named]
        elif len(chosen) != 1:
            what = "more than one output could decide" if chosen else "no output of one number a picture or a class"
            where, example = f"{facts.path} ({_listed(facts)})", _example(facts, "--output")
            answers.missing.append(f"--output: {what} in {where}; for example --output {example}")
        if len(chosen) == 1:
            found[kind] = chosen[0]
    answers.values["pooling.rule"] = "none"
    return found


def _interface(
    files: dict[FileKind, FileFacts],
    deciding: dict[FileKind, TensorFacts],
    maps: dict[FileKind, TensorFacts],
    said: Said,
    answers: Answers,
) -> None:
    """Names of what decides and of the map, and where the map's cells lie."""
    for kind, facts in files.items():
        taken = [one for one in facts.outputs if one in (deciding.get(kind), maps.get(kind))]
        answers.missing += [f"{facts.path}: expected {a}; found {b}; {c}" for a, b, c in output_problems(taken)]
    cells, side = (_cells(maps["tflite"]) if "tflite" in maps else (1, 1)), files["tflite"].inputs[0].shape[2]
    stride, field, padding = said.geometry or (max(1, round(side / max(cells))), WHOLE_PICTURE, 0)
    answers.values |= {
        "model_interface.logit_name": {kind: deciding[kind].name if kind in deciding else "" for kind in files},
        "model_interface.map_name": {kind: maps[kind].name if kind in maps else "" for kind in files},
        "model_interface.ignored_outputs": {
            kind: [one.name for one in facts.outputs if one not in (deciding.get(kind), maps.get(kind))]
            for kind, facts in files.items()
        },
        "patch_grid.input_operator": "none",
        "patch_grid.operator_scale": 1.0,
        "patch_grid.rows": cells[0],
        "patch_grid.cols": cells[1],
        "patch_grid.stride": stride,
        "patch_grid.receptive_field": field,
        "patch_grid.padding": padding,
    }
    if maps and said.geometry is None:
        answers.notes.append(
            f"cells lie {stride} px apart and may see the whole picture; --geometry where they see less"
        )


def _kind(
    files: dict[FileKind, FileFacts], deciding: dict[FileKind, TensorFacts], said: Said, answers: Answers
) -> None:
    numbers = {kind: numbers_of_a_picture(one) for kind, one in deciding.items()}
    if len(set(numbers.values())) > 1:
        answers.missing.append(
            f"--output: {deciding['tflite']} and {deciding['onnx']} differ in their classes; name one of each"
        )
        return
    many, last = numbers["tflite"] > 1, files["tflite"].last.get(deciding["tflite"].name, "")
    probabilities = PROBABILITIES.get(last)
    kind = said.kind or probabilities or ("class_logits" if many else "logit")
    if (kind in CLASS_KINDS) != many:
        answers.missing.append(f"--kind {kind}: {deciding['tflite'].name} gives {numbers['tflite']} numbers a picture")
        return
    answers.notes.append(
        f"{deciding['tflite'].name} decides ({kind}{f', it ends in {last}' if last else ''}); else --output, --kind"
    )
    if kind == "probability":  # 1 - p is all that the file says of a logit where p is near 1
        tolerance = round(4 * float(np.finfo(np.float32).epsneg) / CLIP, 6)
        answers.values |= {"model_interface.probability_clip": CLIP, "pooling.tolerance_s6": tolerance}
        answers.notes.append(
            f"probabilities are kept {CLIP:g} from 0 and 1, and logits compared to {tolerance:.2g}: four steps of "
            f"float32 just below 1, as logits at 1 - {CLIP:g}; export the logit where that is too coarse"
        )
    if not many:
        larger = "real" if said.fake_index == 0 else "fake"
        answers.notes.append(f"the larger {deciding['tflite'].name}, the more {larger}; else --fake-index 0 or 1")
    fake = said.fake_index
    if not many and fake not in {None, 0, 1}:
        answers.missing.append(
            f"--fake-index {fake}: one number speaks for the second of two classes; 0 or 1 is needed"
        )
    if many and (fake is None or not 0 <= fake < numbers["tflite"]):
        answers.missing.append(
            f"--fake-index: place of fake among the {numbers['tflite']} classes of {deciding['tflite'].name}, from 0; "
            "for example --fake-index 1"
        )
        return
    names: list[Value] = ["fake" if place == fake else "real" if numbers["tflite"] == 2 else f"class {place}"
             for place in range(numbers["tflite"])] if many else _two_names(fake)  # fmt: skip
    answers.values |= {
        "model_interface.output_kind": kind,
        "model_interface.class_names": names,
        "model_interface.fake_index": 1 if fake is None else fake,
        "calibration.method": said.method or "platt",
    }


def _memory(tflite: Path, base: LoadedContract, answers: Answers) -> None:
    """A budget for this file: the base's, which holds all but it, and what it takes when it runs."""
    runtime = base.policy.runtime
    takes = try_in_own_process(str(tflite), tflite.read_bytes(), xnnpack=runtime.delegate == "xnnpack") / MEGABYTE
    budget = float(np.ceil(runtime.max_memory + takes))
    answers.values["runtime.max_memory"] = budget
    answers.notes.append(
        f"runtime.max_memory {budget:g} MB is proposed: {runtime.max_memory:g} of the contract that this one begins "
        f"with, and {takes:.1f} that {tflite} takes; set it to what your device may spare"
    )


def _mode(tflite: Path, answers: Answers) -> None:
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


def _named(facts: FileFacts, name: str, option: str, answers: Answers) -> TensorFacts | None:
    found = next((one for one in facts.outputs if one.name == name), None)
    if name and found is None:
        what = f"{facts.path} has no such output ({_listed(facts)})"
        answers.missing.append(f"{option} {name}: {what}; for example {option} {_example(facts, option)}")
    return found


def _of(names: Sequence[str], kind: str) -> str:
    """The name meant for a file: the one, or TFLite's before ONNX's."""
    return "" if not names else names[-1] if kind == "onnx" else names[0]


def _example(facts: FileFacts, option: str) -> str:
    fits = is_map if option == "--map" else numbers_of_a_picture
    return next((one.name for one in facts.outputs if fits(one)), facts.outputs[0].name)


def _listed(facts: FileFacts) -> str:
    return "; ".join(map(str, facts.outputs))


def is_map(tensor: TensorFacts) -> bool:
    """Whether an output has rows and columns of one number each."""
    long = [side for side in tensor.shape[1:] if side != 1]
    return len(long) == 2 and OPEN not in long


def _cells(patch_map: TensorFacts) -> tuple[int, int]:
    rows, cols = (side for side in patch_map.shape[1:] if side != 1)
    return rows, cols


def _two_names(fake: int | None) -> list[Value]:
    """Classes of one number: none where it speaks for fake and nobody said more."""
    return [] if fake not in {0, 1} else ["fake", "real"] if fake == 0 else ["real", "fake"]
