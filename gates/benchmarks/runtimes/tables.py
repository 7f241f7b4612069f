"""Markdown of what `gates.benchmarks.runtimes.results` keeps; only this makes the table of docs/speed.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gates.benchmarks.runtimes.results import Row, way_of
from gates.benchmarks.runtimes.ways import COMPILED, EAGER, ONNX, TFLITE

BEGIN: Final = "<!-- made by `python -m gates.benchmarks.runtimes.run`; do not edit -->"
END: Final = "<!-- end of what is made -->"
_SIGNS: Final = {"<=": "≤", ">=": "≥"}


def page_section(result: Row) -> str:
    """What stands on the page, with its two marks."""
    student, teacher = (_ways(result, name, 1) for name in ("student", "teacher"))
    text = [
        BEGIN,
        "",
        f"One face of 256x256, median, all ways in turns in one run ({result['machine']['processor']}, "
        f"{result['machine']['instruction sets']}); every timed answer was checked against the float64 network. "
        f"`{result['command']}` makes this section, `reports/default/g5_benchmarks.md` has everything.",
        "",
        *_promises(result),
        "",
        *_peers(student, teacher),
        "",
        *_modes(result),
        "",
        floor_text(result),
        "",
        END,
    ]
    return "\n".join(text)


def in_page(page: str, result: Row) -> str:
    """The page with its section made anew.

    Raises
    ------
    ValueError
        If the two marks do not stand in it once each, in this order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        msg = f"docs/speed.md: the marks {BEGIN!r} and {END!r} must stand in it once each, where the table belongs"
        raise ValueError(msg)
    before, _, rest = page.partition(BEGIN)
    return before + page_section(result) + rest.partition(END)[2]


def report(result: Row) -> str:
    """The whole report."""
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    lines = [
        "# Gate G5: speed of the model",
        "",
        f"Bundle {result['bundle'][:16]}. Machine: {about}. Command: `{result['command']}`.",
        "",
        "Ways of one group are timed in turns in one run. Judged by the median; the best of the run beside it. The",
        "teacher has no calibration: its P(fake) is the plain sigmoid of the pooled logit.",
        "",
        "## Promises",
        "",
        *_promises(result),
        "",
        floor_text(result),
        "",
        "## Speed and accuracy of the modes",
        "",
        "![Speed and accuracy](figures/g5_speed_accuracy.png)",
        "",
        *_modes(result),
        "",
        *_mode_notes(result),
        "",
        "## Where the time of the float student goes",
        "",
        *_layers(result),
    ]
    for group in result["groups"]:
        lines += ["", f"## {group['network'].capitalize()}, batch {group['batch']}", "", *_group(group)]
    return "\n".join([*lines, ""])


def floor_text(result: Row) -> str:
    """Floor and peak in words."""
    floor = result["floor"]
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in floor["giga_macs_per_second"].items())
    return (
        f"Arithmetic floor of the student: {floor['macs'] / 1e6:.1f} M multiply-adds (folded; NPR is subtraction and "
        f"not counted) at the {floor['peak']}: {floor['float_ms']:.2f} ms. Measured, G multiply-adds a second: {rates}."
    )


def _ways(result: Row, network: str, batch: int) -> list[Row]:
    rows: list[Row] = next(
        one["ways"] for one in result["groups"] if (one["network"], one["batch"]) == (network, batch)
    )
    return rows


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows),
    ]


def _promises(result: Row) -> list[str]:
    rows = []
    for one in result["promises"]:
        verdict = {"pass": "met", "fail": "**not met**"}.get(one["verdict"], f"**{one['verdict']}**")
        why = f": {one['why']}" if one["why"] and one["verdict"] != "pass" else ""
        numbers = [f"{value:.2f}" if value is not None else "-" for value in (one["value"], one["best"])]
        rows.append([one["metric"], f"{_SIGNS[one['op']]} {one['limit']:g}", *numbers, verdict + why])
    return _table(("promise", "limit", "median", "best", "verdict"), rows)


