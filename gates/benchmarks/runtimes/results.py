"""What the benchmarks of gate G5 found, as one JSON object: promises with verdicts, groups, modes, layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ecdd.evidence.records import Operator
from ecdd.evidence.verdicts import judge_metric
from ecdd.runtimes.processor import processor
from gates.benchmarks.running import Measured
from gates.benchmarks.runtimes.model_files import PURE_INT8

COMMAND: Final = "python -m gates.benchmarks.runtimes.run"
GROUPS: Final = tuple(f"test_model_speed[{name}-{batch}]" for name in ("student", "teacher") for batch in (1, 8))
MODES, LAYERS, EDGE, GATE = "test_modes", "test_layers", "test_edge_process", "test_gate_time"
# a benchmark that came to its end with right answers has this entry
NEEDED: Final = {
    **dict.fromkeys(GROUPS, "ways"),
    MODES: "modes",
    LAYERS: "layers",
    EDGE: "peak_megabytes",
    GATE: "passed",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Promise:
    """A number that the project promises; judged by the median, the best of the run beside it."""

    metric: str
    value: float | None
    best: float | None
    op: Operator
    limit: float
    why: str = ""

    def stored(self) -> Row:
        """With its verdict."""
        tested = self.value is not None
        return {
            "metric": self.metric,
            "op": self.op,
            "limit": self.limit,
            "value": None if self.value is None else round(self.value, 3),
            "best": None if self.best is None else round(self.best, 3),
            "verdict": judge_metric(self.value, self.op, self.limit, None) if tested else "not tested",
            "why": self.why,
        }


def way_of(ways: list[Row], runtime: str, mode: str, delegate: str = "", threads: int = 1) -> Row | None:
    """The row of a way; None where it was not timed."""
    return next(
        (
            row
            for row in ways
            if (row["runtime"], row["mode"], row["threads"]) == (runtime, mode, threads)
            and delegate in ("", row["delegate"])
        ),
        None,
    )


def result(found: Measured, about: dict[str, str], payload: str) -> Row:
    """Everything that is kept.

    Parameters
    ----------
    found : dict of str to dict
        Benchmarks by name, with `NEEDED` among them.
    about : dict of str to str
        The machine.
    payload : str
        Digest of the bundle.

    Returns
    -------
    dict
        JSON values only.
    """
    groups = [
        {key: found[name]["extra_info"][key] for key in ("network", "batch", "macs", "ways", "not_tested")}
        for name in GROUPS
    ]
    student, floor = groups[0]["ways"], found[GROUPS[0]]["extra_info"]["floor"]
    layers = {key: found[LAYERS]["extra_info"][key] for key in ("layers", "whole")}
    edge = found[EDGE]["extra_info"]
    promises = [
        *_speed_promises(student, groups[0]["not_tested"], floor, layers["layers"]),
        *_process_promises(edge, found[GATE]["stats"]["median"]),
    ]
    return {
        "bundle": payload,
        "command": COMMAND,
        "machine": {**about, "instruction sets": processor()},
        "promises": [promise.stored() for promise in promises],
        "floor": floor,
        "modes": pareto(found[MODES]["extra_info"]["modes"], student),
        "layers": layers,
        "groups": groups,
        "edge_process": edge,
        "gate_seconds": round(found[GATE]["stats"]["median"], 2),
    }


def _speed_promises(ways: list[Row], missing: list[Row], floor: Row, layers: list[Row]) -> list[Promise]:
    plain, pure = (way_of(ways, "TFLite", mode, "xnnpack") for mode in ("float32", PURE_INT8))
    assert plain is not None
    reasons = [row["reason"] for row in missing if row["way"] == f"TFLite {PURE_INT8}"]
    return [
        Promise(
            "shipped float32 student, one thread: times the arithmetic floor",
            plain["median_ms"] / floor["float_ms"],
            plain["min_ms"] / floor["float_ms"],
            "<=",
            6.0,
        ),
        Promise(
            "shipped float32 student, one thread: times faster than torch eager",
            plain["times_faster_than_eager"],
            plain["times_faster_than_eager_best"],
            ">=",
            1.8,
        ),
        Promise(
            "pure int8 student, one thread: times faster than torch eager",
            None if pure is None else pure["times_faster_than_eager"],
            None if pure is None else pure["times_faster_than_eager_best"],
            ">=",
            2.8,
            why_int8(layers, floor) if pure is not None else "; ".join(reasons),
        ),
    ]


def _process_promises(edge: Row, gate_seconds: float) -> list[Promise]:
    megabytes, beyond = edge["peak_megabytes"]["ours"], edge["seconds_beyond_interpreter"]["ours"]
    asked = edge["promised"]
    return [
        Promise("edge process: largest peak memory, MB", megabytes, megabytes, "<=", asked["megabytes"]),
        Promise(
            "edge process: seconds beyond an empty interpreter",
            beyond["median"],
            beyond["min"],
            "<=",
            asked["seconds_beyond_interpreter"],
        ),
        Promise("`pytest gates/g5 -n auto`, s", gate_seconds, gate_seconds, "<=", 60.0),
    ]


def why_int8(layers: list[Row], floor: Row) -> str:
    """What the layers say about int8, measured one by one."""
    slower = [row for row in layers if row["int8_min_ms"] > row["float32_min_ms"]]
    worst = max(layers, key=lambda row: row["int8_min_ms"] - row["float32_min_ms"])
    rates = floor["giga_macs_per_second"]
    return (
        f"measured layer by layer, the int8 kernel is slower than the float one in {len(slower)} of {len(layers)} "
        f"layers ({worst['layer']}: {worst['int8_min_ms']:.2f} ms against {worst['float32_min_ms']:.2f} ms); a "
        f"square int8 product of XNNPACK does {rates['XNNPACK int8 product']:.0f} G multiply-adds a second, a float "
        f"one {max(rate for name, rate in rates.items() if 'int8' not in name):.0f}"
        + ("" if _dot_product() else ": this processor has no int8 dot product (VNNI)")
    )


def _dot_product() -> bool:
    """Whether the processor has an instruction for sums of int8 products."""
    return any(name in processor() for name in ("vnni", "asimddp", "i8mm", "amx_int8"))


def pareto(modes: list[Row], ways: list[Row]) -> list[Row]:
    """Modes with their times in the pinned configuration, fastest first; optimal where none is as good in both."""
    rows = []
    for mode in modes:
        pinned, plain = (way_of(ways, "TFLite", mode["name"], delegate) for delegate in ("xnnpack", "none"))
        assert pinned is not None, f"{mode['name']} was not timed"
        rows.append(
            {
                **mode,
                "median_ms": pinned["median_ms"],
                "min_ms": pinned["min_ms"],
                "times_faster_than_eager": pinned["times_faster_than_eager"],
                "median_ms_without_xnnpack": None if plain is None else plain["median_ms"],
                "max_dp": mode["golden"]["max_dp"],
            }
        )

    def beaten(row: Row) -> bool:
        here = (row["median_ms"], row["max_dp"])
        others = [(one["median_ms"], one["max_dp"]) for one in rows]
        return any(there != here and there[0] <= here[0] and there[1] <= here[1] for there in others)

    rows.sort(key=lambda row: (row["median_ms"], row["max_dp"]))
    return [{**row, "optimal": not beaten(row)} for row in rows]
