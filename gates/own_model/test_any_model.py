"""Reference pairs: every kind of output that teams bring says the same of a picture, and planted defects are seen.

All pairs hold one network (`make_pairs`), so what differs between them is the form alone: one number or two classes,
channels first or last, integers outside, a heatmap, one picture at a time, an embedding beside the logit.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.commands.parity import show
from ecdd.contract.contract_error import ContractError
from ecdd.contract.loading import load_contract
from ecdd.export.onboarding import contract_for
from ecdd.export.own_model import check_pair
from ecdd.export.said import OnboardingError
from ecdd.inference.pooling import pooled_logits
from ecdd.parity.parity_run import ParityRequest, run_parity
from ecdd.runtimes.base import RuntimeFileError
from gates.own_model.pair_files import (
    KINDS,
    NAMES,
    NEGATED,
    SAID,
    contract,
    edited,
    files,
    maps_alone,
    outputs,
    rewritten,
    scaled,
)

onnx = pytest.importorskip("onnx", reason="extra `export` is not installed")


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_gives_the_one_logit(name: str) -> None:
    """A probability is turned back, classes are subtracted, integers are read: the logit is the plain pair's."""
    wanted = outputs("logit")[0].pooled
    assert wanted is not None
    assert np.ptp(wanted) > 0.2, "noise of three strengths tells the pictures apart"
    for found in outputs(name):
        assert found.pooled is not None
        # 256 steps of an 8-bit output over the range of the golden faces
        assert np.abs(found.pooled - wanted).max() < (0.15 if name == "uint8" else 1e-3), name
        assert (pooled_logits(found, contract(name).policy.pooling) == found.pooled).all()
        assert found.maps.shape == ((3, 7, 7) if name == "map" else (3, 1, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_is_taken_by_its_contract(name: str) -> None:
    contents = check_pair(*files(name), contract(name).policy)
    assert contents[0] == files(name)[0].read_bytes()


def _swapped_classes(model: onnx.ModelProto) -> None:
    (node,) = [one for one in model.graph.node if one.op_type == "Concat"]
    node.input[:] = list(node.input)[::-1]


def _swapped_outputs(model: onnx.ModelProto) -> None:
    first, second = model.graph.output[0].name, model.graph.output[1].name
    for node in model.graph.node:
        node.output[:] = [{first: second, second: first}.get(name, name) for name in node.output]
        node.input[:] = [{first: second, second: first}.get(name, name) for name in node.input]
    model.graph.output[0].name, model.graph.output[1].name = second, first


BGR = scaled("first", lambda values: values[:, ::-1])
# a network this small, all in integers, is further from its float twin than the contract's limits for integers allow
ROUNDED = {
    "uint8": frozenset(
        {
            "same_tensor.patch.mean_relative_difference",
            "same_tensor.pooled.max_difference",
            "same_file.pooled.max_difference",
        }
    )
}
# what a conversion really does wrong -> the pair that shows it, and how the ONNX file of it is changed
CHANGED = {
    "head_negated": [(name, NEGATED) for name in NAMES],
    "class_index_swapped": [("softmax", _swapped_classes)],
    "bgr": [(name, BGR) for name in NAMES],
}


@pytest.mark.parametrize(
    ("name", "change"),
    [pytest.param(*case, id=f"{what}-{case[0]}") for what, cases in CHANGED.items() for case in cases],
)
def test_parity_sees_a_planted_defect(name: str, change: Callable[..., None], tmp_path: Path) -> None:
    """Under the contract and without one: the verdict is fail, never pass and never incomplete."""
    contract(name).dump(tmp_path / "contract.yaml")
    tflite, _ = files(name)
    spoilt = rewritten(tmp_path, name, change)
    report = _parity(f"onnx:{spoilt}", f"tflite:{tflite}", tmp_path / "contract.yaml")
    assert report.verdict == "fail"
    failed = {one.name for one in report.parity.metrics if one.verdict == "fail"}
    assert any("pooled" in one for one in failed), failed
    assert failed > ROUNDED.get(name, frozenset()), "no more than rounding to integers does to the pair itself"


@pytest.mark.parametrize("name", NAMES)
def test_parity_passes_the_pair_itself(name: str, tmp_path: Path) -> None:
    contract(name).dump(tmp_path / "contract.yaml")
    tflite, reference = files(name)
    report = _parity(f"onnx:{reference}", f"tflite:{tflite}", tmp_path / "contract.yaml")
    failed = {one.name for one in report.parity.metrics if one.verdict == "fail"}
    assert failed == ROUNDED.get(name, frozenset())
    assert report.verdict == ("fail" if failed else "pass")
    assert not report.parity.other_outputs.alone


def test_an_embedding_is_compared_and_takes_no_part(tmp_path: Path) -> None:
    """Without a contract, too: the logit decides, and the embedding is one more output that must agree."""
    tflite, reference = files("embedding")
    report = _parity(f"onnx:{reference}", f"tflite:{tflite}", None)
    assert report.parity.other_outputs.pairs == (("embedding", "embedding"),)
    assert report.verdict == "pass"
    only_embedding = rewritten(tmp_path, "embedding", scaled("second", lambda values: values[:, :, ::-1]))
    assert _parity(f"onnx:{only_embedding}", f"tflite:{tflite}", None).verdict == "fail"


@pytest.mark.parametrize("sides", [(-1,), (-1, 1, 1), (-1, 1, 1, 1)])
def test_one_number_is_taken_in_any_shape(sides: tuple[int, ...], tmp_path: Path) -> None:
    """(N,), (N, 1, 1) and (N, 1, 1, 1) beside the other file's (N, 1): described, compared, and a negated head seen."""

    def shaped(model: onnx.ModelProto) -> None:
        (score,) = model.graph.output
        shape = onnx.numpy_helper.from_array(np.array(sides, np.int64), "sides")
        model.graph.initializer.append(shape)
        model.graph.node.append(onnx.helper.make_node("Reshape", [score.name, "sides"], ["flat"]))
        open_batch = ["N" if side < 0 else side for side in sides]
        score.CopyFrom(onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, open_batch))

    def negated(model: onnx.ModelProto) -> None:
        NEGATED(model)
        shaped(model)

    tflite = files("logit")[0]
    for change, verdict in ((shaped, "pass"), (negated, "fail")):
        reference = rewritten(tmp_path, "logit", change)
        own = contract_for(tflite, reference, SAID, load_contract())[0]
        assert own.policy.model_interface.logit_name == {"tflite": "score", "onnx": "flat"}
        own.dump(tmp_path / "contract.yaml")
        for given in (tmp_path / "contract.yaml", None):
            assert _parity(f"onnx:{reference}", f"tflite:{tflite}", given).verdict == verdict


def test_an_output_without_a_partner_makes_the_verdict_incomplete() -> None:
    """One file has a heatmap, the other has none: what agrees agrees, and what is not compared is named."""
    report = _parity(f"onnx:{files('map')[1]}", f"tflite:{files('logit')[0]}", None)
    assert report.verdict == "incomplete"
    assert re.fullmatch(r"output heat .* of the reference: no partner in the other file", report.not_measured[0])


def test_of_several_signatures_the_computed_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """LiteRT computes the first graph; a signature of another one names none of its outputs, whatever it is called."""

    def second(model: Any) -> None:
        (first,) = model.signatureDefs
        model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))
        other = copy.deepcopy(first)
        first.signatureKey, other.signatureKey, other.subgraphIndex = b"judge", b"serving_default", 1
        other.outputs[0].name = b"vector"
        model.signatureDefs.append(other)

    path = edited(tmp_path, "logit", second)
    found, notes = contract_for(path, files("logit")[1], SAID, load_contract())
    assert found.policy.model_interface.logit_name == {"tflite": "score", "onnx": "score"}
    named = f"{path} has the signatures judge, serving_default; judge is computed"
    assert any(note.startswith(named) for note in notes)
    show(_parity(f"onnx:{files('logit')[1]}", f"tflite:{path}", None))
    shown = "".join(capsys.readouterr())
    assert "has the signatures judge, serving_default; judge is computed" in shown.replace("\n", " ")