def _peers(student: list[Row], teacher: list[Row]) -> list[str]:
    """The float ways and the shipped file, student beside teacher."""
    rows = []
    for runtime, mode, delegate in (
        (EAGER, "float32", ""),
        (COMPILED, "float32", ""),
        (ONNX, "float32", ""),
        (TFLITE, "float32", "none"),
        (TFLITE, "float32", "xnnpack"),
        (TFLITE, "dynamic_range", "xnnpack"),
    ):
        cells = []
        for ways in (student, teacher):
            for threads in (1, 2):
                row = way_of(ways, runtime, mode, delegate, threads)
                cells.append("-" if row is None else f"{row['median_ms']:.2f} ({row['times_faster_than_eager']:.2f}x)")
        rows.append([f"{runtime} {mode}" + (f", {delegate}" if runtime == TFLITE else ""), *cells])
    heads = [f"{name}, {count} thread{'s'[: count - 1]}" for name in ("student", "teacher") for count in (1, 2)]
    return _table(("ms a face (times faster than eager on one thread)", *heads), rows)


def _modes(result: Row) -> list[str]:
    rows = []
    for one in result["modes"]:
        said = "shipped" if one["shipped"] else "releasable" if one["releasable"] else ""
        known = one["calibration_pictures"]
        rows.append(
            [
                ("**" + one["name"] + "**" if one["optimal"] else one["name"]) + (f" ({said})" if said else ""),
                f"{one['median_ms']:.2f}",
                f"{one['times_faster_than_eager']:.2f}x",
                f"{one['median_ms'] / result['floor']['float_ms']:.1f}x",
                f"{one['max_dp']:.2g}",
                f"{one['golden']['decision_flips']}/{one['golden']['samples']}",
                "-" if known is None else f"{known['max_dp']:.2g}, {known['decision_flips']}/{known['pictures']}",
                one["bytes"],
            ]
        )
    heads = (
        "student in TFLite, XNNPACK, one thread (bold: Pareto-optimal)",
        *("ms", "over eager", "of the floor", "max \\|Δp\\|, golden faces", "flips"),
        *("calibration pictures: max \\|Δp\\|, flips", "bytes"),
    )
    return _table(heads, rows)


def _mode_notes(result: Row) -> list[str]:
    lines = []
    for one in result["modes"]:
        islands = ", ".join(one["float_islands"]) or "none"
        owner = "own" if one["own_calibration"] else "the float file's"
        without = one["median_ms_without_xnnpack"]
        apart = "" if without is None else f"; {without:.2f} ms without XNNPACK"
        ranges = one["ranges_measured_on"]
        lines.append(f"- {one['name']}: float islands {islands}; ranges: {ranges}; calibration: {owner}{apart}")
    return lines


def _layers(result: Row) -> list[str]:
    floor = result["floor"]
    peak = floor["macs"] / floor["float_ms"]  # multiply-adds a millisecond
    rows, together = [], 0.0
    for one in result["layers"]["layers"]:
        time, work = one["float32_min_ms"], one["macs"]
        together += time
        least = f"{time / (work / peak):.1f}x" if work else "-"
        ratio = one["int8_min_ms"] / time
        shape = "x".join(str(side) for side in one["input"])
        cells = [f"{work / 1e6:.2f}", f"{time:.3f}", least, f"{one['int8_min_ms']:.3f}", f"{ratio:.2f}x"]
        rows.append([one["layer"], shape, *cells])
    whole = result["layers"]["whole"]["min_ms"]
    rows.append(["rest: pooling, setting and taking tensors", "", "", f"{whole - together:.3f}", "-", "", ""])
    over = f"{whole / floor['float_ms']:.1f}x"
    rows.append(["whole file", "", f"{floor['macs'] / 1e6:.2f}", f"{whole:.3f}", over, "", ""])
    heads = [
        "layer alone, best",
        "input",
        "M multiply-adds",
        "float32, ms",
        "of its floor",
        "int8, ms",
        "int8 / float32",
    ]
    return _table(heads, rows)


def _group(group: Row) -> list[str]:
    rows = [
        [
            f"{one['runtime']} {one['mode']}",
            one["delegate"],
            one["threads"],
            f"{one['median_ms']:.2f}",
            f"{one['min_ms']:.2f}",
            f"{one['times_faster_than_eager']:.2f}x",
            f"{one['max_dp']:.2g}",
            f"{one['max_patch_difference_over_spread']:.2g}",
            one["calls"],
        ]
        for one in group["ways"]
    ]
    heads = ("way", "by", "threads", "median ms", "best ms", "over eager", "max \\|Δp\\|", "patch / spread", "calls")
    lines = _table(heads, rows)
    for one in group["not_tested"]:
        lines += ["", f"*Not tested*: {one['way']}: {one['reason']}"]
    return lines
