"""Two runs side by side: verdicts, limits, metrics, versions. What a pull request wants to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ecdd.evidence.records import ExperimentRecord, Metric, RunIdentity

Number = float | int | None
ABSENT: Final = "absent"
# Two shares of n pictures each, drawn anew, lie further apart than this many standard errors once in 400 times.
_STANDARD_ERRORS: Final = 3.0
# A cost differs from run to run on one machine by up to this share.
_COST_NOISE: Final = 0.25
_COST_UNITS: Final = frozenset({"ms", "s", "MB", "MiB", "pictures/s"})
_SHARE_UNITS: Final = frozenset({"rate", "share", "AUC"})
# Libraries that compute in another order move a float by less; and what moves by less of its limit is no news.
_ROUNDING: Final = 1e-5
_OF_LIMIT: Final = 0.01
# 0 says yes, 2 says no
_BADNESS: Final = {"pass": 0, "not_applicable": 0, "incomplete": 1, "not_tested": 1, ABSENT: 1, "fail": 2}


@dataclass(frozen=True)
class VerdictChange:
    """An experiment whose verdict differs; ``absent`` where a run has no complete record of it."""

    id: str
    title: str
    before: str
    after: str

    @property
    def worse(self) -> bool:
        """Whether the second run says less."""
        return _BADNESS[self.after] > _BADNESS[self.before]


@dataclass(frozen=True)
class LimitChange:
    """A metric that was held to another limit."""

    id: str
    metric: str
    before: str
    after: str


@dataclass(frozen=True)
class MetricChange:
    """A metric whose value differs.

    Attributes
    ----------
    n : int or None
        Samples, the smaller number of the two.
    noise : float
        Differences up to this say nothing: see `noise_of`.
    beyond_noise : bool
        Whether the difference is larger, or its own verdict is another.
    """

    id: str
    metric: str
    unit: str
    before: Number
    after: Number
    n: int | None
    noise: float
    beyond_noise: bool


@dataclass(frozen=True)
class RunDiff:
    """All that differs between two runs.

    Attributes
    ----------
    identity : dict of str to (str, str)
        What was judged and with what: digests, versions of libraries; empty text where one run does not name it.
    verdicts, limits, metrics : tuple
        In the order of the experiments.
    only_before, only_after : tuple of (str, str)
        Metrics that one run alone measured, by experiment.
    compared : int
        Experiments that both runs have.
    """

    identity: dict[str, tuple[str, str]]
    verdicts: tuple[VerdictChange, ...]
    limits: tuple[LimitChange, ...]
    metrics: tuple[MetricChange, ...]
    only_before: tuple[tuple[str, str], ...]
    only_after: tuple[tuple[str, str], ...]
    compared: int

    @property
    def worse(self) -> bool:
        """Whether any verdict says less in the second run."""
        return any(change.worse for change in self.verdicts)

    @property
    def moved(self) -> tuple[MetricChange, ...]:
        """Metrics beyond noise, the largest difference in units of noise first."""
        found = [change for change in self.metrics if change.beyond_noise]
        return tuple(sorted(found, key=lambda change: -_in_noise(change)))

    def to_dict(self) -> dict[str, Any]:
        """JSON values at full precision."""
        content = asdict(self)
        content["verdicts"] = [asdict(change) | {"worse": change.worse} for change in self.verdicts]
        return content | {"worse": self.worse}


def compare(before: Mapping[str, ExperimentRecord], after: Mapping[str, ExperimentRecord]) -> RunDiff:
    """Compare the records of two runs.

    Parameters
    ----------
    before, after : mapping of str to ExperimentRecord
        Complete records, by id, as `ecdd.evidence.merging.read_records` gives them.

    Returns
    -------
    RunDiff
        What differs; metrics pair by experiment, test and name.
    """
    keys = list(dict.fromkeys([*before, *after]))
    both = [key for key in keys if key in before and key in after]
    limits: list[LimitChange] = []
    metrics: list[MetricChange] = []
    lost: list[tuple[str, str]] = []
    new: list[tuple[str, str]] = []
    for key in both:
        old, now = (dict(_named(records[key].metrics)) for records in (before, after))
        lost += [(key, _label(name)) for name in old if name not in now]
        new += [(key, _label(name)) for name in now if name not in old]
        for name in (name for name in old if name in now):
            one, two = old[name], now[name]
            if (one.op, one.limit) != (two.op, two.limit):
                limits.append(LimitChange(key, _label(name), f"{one.op} {one.limit}", f"{two.op} {two.limit}"))
            if one.value != two.value:
                metrics.append(_change(key, _label(name), one, two))
    verdicts = [
        VerdictChange(key, (after.get(key) or before[key]).title, *pair)
        for key in keys
        if (pair := _pair(key, before, after))[0] != pair[1]
    ]
    identity = _identity(_first(before), _first(after))
    return RunDiff(identity, tuple(verdicts), tuple(limits), tuple(metrics), tuple(lost), tuple(new), len(both))


def noise_of(metric: Metric, other: Metric) -> tuple[float, Literal["share", "cost", "limit", "rounding"]]:
    """The difference between two values of a metric that says nothing.

    Parameters
    ----------
    metric, other : Metric
        The same metric of two runs, both with a value.

    Returns
    -------
    float
        ``share``: three standard errors of the difference of two shares of n samples. ``cost``: a quarter of the larger
        time or memory. ``limit``: a hundredth of the limit of a number with digits. ``rounding``: 1e-5 of the larger
        value, for all else; a count differs by more.
    str
        Which of them.
    """
    one, two = float(metric.value or 0), float(other.value or 0)
    sizes = [n for n in (metric.n, other.n) if n]
    if metric.unit in _SHARE_UNITS and sizes and min(one, two) >= 0 and max(one, two) <= 1:
        share = (one + two) / 2
        return _STANDARD_ERRORS * (2 * share * (1 - share) / min(sizes)) ** 0.5, "share"
    if metric.unit in _COST_UNITS:
        return _COST_NOISE * max(abs(one), abs(two)), "cost"
    if isinstance(metric.value, float) and isinstance(other.value, float) and metric.op != "==" and metric.limit:
        return _OF_LIMIT * abs(metric.limit), "limit"
    return _ROUNDING * max(abs(one), abs(two)), "rounding"


def _change(key: str, name: str, one: Metric, two: Metric) -> MetricChange:
    sizes = [n for n in (one.n, two.n) if n is not None]
    noise = 0.0 if one.value is None or two.value is None else noise_of(one, two)[0]
    beyond = one.value is None or two.value is None or abs(two.value - one.value) > noise
    beyond = beyond or one.verdict != two.verdict
    return MetricChange(key, name, two.unit, one.value, two.value, min(sizes, default=None), noise, beyond)


def _in_noise(change: MetricChange) -> float:
    if change.before is None or change.after is None or not change.noise:
        return float("inf")
    return abs(change.after - change.before) / change.noise


def _named(metrics: tuple[Metric, ...]) -> Iterator[tuple[tuple[str, str, int], Metric]]:
    """Metrics by test, name, and which of that name: a test may measure one several times."""
    seen: dict[tuple[str, str], int] = {}
    for metric in metrics:
        name = (metric.test, metric.name)
        seen[name] = seen.get(name, 0) + 1
        yield (*name, seen[name]), metric


def _label(name: tuple[str, str, int]) -> str:
    return name[1] if name[2] == 1 else f"{name[1]} ({name[2]})"


def _pair(key: str, *runs: Mapping[str, ExperimentRecord]) -> tuple[str, str]:
    one, two = (str(records[key].verdict) if key in records else ABSENT for records in runs)
    return one, two


def _first(records: Mapping[str, ExperimentRecord]) -> RunIdentity | None:
    return next((record.identity for record in records.values()), None)


def _identity(before: RunIdentity | None, after: RunIdentity | None) -> dict[str, tuple[str, str]]:
    """What differs of two runs' identities, the libraries one by one."""
    one, two = ({} if identity is None else _flat(identity) for identity in (before, after))
    names = dict.fromkeys([*one, *two])
    pairs = {name: (one.get(name, ""), two.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(identity: RunIdentity) -> dict[str, str]:
    content = identity.model_dump(exclude={"versions"})
    return {name: "" if value is None else str(value) for name, value in content.items()} | identity.versions