def _parity(reference: str, candidate: str, own: Path | None):  # noqa: ANN202 - a report
    golden = Path(__file__).resolve().parents[2] / "golden" / "in_scope"
    return run_parity(ParityRequest(reference, candidate, data=str(golden), most=4, contract=own))


CONTRADICTED = {
    "layout": ("softmax", {"model_interface.input_layout": {"tflite": "NHWC", "onnx": "NHWC"}}, "(any, 3, 224, 224)"),
    "dtype": ("uint8", {"model_interface.input_dtype": {"tflite": "float32", "onnx": "float32"}}, "picture uint8"),
    "batch": ("one", {"model_interface.batch": {"tflite": "free", "onnx": "free"}}, "(1, 224, 224, 3)"),
    "output": ("logit", {"model_interface.logit_name": {"tflite": "score", "onnx": "y"}}, "score float32"),
    "not_ignored": ("embedding", {"model_interface.ignored_outputs": {"tflite": [], "onnx": []}}, "ignored_outputs"),
    "probabilities": ("logit", {"model_interface.output_kind": "probability"}, "the kind is logit"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CONTRADICTED))
def test_files_that_contradict_the_contract_are_refused(case: str) -> None:
    name, values, said = CONTRADICTED[case]
    with pytest.raises(RuntimeFileError) as caught:
        check_pair(*files(name), contract(name).with_values(values).policy)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_layout_is_refused(name: str) -> None:
    """Colours said to be first where they are last, and the other way round; the shape of the file shows it."""
    said = contract(name).policy.model_interface.input_layout
    turned = {kind: "NHWC" if layout == "NCHW" else "NCHW" for kind, layout in said.items()}
    with pytest.raises(RuntimeFileError, match="expected one input picture"):
        check_pair(*files(name), contract(name).with_values({"model_interface.input_layout": turned}).policy)


