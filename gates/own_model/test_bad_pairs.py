"""Bad pairs: each is refused in one message, with the file, what was found, what is needed and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ecdd.contract.loading import load_contract
from ecdd.export.onboarding import contract_for
from ecdd.export.said import OnboardingError, Said
from gates.own_model.pair_files import SAID, contract, edited, files, rewritten
from gates.support.command_calls import BUNDLE, call

onnx = pytest.importorskip("onnx", reason="extra `export` is not installed")

NOWHERE = {"tflite": "nowhere", "onnx": "nowhere"}


def _sides(*sides: int | str) -> Callable[[onnx.ModelProto], None]:
    """What gives the picture of an ONNX file other dimensions."""

    def rewrite(model: onnx.ModelProto) -> None:
        (given,) = model.graph.input
        given.CopyFrom(onnx.helper.make_tensor_value_info(given.name, onnx.TensorProto.FLOAT, list(sides)))

    return rewrite


def _lite_sides(*sides: int) -> Callable[[Any], None]:
    """What gives the picture of a TFLite file other dimensions; -1 is open."""

    def rewrite(model: Any) -> None:
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        tensor.shape, tensor.shapeSignature = [max(side, 1) for side in sides], list(sides)

    return rewrite


def _custom_lite(model: Any) -> None:
    first = model.operatorCodes[0]
    first.builtinCode = first.deprecatedBuiltinCode = 32  # CUSTOM
    first.customCode = b"TeamOp"
    for one in model.subgraphs[0].operators:
        if one.opcodeIndex == 0:
            one.builtinOptions, one.builtinOptionsType = None, 0


def _custom(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain, model.graph.node[1].op_type = "team", "Ours"
    model.opset_import.append(onnx.helper.make_opsetid("team", 1))


def _unscaled(side: str) -> Callable[[Any], None]:
    def rewrite(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[getattr(graph, side)[0]].quantization = None

    return rewrite


def _two_maps(model: onnx.ModelProto) -> None:
    (other,) = [one for one in model.graph.output if one.name == "score"]
    other.CopyFrom(onnx.helper.make_tensor_value_info("local", onnx.TensorProto.FLOAT, ["N", 7, 7]))


def _outside(folder: Path) -> Path:
    path = folder / "outside.onnx"
    onnx.save(onnx.load(files("logit")[1]), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


@dataclass(frozen=True)
class Bad:
    """A pair with one file that is wrong, and what the message must say to `onboard` and to `bundle build`.

    Attributes
    ----------
    tflite, onnx : callable or None
        What is done to that file.
    pair : str
        Which one.
    found, advice : str
        In both messages.
    build : tuple of str
        In place of them for `bundle build`, which knows the names from the contract.
    options : tuple of str
        Of `onboard`.
    values : dict
        Of the contract for `bundle build`.
    """

    found: str
    advice: str
    tflite: Callable[[Any], None] | None = None
    onnx: Callable[[onnx.ModelProto], None] | None = None
    pair: str = "logit"
    build: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    values: tuple[tuple[str, Any], ...] = ()


NO_SIDES, FIXED = "float32 (any, any, any, 3)", "export it with height, width and colours fixed"
SINGLE, NAMED = "export the model for single pictures", "name what is there in model_interface.logit_name and map_name"
BAD = {
    "open_sides_onnx": Bad(NO_SIDES, FIXED, onnx=_sides("N", "H", "W", 3)),
    "open_sides_tflite": Bad(NO_SIDES, FIXED, tflite=_lite_sides(-1, -1, -1, 3)),
    "video_onnx": Bad("float32 (any, 8, 224, 224, 3)", SINGLE, onnx=_sides("N", 8, 224, 224, 3)),
    "video_tflite": Bad("float32 (1, 8, 224, 224, 3), 5 dimensions", SINGLE, tflite=_lite_sides(1, 8, 224, 224, 3)),
    "batch_of_four": Bad("float32 (4, 224, 224, 3)", "fixed to", onnx=_sides(4, 224, 224, 3)),
    "no_such_output": Bad("score float32 (any, 1)", "for example --output score", options=("--output", "nowhere"),
                          build=("expected outputs nowhere (N,)", NAMED),
                          values=(("model_interface.logit_name", NOWHERE),)),
    "no_such_map": Bad("heat float32 (any, 7, 7)", "for example --map heat", pair="map", options=("--map", "nowhere"),
                       build=("expected outputs nowhere (N, 7, 7)", NAMED),
                       values=(("model_interface.map_name", NOWHERE),)),
    "two_maps": Bad("more than one output could be the map", "for example --map local", pair="map", onnx=_two_maps,
                    options=("--kind", "patch_logits", "--pooling", "mean"),
                    build=("local float32 (any, 7, 7)", NAMED)),
    "custom_op_tflite": Bad("custom op: TeamOp", "convert it with built-in operators only", tflite=_custom_lite),
    "custom_op_onnx": Bad("team:Ours", "export it with standard operators only", onnx=_custom),
    "weights_outside": Bad("its weights lie in another file", "save them inside"),
    "output_without_scale": Bad("uint8 (1, 1)", "or export a float32 output", pair="uint8",
                                tflite=_unscaled("outputs")),
    "input_without_scale": Bad("has no scale", "say --scaling=0..255", pair="uint8", tflite=_unscaled("inputs"),
                               build=("found no scale", "quantise it again")),
}  # fmt: skip


def _written(case: str, folder: Path) -> tuple[Path, Path]:
    bad, (tflite, reference) = BAD[case], files(BAD[case].pair)
    if bad.tflite:
        tflite = edited(folder, bad.pair, bad.tflite)
    if bad.onnx:
        reference = rewritten(folder, bad.pair, bad.onnx)
    return tflite, _outside(folder) if case == "weights_outside" else reference


@pytest.mark.parametrize("case", list(BAD))
@pytest.mark.parametrize("command", ["onboard", "bundle build"])
def test_a_bad_pair_is_one_message_and_exit_code_2(command: str, case: str, tmp_path: Path) -> None:
    bad, (tflite, reference), out = BAD[case], _written(case, tmp_path), tmp_path / "out"
    words = ["--tflite", str(tflite), "--onnx", str(reference), "--out", str(out)]
    if command == "onboard":
        words += ["--scaling=-1..1", "--crop-margin", "1.3", *bad.options]
    else:
        contract(bad.pair).with_values(dict(bad.values)).dump(tmp_path / "contract.yaml")
        words += ["--contract", str(tmp_path / "contract.yaml"), "--scores", str(BUNDLE / "calibration_scores.csv")]
    said = call(command, words)
    assert said.exit_code == 2, said.output
    for part in bad.build if command != "onboard" and bad.build else (bad.found, bad.advice):
        assert part in said.stderr
    wrong = tflite if bad.tflite else reference
    assert str(wrong) in said.stderr
    assert said.stderr.count("ecdd: ") == 1, "one message"
    assert not out.exists() or not any(out.iterdir()), "nothing is half done"


def test_what_is_wrong_with_both_files_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "no.tflite").write_bytes(b"not a model")
    pair = tmp_path / "no.tflite", rewritten(tmp_path, "logit", _sides("N", "H", "W", 3))
    contract("logit").dump(tmp_path / "contract.yaml")
    scores = ["--contract", str(tmp_path / "contract.yaml"), "--scores", str(BUNDLE / "calibration_scores.csv")]
    for command, words in (("onboard", []), ("bundle build", scores)):
        given = ["--tflite", str(pair[0]), "--onnx", str(pair[1]), "--out", str(tmp_path / "out")]
        said = call(command, given + words)
        assert said.exit_code == 2
        first, second = said.stderr.strip().splitlines()
        assert first.startswith(f"ecdd: {pair[0]}: expected a TFLite file")
        assert second.startswith(f"{pair[1]}: expected only the batch left open")


def test_everything_that_has_to_be_said_is_asked_for_at_once() -> None:
    with pytest.raises(OnboardingError) as caught:
        contract_for(*files("softmax"), Said(), load_contract())
    text = str(caught.value)
    assert [line.split(":")[0] for line in text.splitlines()] == ["--scaling", "--crop-margin", "--fake-index"]
    assert text.count("for example") == 3


def test_a_picture_that_is_no_square_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """And an integer output that LiteRT gives without a scale, where it decides."""
    given = ["--scaling=-1..1", "--crop-margin", "1.3", "--out", str(tmp_path / "out")]
    wide = rewritten(tmp_path, "logit", _sides("N", 224, 112, 3))
    said = call("onboard", ["--tflite", str(files("logit")[0]), "--onnx", str(wide), *given])
    assert (said.exit_code, "export it with a square input" in said.stderr) == (2, True)

    def whole(model: onnx.ModelProto) -> None:
        (score,) = model.graph.output
        model.graph.node.append(onnx.helper.make_node("Cast", [score.name], ["whole"], to=onnx.TensorProto.UINT8))
        score.CopyFrom(onnx.helper.make_tensor_value_info("whole", onnx.TensorProto.UINT8, ["N", 1]))

    reference = rewritten(tmp_path, "logit", whole)
    said = call("onboard", ["--tflite", str(files("logit")[0]), "--onnx", str(reference), *given])
    assert said.exit_code == 2
    assert f"{reference}: expected integers with a scale and a zero point; found whole uint8 (any, 1)" in said.stderr


def test_pairs_that_are_good_are_not_refused() -> None:
    """The options and contracts of the table above fit the pairs as they are."""
    for name in {bad.pair for bad in BAD.values()}:
        found, _ = contract_for(*files(name), replace(SAID, maps=("heat",) if name == "map" else ()), load_contract())
        assert found.policy.pixel_pipeline.input_size == 224
