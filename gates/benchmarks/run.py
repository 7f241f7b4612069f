"""``make bench``: run the benchmarks and write what was measured beside what is asked for.

``python -m gates.benchmarks.run [--out FOLDER]``. The machine should be quiet: nothing here corrects for others' load.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.bundle.loading import load_bundle
from ecdd.files import write_text
from gates.benchmarks.running import Measured, machine, run_files

HERE: Final = Path(__file__).resolve().parent
DEFAULT_OUT: Final = HERE.parents[1] / "reports" / "default"
FILES: Final = ("bench_predict.py", "bench_process.py", "bench_training.py", "bench_calibration.py")
COMMAND: Final = "make bench"


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Attributes
    ----------
    what : str
        What is measured, with its unit.
    limit : float
        What the project asks for.
    at_most : bool
        Whether the limit is an upper one.
    value : callable
        The number that is judged, from the benchmarks by name.
    best : callable
        The best number of the same run; shown, never judged.
    """

    what: str
    limit: float
    at_most: bool
    value: Callable[[Measured], float]
    best: Callable[[Measured], float]

    def met(self, found: Measured) -> bool:
        """Whether the judged number keeps the limit."""
        return self.value(found) <= self.limit if self.at_most else self.value(found) >= self.limit


def _stat(name: str, key: str, scale: float = 1.0) -> Callable[[Measured], float]:
    return lambda found: float(found[name]["stats"][key]) * scale


def _extra(name: str, key: str) -> Callable[[Measured], float]:
    return lambda found: float(found[name]["extra_info"][key])


def _warm(size: str, limit: float) -> Target:
    name = f"test_warm_predict[{size}]"
    return Target(f"warm, one thread, {size}, ms", limit, True, _stat(name, "median", 1e3), _stat(name, "min", 1e3))


def _over_naive(key: str) -> Callable[[Measured], float]:
    naive, ours = _stat("test_naive_path", key), _stat("test_warm_predict[512x512]", key)
    return lambda found: naive(found) / ours(found)


def _per_second(name: str, key: str) -> Callable[[Measured], float]:
    return lambda found: float(found[name]["extra_info"]["images"]) / float(found[name]["stats"][key])


def _over_decoding(kind: str) -> Target:
    """How much faster a training reads from the cache than by decoding; the rest of the step is the same."""
    cached, decoding = (f"test_training[{kind}-{loader}]" for loader in ("cached", "decoding"))

    def ratio(key: str) -> Callable[[Measured], float]:
        return lambda found: _stat(decoding, key)(found) / _stat(cached, key)(found)

    what = "the loader alone" if kind == "none" else f"{kind} training"
    return Target(f"{what}: images/s from the cache / decoding every epoch", 3, False, ratio("median"), ratio("min"))


_COLD, _JOBS, _GROWTH = "test_cold_predict", "test_two_jobs", "test_memory_over_5000"
_RATIO = "one_job_over_two_jobs"
_SCORING = "test_scoring_from_a_warm_cache"
_KINDS = ("none", "student", "teacher")
_TEN_THOUSAND, _MILLION = "test_calibration_of_10k", "test_calibration_of_1m"
_TRAINING = tuple(f"test_training[{kind}-{loader}]" for kind in _KINDS for loader in ("cached", "decoding"))
TARGETS: Final = (
    Target("cold `ecdd predict` of a 512x512 JPEG, wall, s", 0.8, True, _stat(_COLD, "median"), _stat(_COLD, "min")),
    Target("the same, largest peak memory, MB", 130, True, _extra(_COLD, "peak_mb"), _extra(_COLD, "peak_mb")),
    _warm("512x512", 12),
    _warm("1920x1080", 25),
    _warm("4000x3000", 110),
    Target("naive path / this one, 512x512", 8, False, _over_naive("median"), _over_naive("min")),
    Target(
        "one job / two jobs, 200 pictures of 1920x1080",
        1.7,
        False,
        _extra(_JOBS, f"{_RATIO}_median"),
        _extra(_JOBS, f"{_RATIO}_best"),
    ),
    Target(
        "memory growth over 5000 predictions, MB", 5, True, _extra(_GROWTH, "growth_mb"), _extra(_GROWTH, "growth_mb")
    ),
    *(_over_decoding(kind) for kind in _KINDS),
    Target(
        "student in torch from a warm cache, two jobs, images/s",
        60,
        False,
        _per_second(_SCORING, "median"),
        _per_second(_SCORING, "min"),
    ),
    Target(
        "calibration, bounds and 2000 resamples of 10 000 logits, s",
        3,
        True,
        _stat(_TEN_THOUSAND, "median"),
        _stat(_TEN_THOUSAND, "min"),
    ),
    Target(
        "calibration of a million logits, largest memory, MB",
        300,
        True,
        _extra(_MILLION, "peak_mb"),
        _extra(_MILLION, "peak_mb"),
    ),
)