def test_one_number_that_speaks_for_real_is_turned() -> None:
    """As MesoNet's sigmoid does; heatmap and logit turn together, and the slope of the fit says so where nobody did."""
    for name in ("logit", "map"):
        said = contract_for(*files(name), replace(KINDS[name], fake_index=0), load_contract())[0]
        assert said.policy.model_interface.class_names == ["fake", "real"]
        for turned, plain in zip(outputs(name, values=said), outputs(name), strict=True):
            assert turned.pooled is not None
            assert plain.pooled is not None
            assert (turned.pooled == -plain.pooled).all()
            assert (turned.maps == -plain.maps).all()
    said = contract_for(*files("logit"), replace(SAID, fake_index=1), load_contract())[0]
    assert (outputs("logit", values=said)[0].maps == outputs("logit")[0].maps).all()


PATCHES = replace(SAID, kind="patch_logits", maps=("heat",), pooling="mean")


def test_a_map_decides_where_it_is_said_or_nothing_else_could(tmp_path: Path) -> None:
    """The rule pools the map in both files; an output beside it that nobody names decides nothing."""
    named = contract_for(*files("map"), PATCHES, load_contract())[0]
    assert named.policy.model_interface.ignored_outputs == {"tflite": ["score"], "onnx": ["score"]}
    check_pair(*files("map"), named.policy)
    pooled = [pooled_logits(one, named.policy.pooling) for one in outputs("map", values=named)]
    assert np.abs(pooled[0] - pooled[1]).max() < 1e-4
    assert np.ptp(pooled[0]) > 0.2

    pair = maps_alone(tmp_path)
    alone = contract_for(*pair, replace(SAID, pooling="mean"), load_contract())[0]
    said, grid = alone.policy.model_interface, alone.policy.patch_grid
    assert (said.output_kind, alone.policy.pooling.rule) == ("patch_logits", "mean")
    assert said.logit_name == {"tflite": "", "onnx": ""}
    assert (grid.rows, grid.stride, grid.receptive_field) == (7, 32, "whole_picture")
    assert check_pair(*pair, alone.policy)[0] == pair[0].read_bytes()
    narrow = contract_for(*pair, replace(SAID, pooling="mean", geometry=(32, 32, 0)), load_contract())[0]
    assert narrow.policy.patch_grid.receptive_field == 32
    with pytest.raises(OnboardingError, match=r"--pooling: how the map becomes one logit"):
        contract_for(*pair, SAID, load_contract())


def test_a_sigmoid_is_not_applied_twice() -> None:
    values = {"model_interface.output_kind": "class_logits"}
    with pytest.raises(RuntimeFileError, match="the output of SOFTMAX; its kind is class_probabilities"):
        check_pair(*files("softmax"), contract("softmax").with_values(values).policy)


@pytest.mark.parametrize(("name", "outputs"), [("embedding", "score"), ("map", "heat")])
def test_swapped_outputs_are_refused_by_shape(name: str, outputs: str, tmp_path: Path) -> None:
    """Two outputs that changed names: no shape fits any more."""
    spoilt = rewritten(tmp_path, name, _swapped_outputs)
    with pytest.raises(RuntimeFileError, match=f"expected outputs {outputs}"):
        check_pair(files(name)[0], spoilt, contract(name).policy)


def test_a_pooling_rule_needs_a_map() -> None:
    with pytest.raises(ContractError, match=r"pooling\.rule"):
        contract("logit").with_values({"pooling.rule": "mean"})
