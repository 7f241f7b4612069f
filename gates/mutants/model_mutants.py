"""Defects in the model: operator, layout, weights, direction of the score, pooling."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def _change_operator(change: Any) -> None:
    from ecdd.models import tiny_ladeda

    really = tiny_ladeda.apply_operator
    tiny_ladeda.apply_operator = lambda x, name, scale: really(x, *change(name, scale))


def npr_scale_missing() -> None:
    """The factor of the NPR map was left out; strict loading of the weights cannot see it."""
    _change_operator(lambda name, _scale: (name, 1.0))


def other_gradient_operator() -> None:
    """Another operator in front of the same weights."""
    _change_operator(lambda name, scale: ("left_diag" if name != "left_diag" else "right_diag", scale))


def transpose_grid() -> None:
    """Rows and columns of the map changed places; a square grid hides it."""
    from ecdd.runtimes import tflite

    _change_map(tflite.TFLiteRuntime, lambda maps: np.ascontiguousarray(maps.swapaxes(1, 2)))


def _change_map(runtime: Any, change: Any) -> None:
    really = runtime.outputs

    def planted(self: Any, batch: Any) -> Any:
        found = really(self, batch)
        return dataclasses.replace(found, maps=change(found.maps))

    runtime.outputs = planted


def reshape_as_transpose() -> None:
    """NHWC to NCHW by reshape in the torch path: the same numbers in another order."""
    from ecdd.runtimes import torch as torch_runtime

    really = torch_runtime.TorchRuntime.patch_map

    def planted(self: Any, batch: Any) -> Any:
        count, height, width, channels = batch.shape
        return really(self, batch.reshape(count, channels, height, width).transpose(0, 2, 3, 1))

    torch_runtime.TorchRuntime.patch_map = planted  # type: ignore[method-assign]


def reshape_as_transpose_onnx() -> None:
    """The same in an application around the ONNX file."""
    from ecdd.runtimes import onnx

    really = onnx.OnnxRuntime.patch_map
    onnx.OnnxRuntime.patch_map = lambda self, batch: really(  # type: ignore[method-assign]
        self, np.ascontiguousarray(batch.transpose(0, 3, 1, 2)).reshape(batch.shape)
    )


def padded_conv() -> None:
    """A convolution that pads, as most networks have it: the grid grows and shifts."""
    from ecdd.models import architectures

    really = architectures.build_network

    def planted(name: str, *arguments: Any) -> Any:
        network = really(name, *arguments)
        if name == "tiny_ladeda":
            network.get_submodule("layer1.0.conv2").padding = (1, 1)
        return network

    architectures.build_network = planted


def random_weights() -> None:
    """The weights were never loaded, and the network still runs."""
    from ecdd.models import checkpoint

    really = checkpoint.load_weights

    def planted(path: Any) -> Any:
        _, identity = really(path)
        fresh = checkpoint._empty(
            identity.architecture, identity.input_operator, identity.operator_scale, identity.width
        )
        return fresh.eval(), identity

    checkpoint.load_weights = planted


def strict_false_missing_key() -> None:
    """``strict=False`` swallows a key that is missing, here the head's."""
    from ecdd.models import checkpoint

    def planted(model: Any, state: dict[str, Any], _path: Any) -> None:
        model.load_state_dict({key: value for key, value in state.items() if key != "fc.weight"}, strict=False)

    checkpoint.load_strict = planted


def train_mode_batchnorm() -> None:
    """Nobody called ``eval()``: batch normalisation uses the statistics of the batch."""
    from ecdd.models import patch_network

    patch_network.PatchNetwork.eval = lambda self: self  # type: ignore[method-assign]


def inverted_score() -> None:
    """FAKE is 0 in the exported file's output."""
    from ecdd.runtimes import tflite

    _change_map(tflite.TFLiteRuntime, lambda maps: -maps)


def colours_exchanged_for_the_file() -> None:
    """The files were trained on BGR, and somebody turns the pictures where they need not be."""
    from ecdd.runtimes.model_interface import ModelInterface

    really = ModelInterface.native
    ModelInterface.native = lambda self, batch: really(self, batch[..., ::-1])  # type: ignore[method-assign]


def negated_output() -> None:
    """The output that decides says how real a picture is."""
    from ecdd.runtimes import model_interface

    really = model_interface.as_logits
    model_interface.as_logits = lambda *given: -really(*given)


def inverted_label() -> None:
    """FAKE is 0 in the loader."""
    from ecdd.calibration import calibration_set_contract

    really = calibration_set_contract.read_scores
    calibration_set_contract.read_scores = lambda path: [
        dataclasses.replace(p, label=1 - p.label) for p in really(path)
    ]


def pool_max_for_mean() -> None:
    """The application takes the largest cell."""
    from ecdd.inference import pooling

    pooling.pool = lambda patch_map, _policy: float(patch_map.max())


def topk_floor() -> None:
    """K rounded down."""
    from ecdd.inference import pooling

    pooling.top_k_count = lambda ratio, cells: max(1, int(ratio * cells))


def softmax_over_the_batch() -> None:
    """Attention subtracts the largest logit of the batch, not of the map: beside an extreme map the others vanish."""
    from ecdd.inference import pooling

    really = pooling.pooled_logits

    def planted(found: Any, policy: Any) -> Any:
        if policy.rule != "attention":
            return really(found, policy)
        flat = found.maps.reshape(len(found.maps), -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = np.exp((flat - flat.max()) / np.float32(policy.attention_temperature))
            return ((weights * flat).sum(axis=1) / weights.sum(axis=1)).astype(np.float32)

    pooling.pooled_logits = planted
