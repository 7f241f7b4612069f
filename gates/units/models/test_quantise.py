"""Every mode is what it says, looked up inside the file; what cannot be quantised well is refused."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pytest

from ecdd.bundle import load_bundle

pytest.importorskip("tensorflow", reason="extra `export` is not installed")
pytest.importorskip("torch", reason="extra `train` is not installed")

from ecdd.export.export_error import ExportError
from ecdd.export.folding import FoldedNetwork, fold
from ecdd.export.quantised_file import EXPECTED, ISLANDS, check_quantised, convolutions
from ecdd.export.quantize import Quantised, quantise
from ecdd.export.representative_data import RepresentativeSet
from ecdd.models.checkpoint import load_weights
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.tflite import TFLiteRuntime

CONTRACT = load_bundle("tiny").contract
# a third of the contract's pictures, so that ranges are measured in a third of the time
POLICY = CONTRACT.with_values({"quantization.min_representative": 32}).policy
INTEGERS = ("full_int8", "int16x8")


def photographs(n: int, seed: int = 0) -> RepresentativeSet:
    """Seeded smooth pictures with edges and grain: levels as a camera gives them, no photograph."""
    rng = np.random.default_rng(seed)
    side, tensors = POLICY.pixel_pipeline.input_size, []
    coarse = rng.integers(0, 256, (n, 9, 9, 3))
    for grid in coarse:
        cells = np.repeat(np.repeat(grid, side // 8, axis=0), side // 8, axis=1)[:side, :side]
        pixels = np.clip(cells + rng.normal(0, 6, cells.shape), 0, 255).astype(np.uint8)
        tensors.append(normalise(pixels, POLICY.pixel_pipeline))
    ids = tuple(hashlib.sha256(tensor.tobytes()).hexdigest() for tensor in tensors)
    return RepresentativeSet(ids, np.stack(tensors), CONTRACT.tensor_digest)


@pytest.fixture(scope="module")
def folded() -> FoldedNetwork:
    return fold(load_weights(load_bundle("tiny").file("weights.safetensors"))[0])


@pytest.fixture(scope="module")
def pictures() -> RepresentativeSet:
    return photographs(POLICY.quantization.min_representative)


@pytest.fixture(scope="module")
def quantised(folded: FoldedNetwork, pictures: RepresentativeSet) -> dict[str, Quantised]:
    return {mode: quantise(folded, mode, POLICY, pictures) for mode in EXPECTED}


@pytest.fixture(scope="module")
def made(quantised: dict[str, Quantised]) -> dict[str, bytes]:
    return {mode: one.model for mode, one in quantised.items()}


@pytest.fixture(scope="module")
def all_integers(folded: FoldedNetwork, pictures: RepresentativeSet) -> bytes:
    return quantise(folded, "full_int8", POLICY, pictures, integer_io=True).model


def _judged(model: bytes, islands: tuple[str, ...]) -> list[Any]:
    return [one for one in convolutions(model) if not one.name.startswith(tuple(f"{layer}/" for layer in islands))]


@pytest.mark.parametrize("mode", list(EXPECTED))
def test_every_mode_is_what_it_says(made: dict[str, bytes], mode: Any) -> None:
    islands = () if mode in {"float32", "float16", "weight_only_int8"} else ISLANDS
    judged = _judged(made[mode], islands)
    assert len(judged) >= 3
    assert {(one.weights, one.activations) for one in judged} == {EXPECTED[mode]}
    if EXPECTED[mode][0] == "int8":
        assert all(one.scales == one.channels for one in judged), "a scale for every channel"


@pytest.mark.parametrize("mode", list(EXPECTED))
def test_both_outputs_are_float_and_agree_with_the_float_file(
    made: dict[str, bytes], pictures: RepresentativeSet, mode: str
) -> None:
    batch = pictures.tensors[:4]
    reference, found = (TFLiteRuntime(made[name]).outputs(batch) for name in ("float32", mode))
    assert found.maps.dtype == np.float32
    assert found.pooled is not None
    spread = float(reference.maps.std())
    assert float(np.abs(found.maps - reference.maps).mean()) <= 0.1 * spread
    # the sigmoid is not in the file: logits go beyond what a probability can be
    assert float(reference.maps.min()) < 0 or float(reference.maps.max()) > 1


@pytest.mark.parametrize("mode", INTEGERS)
def test_islands_stay_float(made: dict[str, bytes], mode: str) -> None:
    kept = [one for one in convolutions(made[mode]) if one.name.startswith(tuple(f"{layer}/" for layer in ISLANDS))]
    assert kept
    assert {(one.weights, one.activations) for one in kept} == {("float32", "float32")}


def test_a_named_layer_stays_float(folded: FoldedNetwork, pictures: RepresentativeSet) -> None:
    model = quantise(folded, "dynamic_range", POLICY, pictures, float_layers=("stem",)).model
    types = {one.name.split("/")[0]: one.weights for one in convolutions(model)}
    assert types["stem"] == "float32"
    assert types["mix"] == "int8"


def test_unknown_layer_is_refused_by_name(folded: FoldedNetwork, pictures: RepresentativeSet) -> None:
    with pytest.raises(ExportError, match=r"float layers sten: the network has no such layer; it has .*stem"):
        quantise(folded, "dynamic_range", POLICY, pictures, float_layers=("sten",))


def test_integer_boundary(all_integers: bytes, made: dict[str, bytes], pictures: RepresentativeSet) -> None:
    whole, islands = (TFLiteRuntime(model).describe() for model in (all_integers, made["full_int8"]))
    assert "int8" in str(whole["inputs"])
    assert "float32" in str(islands["inputs"])
    assert {(one.weights, one.activations) for one in convolutions(all_integers)} == {("int8", "int8")}
    assert TFLiteRuntime(all_integers).outputs(pictures.tensors[:2]).maps.dtype == np.float32


def test_nothing_quantised_is_found(made: dict[str, bytes]) -> None:
    with pytest.raises(ExportError, match="full_int8: convolutions must have int8 weights and int8 activations"):
        check_quantised(made["float32"], "full_int8")
    with pytest.raises(ExportError, match="all are float islands"):
        check_quantised(made["float32"], "full_int8", ("operator", "stem", "mix", "down", "cell"))


def test_weights_alone_are_not_full_int8(made: dict[str, bytes]) -> None:
    with pytest.raises(ExportError, match="must have int8 weights and int8 activations"):
        check_quantised(made["weight_only_int8"], "full_int8")


def test_scale_zero_is_refused(made: dict[str, bytes]) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(made["full_int8"], 0))
    tensor = next(
        t for t in graph.subgraphs[0].tensors if t.quantization is not None and t.quantization.scale is not None
    )
    tensor.quantization.scale = np.zeros_like(tensor.quantization.scale)
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    with pytest.raises(ExportError, match="has a scale of 0; every scale must be above 0"):
        convolutions(bytes(builder.Output()))


@pytest.mark.parametrize("mode", ["dynamic_range", "full_int8"])
def test_the_same_bytes_again(
    folded: FoldedNetwork, pictures: RepresentativeSet, made: dict[str, bytes], mode: Any
) -> None:
    assert quantise(folded, mode, POLICY, pictures).model == made[mode]


def test_the_account_of_the_ranges(quantised: dict[str, Quantised], pictures: RepresentativeSet) -> None:
    account = quantised["full_int8"].representative
    assert account is not None
    assert account["count"] == len(pictures.ids)
    assert account["tensor_digest"] == CONTRACT.tensor_digest
    assert account["float_layers"] == list(ISLANDS)
    ranges = account["ranges"]
    assert isinstance(ranges, dict)
    operator = [span for name, span in ranges.items() if re.match("operator/", name)]
    assert operator, "NPR's range is part of the account"
    assert all(span == [-128.0, 127.0] for span in operator), "by its meaning, not by what was measured"


@pytest.mark.parametrize("mode", INTEGERS)
def test_ranges_need_pictures(folded: FoldedNetwork, mode: Any) -> None:
    with pytest.raises(ExportError, match=f"{mode} measures ranges of activations: give representative data"):
        quantise(folded, mode, POLICY)
