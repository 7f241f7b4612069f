"""Defects of export, quantisation and what is done with a quantised file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np


def float_calibration_on_int8() -> None:
    """Nobody compares which file a calibration was fitted on."""
    from ecdd.bundle import agreement

    for name in ("_calibration_pairs", "_variant_pairs"):
        really = getattr(agreement, name)
        kept = lambda *given, really=really: [pair for pair in really(*given) if "fitted_on" not in pair[0]]  # noqa: E731
        setattr(agreement, name, kept)


def _representative(change: Any) -> None:
    """Ranges are measured on other tensors than the calibration pictures'."""
    from ecdd.export.variants import RepresentativePictures

    really = RepresentativePictures.chosen
    RepresentativePictures.chosen = lambda self, contract: change(really(self, contract))  # type: ignore[method-assign]


def random_representative_data() -> None:
    """Noise of the right shape and spread."""
    rng = np.random.default_rng(5)
    _representative(lambda data: replace(data, tensors=rng.normal(size=data.tensors.shape).astype(np.float32)))


def unnormalised_representative_data() -> None:
    """Levels between 0 and 1, as another project's loader gives them."""
    _representative(lambda data: replace(data, tensors=((data.tensors + 2.2) / 5).clip(0, 1).astype(np.float32)))


def empty_representative_data() -> None:
    """The folder was empty."""
    _representative(lambda data: replace(data, ids=(), tensors=data.tensors[:0]))


def one_outlier_image() -> None:
    """One picture came through another loader, in levels.

    Black and white pixels in turn, the hardest picture of legal levels, do no harm: NPR's range is fixed by its
    meaning, and the layers behind it are wide enough (the map's smallest rank correlation stays 0.975).
    """

    def change(data: Any) -> Any:
        tensors = data.tensors.copy()
        tensors[0] = (tensors[0] + 2.2) * 51
        return replace(data, tensors=tensors)

    _representative(change)


def per_tensor_weights() -> None:
    """One scale for all channels of a kernel."""
    from ai_edge_quantizer import recipe

    really = recipe.static_wi8_ai8

    def planted() -> Any:
        rules = really()
        for rule in rules:
            weights = rule["op_config"].get("weight_tensor_config")
            if weights is not None:
                weights["granularity"] = "TENSORWISE"
        return rules

    recipe.static_wi8_ai8 = planted


def nothing_quantised() -> None:
    """The tool runs, and gives the float file back."""
    from ecdd.export import quantize

    quantize._quantised = lambda source, *_, **__: source


def converter_samples_the_wrong_pixel() -> None:
    """NPR in the exported file takes the top-right pixel of a block where the model takes the top-left one."""
    from ecdd.export import tflite_export

    def planted(gain: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Any:
        kernel = np.zeros((2, 2, 3, 12), np.float32)
        for out in range(12):
            dy, dx, colour = out // 6, out // 3 % 2, out % 3
            kernel[dy, dx, colour, out] += gain[colour]
            kernel[0, 1, colour, out] -= gain[colour]
        return kernel

    tflite_export.npr_kernel = planted


def quantised_sigmoid() -> None:
    """A probability in steps of 1/256, as an int8 LOGISTIC gives it."""
    from ecdd.inference import calibration

    really = calibration.probability
    calibration.probability = lambda logit: round(really(logit) * 256) / 256


def _outputs(change: Any) -> None:
    from ecdd.runtimes import tflite

    really = tflite.TFLiteRuntime.outputs
    tflite.TFLiteRuntime.outputs = lambda self, batch: change(really, self, batch)  # type: ignore[method-assign]


def fp16_activations() -> None:
    """A GPU delegate that computes in 16 bits: what goes in and comes out is rounded to them."""

    def change(really: Any, runtime: Any, batch: Any) -> Any:
        found = really(runtime, batch.astype(np.float16).astype(np.float32))
        return replace(found, maps=found.maps.astype(np.float16).astype(np.float32))

    _outputs(change)


def transposed_output() -> None:
    """The runtime's map has rows and columns exchanged; the grid is square, so that no shape shows it."""

    def change(really: Any, runtime: Any, batch: Any) -> Any:
        found = really(runtime, batch)
        return replace(found, maps=np.ascontiguousarray(found.maps.swapaxes(1, 2)))

    _outputs(change)
