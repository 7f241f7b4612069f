"""The reference pairs of ``pairs/``: files, contracts and outputs, and files with something else inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.contract.loading import LoadedContract, load_contract
from ecdd.export.onboarding import contract_for
from ecdd.export.said import Said
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import ModelOutputs
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.tflite import TFLiteRuntime

onnx = pytest.importorskip("onnx", reason="extra `export` is not installed")

PAIRS = Path(__file__).with_name("pairs")


SAID = Said(scaling="-1..1", crop_margin=1.3)


KINDS: dict[str, Said] = {
    "logit": SAID,
    "softmax": replace(SAID, fake_index=0),
    "uint8": SAID,
    "map": replace(SAID, maps=("heat",)),
    "one": SAID,
    "embedding": SAID,
}


NAMES = list(KINDS)


def files(name: str) -> tuple[Path, Path]:
    """TFLite and ONNX of a pair."""
    return PAIRS / f"{name}.tflite", PAIRS / f"{name}.onnx"


@cache
def contract(name: str) -> LoadedContract:
    """The contract that onboarding writes for a pair."""
    return contract_for(*files(name), KINDS[name], load_contract())[0]


@cache
def batch() -> np.ndarray:
    """S4 of three pictures of noise, each softer than the last."""
    policy, rng = contract("logit").policy.pixel_pipeline, np.random.default_rng(4)
    pictures = [rng.integers(128 - reach, 128 + reach, (224, 224, 3), np.uint8) for reach in (24, 12, 4)]
    return np.stack([normalise(one, policy) for one in pictures])


def outputs(name: str, onnx_file: Path | None = None, values: LoadedContract | None = None) -> list[ModelOutputs]:
    """What TFLite and ONNX of a pair say of the batch."""
    policy = (values or contract(name)).policy
    tflite, reference = files(name)
    return [
        TFLiteRuntime(tflite.read_bytes(), interface=ModelInterface.of(policy, "tflite")).outputs(batch()),
        OnnxRuntime(onnx_file or reference, interface=ModelInterface.of(policy, "onnx")).outputs(batch()),
    ]


def rewritten(folder: Path, name: str, change: Callable[[onnx.ModelProto], None]) -> Path:
    """The ONNX file of a pair with something else inside."""
    model = onnx.load(files(name)[1])
    change(model)
    path = folder / "other.onnx"
    onnx.save(model, path)
    return path


def edited(folder: Path, name: str, change: Callable[[Any], None]) -> Path:
    """The TFLite file of a pair with something else inside."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files(name)[0].read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = folder / "other.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def scaled(wanted: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    """What changes the weights of these names."""

    def rewrite(model: onnx.ModelProto) -> None:
        for one in model.graph.initializer:
            if one.name in wanted.split():
                one.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(one)).copy(), one.name))

    return rewrite


NEGATED = scaled("head bias kernel", lambda values: -values)


def maps_alone(folder: Path) -> tuple[Path, Path]:
    """The pair with a map, without its other output."""

    def without(model: onnx.ModelProto) -> None:
        (other,) = [one for one in model.graph.output if one.name == "score"]
        model.graph.output.remove(other)

    def heat_alone(model: Any) -> None:
        (signature,) = model.signatureDefs
        signature.outputs = [one for one in signature.outputs if one.name == b"heat"]
        model.subgraphs[0].outputs = [signature.outputs[0].tensorIndex]

    return edited(folder, "map", heat_alone), rewritten(folder, "map", without)
