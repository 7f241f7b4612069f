"""Speed against accuracy of the student's modes."""

from __future__ import annotations

import io
from typing import Final

from gates.benchmarks.runtimes.results import Row

_LEAST: Final = 1e-6  # below it rounding of float32 alone moves a probability


def draw_pareto(result: Row, limit: float) -> bytes:
    """Every mode in the pinned configuration, the Pareto-optimal ones joined.

    Parameters
    ----------
    result : dict
        As `gates.benchmarks.runtimes.results.result` gives it.
    limit : float
        Contract: ``quantization.max_probability_difference``.

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axis = figure.subplots()
    axis.set_xscale("log")
    axis.set_yscale("log")
    best = [one for one in result["modes"] if one["optimal"]]
    axis.step(
        [one["median_ms"] for one in best],
        [max(one["max_dp"], _LEAST) for one in best],
        where="post",
        color="tab:green",
    )
    for place, one in enumerate(result["modes"]):
        x, y = one["median_ms"], max(one["max_dp"], _LEAST)
        axis.plot(x, y, "o", color="tab:green" if one["optimal"] else "tab:gray")
        name = f"{one['name']}{' (shipped)' if one['shipped'] else ''}"
        left = place % 2 == 0  # modes of nearly the same speed are neighbours in the list
        axis.annotate(name, (x, y), (-6 if left else 6, -3), textcoords="offset points", size=8,
                      ha="right" if left else "left")  # fmt: skip
    axis.axhline(limit, color="tab:red", linestyle="--", linewidth=1)
    axis.text(0.995, limit, "quantization.max_probability_difference", size=8, color="tab:red", va="bottom", ha="right",
              transform=axis.get_yaxis_transform())  # fmt: skip
    axis.axvline(result["floor"]["float_ms"], color="tab:blue", linestyle=":", linewidth=1)
    axis.text(result["floor"]["float_ms"], 0.99, " arithmetic floor", size=8, color="tab:blue", va="top",
              transform=axis.get_xaxis_transform())  # fmt: skip
    axis.set_xlabel("ms a face, median, XNNPACK, one thread")
    axis.set_ylabel("max |difference of P(fake)|, golden faces")
    axis.set_title("Student in TFLite: green is Pareto-optimal")
    axis.margins(0.3, 0.1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
