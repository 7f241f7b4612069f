"""From a folded network to a quantised TFLite file, looked into by `ecdd.export.quantised_file`.

Modes that compute with integer activations keep islands in float (`FoldedNetwork.islands`), at least two.
``operator``: NPR has no weights to shrink, and gives whole levels (`ecdd.export.folding.in_levels`), which 8 bits hold
without loss; NPR of a quantised S4 would be the difference of two roundings. ``cell``: the last layer's output is the
map, whose ends a measured range would cut off. The pooling behind the map may weigh cells by an exponential and stays
float in every mode.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ecdd.contract.schema import PolicyContract
from ecdd.export.bias_correction import bias_corrected
from ecdd.export.export_error import ExportError
from ecdd.export.folding import FoldedNetwork, in_levels
from ecdd.export.quantised_file import (
    INTEGER_MODES,
    OPERATOR,
    POOLING,
    WEIGHTS_ONLY,
    Mode,
    check_quantised,
)
from ecdd.export.representative_data import RepresentativeSet, check_ranges, check_representative
from ecdd.export.tflite_export import INPUT_NAME, tflite_bytes

SIGNATURE: Final = "serving_default"
_POOLING_OPERATIONS: Final = ("SOFTMAX", "MUL", "SUM", "RESHAPE", "DIV", "MEAN")
_LEFT_FLOAT: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SLICE")  # what layers consist of
_LEVELS: Final = (-128.0, 127.0)  # of a step of 1 around 0: NPR's range by its meaning, not by what was measured
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Quantised:
    """A quantised file and what its ranges were measured on.

    Attributes
    ----------
    model : bytes
        TFLite file.
    representative : dict or None
        Manifest of the representative data with the ranges by tensor; None where no range was measured.
    """

    model: bytes
    representative: dict[str, object] | None = None


def quantise(
    folded: FoldedNetwork,
    mode: Mode,
    policy: PolicyContract,
    representative: RepresentativeSet | None = None,
    *,
    float_layers: Sequence[str] | None = None,
    integer_io: bool = False,
) -> Quantised:
    """Export a network in one of the modes.

    Parameters
    ----------
    folded : FoldedNetwork
        Teacher or student.
    mode : str
        ``float32``, ``float16`` (stored), ``dynamic_range`` (int8 weights, activations quantised on the fly),
        ``weight_only_int8`` (int8 stored, float computed), ``full_int8``, ``int16x8`` (int16 activations).
    policy : PolicyContract
        Pixels, pooling and limits of the representative data.
    representative : RepresentativeSet, optional
        Needed for ``full_int8`` and ``int16x8``.
    float_layers : sequence of str
        Names of layers that stay float where a mode computes with integers: float islands; the network's own where
        not given.
    integer_io : bool
        Input and map as integers too, without islands: everything but the pooling in integers.

    Returns
    -------
    Quantised
        The file, looked into.

    Raises
    ------
    ExportError
        Without the extra ``export``, without or with bad representative data, for a layer that the network does not
        have, or when the file is not what the mode says.
    """
    side = policy.pixel_pipeline.input_size
    if mode == "float32":
        return Quantised(tflite_bytes(folded, side, policy.pooling))
    chosen = folded.islands if float_layers is None else tuple(float_layers)
    islands = () if integer_io or mode in WEIGHTS_ONLY else chosen
    check_layers(folded, islands)
    if mode not in INTEGER_MODES:
        model = _quantised(tflite_bytes(folded, side, policy.pooling), mode, islands, None, integer_io=False)
        check_quantised(model, mode, islands)
        return Quantised(model)
    if representative is None:
        raise ExportError(f"{mode} measures ranges of activations: give representative data")
    check_representative(representative, policy)
    if OPERATOR in islands:
        folded = in_levels(folded, policy.pixel_pipeline.normalisation_std, policy.pixel_pipeline.pixel_scale)
    source = tflite_bytes(bias_corrected(folded, representative.tensors, islands), side, policy.pooling)
    first, second = (_measured(source, mode, islands, representative, k, integer_io=integer_io) for k in (0, 1))
    stability = check_ranges(first, second, policy.quantization.max_range_instability)
    ranges = {
        name: (min(low, second[name][0]), max(high, second[name][1])) for name, (low, high) in sorted(first.items())
    }
    if folded.npr and OPERATOR in islands:
        ranges = {name: _LEVELS if _of(name, OPERATOR) else span for name, span in ranges.items()}
    model = _quantised(source, mode, islands, ranges, integer_io=integer_io)
    check_quantised(model, mode, islands)
    manifest = {
        **representative.manifest(),
        "ranges": {name: list(span) for name, span in sorted(ranges.items())},
        "range_stability": stability,
        "float_layers": list(islands),
        "integer_io": integer_io,
    }
    return Quantised(model, manifest)


def check_layers(folded: FoldedNetwork, layers: Sequence[str]) -> None:
    """Raise `ExportError` for a layer that the network does not have."""
    known = {OPERATOR, *(step.name for step in folded.steps)}
    if unknown := sorted(set(layers) - known):
        msg = f"float layers {', '.join(unknown)}: the network has no such layer; it has {', '.join(sorted(known))}"
        raise ExportError(msg)


def _of(tensor: str, layer: str) -> bool:
    """Whether a tensor of the file belongs to a layer: its name begins with the layer's."""
    return tensor.startswith(f"{layer}/")


