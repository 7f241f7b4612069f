"""Bad pairs: each is refused in one message, with the file, what was found, what is needed and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecdd.contract.loading import load_contract
from ecdd.export.onboarding import contract_for
from ecdd.export.said import OnboardingError, Said
from ecdd.runtimes.base import RuntimeFileError
from gates.own_model.pair_files import SAID, edited, files, maps_alone, rewritten

onnx = pytest.importorskip("onnx", reason="extra `export` is not installed")


def test_two_candidates_for_the_map_are_named(tmp_path: Path) -> None:
    def two(model: onnx.ModelProto) -> None:
        (other,) = [one for one in model.graph.output if one.name == "score"]
        other.CopyFrom(onnx.helper.make_tensor_value_info("local", onnx.TensorProto.FLOAT, ["N", 7, 7]))

    tflite = maps_alone(tmp_path)[0]
    spoilt = rewritten(tmp_path, "map", two)
    with pytest.raises(OnboardingError) as caught:
        contract_for(tflite, spoilt, replace(SAID, pooling="mean"), load_contract())
    (line,) = caught.value.problems
    assert line.startswith(f"--map: more than one output could be the map in {spoilt} (")
    assert "heat float32 (any, 7, 7)" in line
    assert "local float32 (any, 7, 7)" in line
    assert line.endswith("for example --map local")


def test_everything_that_has_to_be_said_is_asked_for_at_once() -> None:
    with pytest.raises(OnboardingError) as caught:
        contract_for(*files("softmax"), Said(), load_contract())
    text = str(caught.value)
    assert [line.split(":")[0] for line in text.splitlines()] == ["--scaling", "--crop-margin", "--fake-index"]
    assert text.count("for example") == 3


def test_integers_without_a_scale_take_levels(tmp_path: Path) -> None:
    """uint8 without a quantisation: any other scaling than levels contradicts the file, and what to do is said."""

    def unscaled(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].quantization = None

    pair = edited(tmp_path, "uint8", unscaled), files("uint8")[1]
    with pytest.raises(OnboardingError, match=r"--scaling -1\.\.1: .* has no scale .* say --scaling=0\.\.255"):
        contract_for(*pair, SAID, load_contract())


def test_a_custom_operator_of_tflite_is_refused_with_what_to_do(tmp_path: Path) -> None:
    def custom(model: Any) -> None:
        first = model.operatorCodes[0]
        first.builtinCode = first.deprecatedBuiltinCode = 32  # CUSTOM
        first.customCode = b"TeamOp"
        for one in model.subgraphs[0].operators:
            if one.opcodeIndex == 0:
                one.builtinOptions, one.builtinOptionsType = None, 0

    path = edited(tmp_path, "logit", custom)
    with pytest.raises(RuntimeFileError, match=r"custom op: TeamOp.*built-in operators only") as caught:
        contract_for(path, files("logit")[1], SAID, load_contract())
    assert str(path) in str(caught.value)


def _shaped(*sides: int | str) -> Callable[[onnx.ModelProto], None]:
    def rewrite(model: onnx.ModelProto) -> None:
        (given,) = model.graph.input
        given.CopyFrom(onnx.helper.make_tensor_value_info(given.name, onnx.TensorProto.FLOAT, list(sides)))

    return rewrite


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (("N", "H", "W", 3), "export it with height, width and colours fixed"),
        (("N", 224, 112, 3), "a square picture"),
        (("N", 8, 224, 224, 3), "export the model for single pictures"),
        ((4, 224, 224, 3), "a batch left open or fixed to 1"),
    ],
)
def test_a_picture_that_no_face_fits_is_refused_with_what_to_do(
    sides: tuple[int | str, ...], said: str, tmp_path: Path
) -> None:
    changed = rewritten(tmp_path, "logit", _shaped(*sides))
    with pytest.raises(RuntimeFileError) as caught:
        contract_for(files("logit")[0], changed, SAID, load_contract())
    assert said in str(caught.value)
    assert str(changed) in str(caught.value)


def test_what_is_wrong_with_both_files_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "no.tflite").write_bytes(b"not a model")
    changed = rewritten(tmp_path, "logit", _shaped("N", "H", "W", 3))
    with pytest.raises(OnboardingError) as caught:
        contract_for(tmp_path / "no.tflite", changed, SAID, load_contract())
    assert [str(tmp_path / "no.tflite") in caught.value.problems[0], str(changed) in caught.value.problems[1]] == [
        True
    ] * 2


def test_weights_in_another_file_are_refused_with_what_to_do(tmp_path: Path) -> None:
    model = onnx.load(files("logit")[1])
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(RuntimeFileError, match="save them inside"):
        contract_for(files("logit")[0], path, SAID, load_contract())


def test_a_custom_operator_is_refused_with_what_to_do(tmp_path: Path) -> None:
    def custom(model: onnx.ModelProto) -> None:
        model.graph.node[1].domain, model.graph.node[1].op_type = "team", "Ours"
        model.opset_import.append(onnx.helper.make_opsetid("team", 1))

    with pytest.raises(RuntimeFileError, match="standard operators only"):
        contract_for(files("logit")[0], rewritten(tmp_path, "logit", custom), SAID, load_contract())
