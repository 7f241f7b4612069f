"""The arithmetic floor: multiply-adds of a network over the fastest rate that one thread of this machine shows.

The peak is measured, not taken from a data sheet: square float32 matrix products in torch's BLAS and in XNNPACK, and a
square int8 product in XNNPACK, timed in turns with the network. A matrix product of this size keeps the multipliers
busy; a convolution with 3 or 8 channels cannot, which is most of what lies between floor and measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ecdd.export.folding import FoldedConv, FoldedNetwork
from gates.benchmarks.runtimes.single_layers import Layer, interpreter_call, layer_files
from gates.benchmarks.runtimes.ways import Way

SIDE: Final = 1024  # both factors and the product: 4 MB each in float32
PRODUCT_MACS: Final = SIDE**3
TORCH_PRODUCT, FLOAT_PRODUCT, INT8_PRODUCT = "torch sgemm", "XNNPACK float32 product", "XNNPACK int8 product"


@dataclass(frozen=True)
class LayerWork:
    """A convolution: its input's and output's shape, and its multiply-adds for one face."""

    name: str
    given: tuple[int, int, int]
    made: tuple[int, int, int]
    macs: int


def convolution_work(folded: FoldedNetwork, side: int) -> list[LayerWork]:
    """Multiply-adds by convolution; NPR is a subtraction and counts as nothing."""
    shapes = {"image": (side, side, 3)}
    found = []
    for step in folded.steps:
        if not isinstance(step, FoldedConv):
            shapes[step.name] = shapes[step.path]
            continue
        height, width, _ = given = shapes[step.source]
        kernel = step.kernel.shape
        rows, cols = (
            (size + 2 * step.padding - kernel[axis]) // step.stride + 1 for axis, size in enumerate((height, width))
        )
        shapes[step.name] = made = (rows, cols, kernel[3])
        found.append(LayerWork(step.name, given, made, rows * cols * int(np.prod(kernel))))
    return found


def product_ways() -> list[Way]:
    """Matrix products on one thread; their answers are checked here, their times belong to the group."""
    import torch

    rng = np.random.default_rng(0)
    one, other = (rng.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    torch.set_num_threads(1)
    a, b = torch.from_numpy(one), torch.from_numpy(other)
    expected = one.astype(np.float64) @ other.astype(np.float64)
    assert np.abs(a.mm(b).numpy() - expected).max() < 1e-3 * np.abs(expected).max(), "torch's product is wrong"
    kernel = other[None, None]
    layer = Layer("product", (32, SIDE // 32, SIDE), kernel, np.zeros(SIDE), 1, relu=False)
    floats, integers = layer_files(layer, one.reshape(1, 32, SIDE // 32, SIDE))
    ways = [_way(TORCH_PRODUCT, "float32", [None], lambda _: a.mm(b), lambda: torch.set_num_threads(1))]
    for name, mode, content in ((FLOAT_PRODUCT, "float32", floats), (INT8_PRODUCT, "int8", integers)):
        call, answer = interpreter_call(content, one.reshape(1, 32, SIDE // 32, SIDE))
        call(None)
        found = answer().reshape(SIDE, SIDE)
        wrong = float(np.abs(found - expected).max() / np.abs(expected).max())
        assert wrong < (1e-3 if mode == "float32" else 0.05), f"{name} is off by {wrong:.3g} of the largest value"
        ways.append(_way(name, mode, [None], call))
    return ways


def _way(name: str, mode: str, inputs: list[Any], call: Any, select: Any = None) -> Way:
    more = {} if select is None else {"select": select}
    return Way(name, mode, "matrix product", 1, inputs, call, lambda _: None, **more)  # type: ignore[arg-type, return-value]


def floor(products: list[Way], macs: int) -> dict[str, Any]:
    """Rates and floors: float by the fastest float product, int8 by XNNPACK's."""
    rates = {way.runtime: PRODUCT_MACS / way.best for way in products}
    peak = max(rates[name] for name in (TORCH_PRODUCT, FLOAT_PRODUCT))
    return {
        "macs": macs,
        "peak": f"fastest of square float32 products of side {SIDE} on one thread in the same run",
        "giga_macs_per_second": {name: round(rate / 1e9, 2) for name, rate in rates.items()},
        "float_ms": round(macs / peak * 1e3, 4),
        "int8_ms": round(macs / max(rates[INT8_PRODUCT], peak) * 1e3, 4),
    }
