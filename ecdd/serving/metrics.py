"""Counters and histograms of the monitoring fields, as Prometheus text 0.0.4. Nothing about clients or files."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ecdd.monitoring.schema import resolution_class

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_PROBABILITY: Final = tuple(k / 10 for k in range(1, 11))
_QUALITIES: Final = (30, 50, 75, 90)  # IJG


class Histogram:
    """Counts by upper bound, as Prometheus has them.

    Parameters
    ----------
    bounds : tuple of float
        Upper bounds, rising; one without bound is added.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterable[str]:
        """Give the samples in the text format."""
        total = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """What ``/metrics`` shows; counted since the site was started."""

    def __init__(self) -> None:
        self.responses: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.resolutions: Counter[str] = Counter()
        self.compressions: Counter[str] = Counter()
        self.log_failures = 0
        self.request_seconds, self.pipeline_seconds = Histogram(_SECONDS), Histogram(_SECONDS)
        self.queue_seconds, self.probability = Histogram(_SECONDS), Histogram(_PROBABILITY)

    def count_verdict(self, verdict: Mapping[str, Any]) -> None:
        """Count one verdict, given as its JSON values."""
        self.verdicts[f'label="{verdict["label"]}",outcome="{verdict["outcome"]}"'] += 1
        self.reasons.update(f'code="{code}"' for code in verdict["reason_codes"])
        self.resolutions[f'class="{resolution_class(verdict["size"])}"'] += 1
        faces, deciding = verdict["faces"], verdict["deciding_face"]
        quality = faces[deciding or 0]["jpeg_quality"] if faces else None
        self.compressions[f'class="{_class(quality, _QUALITIES)}"'] += 1
        if verdict["probability"] is not None:
            self.probability.add(verdict["probability"])
        if "total" in verdict["milliseconds"]:
            self.pipeline_seconds.add(verdict["milliseconds"]["total"] / 1e3)

    def text(self, gauges: Mapping[str, tuple[str, int]]) -> str:
        """Write everything in the text format.

        Parameters
        ----------
        gauges : mapping of str to (str, int)
            Help and value of what is measured at this moment, by metric name; names with ``_total`` are counters.

        Returns
        -------
        str
            Exposition, ends with a line feed.
        """
        lines: list[str] = []
        for name, text, counter in (
            ("ecdd_responses_total", "Answers by HTTP status.", self.responses),
            ("ecdd_verdicts_total", "Pictures by label and outcome.", self.verdicts),
            ("ecdd_reason_codes_total", "Reason codes of verdicts.", self.reasons),
            ("ecdd_resolution_class_total", "Pictures by shorter side, px.", self.resolutions),
            ("ecdd_compression_class_total", "Pictures by IJG quality of the deciding face.", self.compressions),
        ):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
            lines += [f"{name}{{{labels}}} {counter[labels]}" for labels in sorted(counter)]
        for name, text, histogram in (
            (
                "ecdd_request_seconds",
                "From the first byte of a prediction request to its answer.",
                self.request_seconds,
            ),
            ("ecdd_queue_seconds", "Waiting for a worker.", self.queue_seconds),
            ("ecdd_pipeline_seconds", "Bytes to verdict inside a worker.", self.pipeline_seconds),
            ("ecdd_probability", "Calibrated probability P(fake) of the deciding face.", self.probability),
        ):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} histogram", *histogram.lines(name)]
        for name, (text, value) in {
            **gauges,
            "ecdd_log_failures_total": ("Events that the log did not take.", self.log_failures),
        }.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _class(value: float | None, bounds: tuple[int, ...]) -> str:
    """Name the class of a value: ``"512-1023"``, ``"<256"``, ``">=4096"`` or ``"unknown"``."""
    if value is None:
        return "unknown"
    index = sum(value >= bound for bound in bounds)
    if index == 0:
        return f"<{bounds[0]}"
    if index == len(bounds):
        return f">={bounds[-1]}"
    return f"{bounds[index - 1]}-{bounds[index] - 1}"