def _tool(source: bytes, mode: Mode, islands: Sequence[str], *, integer_io: bool) -> Any:  # noqa: ANN401
    """The quantiser with its recipe set."""
    # the tool imports tensorflow's logger, which writes to the terminal
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from ai_edge_quantizer import qtyping, quantizer, recipe
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
    except ImportError as error:
        msg = "ai-edge-quantizer is needed to quantise; install the extra `export`"
        raise ExportError(msg) from error
    operations = qtyping.TFLOperationName
    tool = quantizer.Quantizer(source)
    if mode == "float16":
        for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            tool.add_weight_only_config(".*", operations[name], 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
        return tool
    recipes = {
        "dynamic_range": recipe.dynamic_wi8_afp32,
        "weight_only_int8": recipe.weight_only_wi8_afp32,
        "full_int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
    }
    tool.load_quantization_recipe(recipes[mode]())
    if mode not in WEIGHTS_ONLY:
        for name in (*_POOLING_OPERATIONS, *(() if integer_io else ("INPUT", "OUTPUT"))):
            if name in operations.__members__:
                tool.update_quantization_recipe(".*", operations[name], algorithm_key=AlgorithmName.NO_QUANTIZE)
        for layer in (*islands, POOLING):
            for left in _LEFT_FLOAT:  # rules for all rank below these
                tool.update_quantization_recipe(f"^{layer}/", operations[left], algorithm_key=AlgorithmName.NO_QUANTIZE)
    return tool


def _measured(
    source: bytes,
    mode: Mode,
    islands: Sequence[str],
    representative: RepresentativeSet,
    start: int,
    *,
    integer_io: bool,
) -> Ranges:
    """Ranges by tensor over every second picture from ``start`` on."""
    samples = [{INPUT_NAME: tensor[None]} for tensor in representative.tensors[start::2]]
    tool = _tool(source, mode, islands, integer_io=integer_io)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # a bar, and that all tensors are kept
        warnings.simplefilter("ignore", UserWarning)
        found: Mapping[str, Any] = tool.calibrate({SIGNATURE: samples}, num_threads=1)
    return {name: (float(np.min(entry["min"])), float(np.max(entry["max"]))) for name, entry in found.items()}


def _quantised(source: bytes, mode: Mode, islands: Sequence[str], ranges: Ranges | None, *, integer_io: bool) -> bytes:
    tool = _tool(source, mode, islands, integer_io=integer_io)
    given = None
    if ranges is not None:
        shape = (1, 1, 1, 1)
        given = {
            name: {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
            for name, (low, high) in ranges.items()
        }
    with warnings.catch_warnings():  # that all tensors are kept, to look at their ranges
        warnings.simplefilter("ignore", UserWarning)
        return bytes(tool.quantize(given, enable_progress_bar=False, enable_progress_report=False).quantized_model)