def measure() -> Measured:
    """Run the benchmark files; ends the process when one that the table needs failed."""
    warm = (f"test_warm_predict[{size}]" for size in _sizes())
    needed = (_COLD, _JOBS, _GROWTH, _SCORING, *_TRAINING, "test_naive_path", *warm)
    return run_files([HERE / name for name in FILES], dict.fromkeys(needed, ""))


def _sizes() -> list[str]:
    from gates.benchmarks.pictures import SIZES

    return list(SIZES)


def table(found: Measured, about: dict[str, str], payload: str) -> str:
    """Markdown of targets, measurements, stages and machine."""
    lines = [
        "# Speed and memory",
        "",
        f"Bundle {payload[:16]}. Judged by the median (of memory: the largest); the best of the run beside it.",
        "",
        "| what | target | median | best | verdict |",
        "|---|---|---|---|---|",
    ]
    for target in TARGETS:
        sign = "≤" if target.at_most else "≥"
        verdict = "met" if target.met(found) else "**not met**"
        value, best = target.value(found), target.best(found)
        lines.append(f"| {target.what} | {sign} {target.limit:g} | {value:.2f} | {best:.2f} | {verdict} |")
    naive = found["test_naive_path"]["stats"]
    lines += ["", f"The naive path took {naive['median'] * 1e3:.1f} ms (best {naive['min'] * 1e3:.1f} ms)."]
    rates = {name: f"{_per_second(name, 'median')(found):.0f}" for name in _TRAINING}
    lines += ["", "Images a second in training, one thread, pictures of 1024x1024: " + ", ".join(
        f"{'loader alone' if kind == 'none' else kind} {rates[f'test_training[{kind}-cached]']} from the cache and "
        f"{rates[f'test_training[{kind}-decoding]']} decoding" for kind in _KINDS) + "."]  # fmt: skip
    by_size = {size: found[f"test_warm_predict[{size}]"]["extra_info"]["median_ms_by_stage"] for size in _sizes()}
    stages = list(by_size[_sizes()[0]])
    lines += ["", "Median milliseconds by stage, warm:", "", f"| picture | {' | '.join(stages)} |"]
    lines += ["|---" * (len(stages) + 1) + "|"]
    lines += [f"| {size} | {' | '.join(f'{by_size[size][s]:.2f}' for s in stages)} |" for size in by_size]
    lines += ["", "Machine: " + ", ".join(f"{name} {value}" for name, value in about.items()) + "."]
    lines += ["", f"Command: `{COMMAND}` (`python -m gates.benchmarks.run`).", ""]
    return "\n".join(lines)


def summary(found: Measured, about: dict[str, str], payload: str) -> dict[str, Any]:
    """The same numbers for a program."""
    return {
        "bundle": payload,
        "command": COMMAND,
        "machine": about,
        "targets": [
            {
                "what": target.what,
                "limit": target.limit,
                "op": "<=" if target.at_most else ">=",
                "value": round(target.value(found), 4),
                "best": round(target.best(found), 4),
                "met": target.met(found),
            }
            for target in TARGETS
        ],
        "runs": {
            name: {
                "rounds": entry["stats"]["rounds"],
                **{key: round(entry["stats"][key], 6) for key in ("min", "median", "mean", "max", "stddev")},
                **entry["extra_info"],
            }
            for name, entry in sorted(found.items())
        },
    }


def main() -> int:
    """Command line; 1 when a target is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of benchmarks.md and benchmarks.json")
    out = parser.parse_args().out
    about, payload = machine(), load_bundle().payload_digest
    found = measure()
    text = table(found, about, payload)
    write_text(out / "benchmarks.md", text)
    write_text(out / "benchmarks.json", json.dumps(summary(found, about, payload), indent=1) + "\n")
    sys.stdout.write(f"\n{text}")
    return int(not all(target.met(found) for target in TARGETS))


if __name__ == "__main__":
    sys.exit(main())
