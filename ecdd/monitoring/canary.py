"""Canary (E7.3): two bundles on one stream, and whether the newer one is promoted, held or rolled back.

Both bundles judge the same pictures, so every metric is a difference within pictures: what is hard for both cancels. Of
a picture that came several times (transforms, near-duplicates) all answers are drawn together: the interval is a
bootstrap over clusters, and whether there is any increase is tested by exchanging the bundles' answers cluster by
cluster, which is exact for any number of clusters. McNemar's test and Newcombe's interval were weighed: both are for
independent pictures. A bootstrap interval in place of the test was measured: of bundles of equal merit and opposite
answers it rolled back 16 % on the golden stream, whose classes have 7 and 9 photographs.

A metric is *beyond* where its increase is over the contract's limit and is no chance (the level, 1 - confidence, is
shared out over the metrics); *within* where the whole interval keeps the limit; else *undecided*. One beyond rolls
back, all within promotes, the rest holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.schema import PolicyContract
from ecdd.errors import EcddError
from ecdd.evaluation.score_table import OUTCOMES, SCORED

Row = Mapping[str, Any]
Decision = Literal["promote", "hold", "rollback"]
Finding = Literal["within", "undecided", "beyond", "too few", "not measured"]
RESAMPLES: Final = 4000
EXCHANGES: Final = 20_000
_ENUMERATED: Final = 16  # clusters up to which all exchanges are tried
_METRICS: Final = 6
MILLISECONDS: Final = "milliseconds"
_NOT_SEEN: Final = ("missing", "changed")  # outcomes of the stream, not of a bundle


class CanaryError(EcddError):
    """Two sets of answers that are not of one stream, or of no pictures at all: nothing is compared."""


@dataclass(frozen=True)
class Change:
    """One metric of both bundles.

    Attributes
    ----------
    name : str
        ``fpr``, ``fnr``, ``abstain_real``, ``abstain_fake``, ``answers_out_of_scope`` or ``latency_ratio``.
    current, candidate : float
        Rates; of ``latency_ratio`` median milliseconds. NaN where there is nothing.
    increase, low, high : float
        Candidate less current (for latency: the median ratio) and its interval.
    p : float
        Probability of so large an increase if it were a coin for every cluster which bundle gave which answer.
    limit : float
        The contract's.
    n, clusters : int
        Pictures and independent clusters of them.
    finding : str
        What follows.
    worst : tuple of str
        Pictures that only the candidate gets wrong.
    """

    name: str
    current: float
    candidate: float
    increase: float
    low: float
    high: float
    p: float
    limit: float
    n: int
    clusters: int
    finding: Finding
    worst: tuple[str, ...] = ()

    @property
    def could_hide(self) -> float:
        """Largest rate of changed answers that as many clusters without one would miss with probability 0.05."""
        return 1.0 - 0.05 ** (1 / self.clusters) if self.clusters else 1.0


@dataclass(frozen=True)
class Comparison:
    """What a canary showed.

    Attributes
    ----------
    decision : str
        ``promote``, ``hold`` or ``rollback``.
    reasons : tuple of str
        One line a metric that decided.
    changes : tuple of Change
        Every metric.
    outcomes : mapping of str to (int, int)
        Pictures of current and candidate by outcome; errors are among them, never left out.
    """

    decision: Decision
    reasons: tuple[str, ...]
    changes: tuple[Change, ...]
    outcomes: Mapping[str, tuple[int, int]]


def in_canary(request_id: str, salt: str, share: float) -> bool:
    """Whether a request goes to the candidate: a fixed share of identifiers, the same whenever and wherever asked.

    Parameters
    ----------
    request_id : str
        Of the request, never of the picture or a person.
    salt : str
        Of this canary, for example the candidate's payload digest: another canary meets other requests.
    share : float
        0 to 1, the contract's ``release.canary_share``.
    """
    digest = hashlib.sha256(f"{salt}\0{request_id}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def compare(
    current: Sequence[Row],
    candidate: Sequence[Row],
    policy: PolicyContract,
    *,
    groups: Mapping[str, str] | None = None,
    latency: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare two bundles' answers to one stream.

    Parameters
    ----------
    current, candidate : sequence of mapping
        Rows as in a score table, in one order; ``milliseconds`` where latency was measured.
    policy : PolicyContract
        The current bundle's: section ``release`` and ``operating_point.confidence``.
    groups : mapping of str to str, optional
        SHA-256 of a file to its cluster; by default each picture with its transforms is one.
    latency : bool
        Whether the latency limit is asked for; without it the comparison says that it was not measured.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Comparison
        Decision and everything it rests on.

    Raises
    ------
    CanaryError
        The rows are not of the same pictures in the same order.
    """
    pairs = paired(current, candidate)
    limits, confidence = policy.release, policy.operating_point.confidence
    asked: list[tuple[str, Callable[[Row], bool | None], float]] = [
        ("fpr", _error_of(0), limits.rollback_fpr_increase),
        ("fnr", _error_of(1), limits.rollback_fnr_increase),
        ("abstain_real", _abstained(0), limits.rollback_abstain_increase),
        ("abstain_fake", _abstained(1), limits.rollback_abstain_increase),
        ("answers_out_of_scope", _answered_out_of_scope, limits.rollback_fpr_increase),
    ]
    least = limits.canary_min_pictures
    changes = [_change(name, event, pairs, limit, least, confidence, groups, seed) for name, event, limit in asked]
    if latency:
        changes.append(_latency(pairs, limits.rollback_latency_ratio, least, confidence, groups))
    decision, reasons = decide(changes, least)
    if not latency:
        reasons = (*reasons, "latency was not measured")
    counts = [Counter(row["outcome"] for row in rows) for rows in (current, candidate)]
    return Comparison(
        decision, reasons, tuple(changes), {name: (counts[0][name], counts[1][name]) for name in OUTCOMES}
    )


def decide(changes: Sequence[Change], least: int) -> tuple[Decision, tuple[str, ...]]:
    """Promote, hold or roll back; a stream without pictures out of scope says nothing of them and holds nothing up."""
    beyond = [change for change in changes if change.finding == "beyond"]
    if beyond:
        return "rollback", tuple(_line(change, least) for change in beyond)
    optional = [change for change in changes if change.name == "answers_out_of_scope" and change.n < least]
    unsure = [change for change in changes if change.finding != "within" and change not in optional]
    return ("hold" if unsure else "promote"), tuple(_line(change, least) for change in unsure)


def _line(change: Change, least: int) -> str:
    if change.finding == "too few":
        return f"{change.name}: {change.n} pictures, at least {least} are needed"
    if change.finding == "not measured":
        return f"{change.name}: not measured"
    kind = "ratio" if change.name == "latency_ratio" else "increase"
    span = f"[{change.low:.4g}, {change.high:.4g}]"
    return f"{change.name}: {kind} {change.increase:.4g} {span}, allowed {change.limit:g}: {change.finding}"


def paired(current: Sequence[Row], candidate: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Put the answers of one picture side by side; pictures that neither bundle could see are left out.

    Raises
    ------
    CanaryError
        Other pictures, another order, another number, or other content under one name.
    """
    if len(current) != len(candidate):
        msg = f"{len(current)} answers of the current bundle, {len(candidate)} of the candidate: not one stream"
        raise CanaryError(msg)
    pairs = []
    for place, (one, other) in enumerate(zip(current, candidate, strict=True), 1):
        for key in ("path", "transform", "label", "scope", "file_sha256"):
            absent = key == "file_sha256" and None in (one[key], other[key])  # of a file that a crash left unread
            if one[key] != other[key] and not absent:
                msg = f"answer {place}: {key} is {one[key]!a} for the current bundle, {other[key]!a} for the candidate"
                raise CanaryError(f"{msg}; score both on one stream, in one order")
        if one["outcome"] not in _NOT_SEEN and other["outcome"] not in _NOT_SEEN:
            pairs.append((one, other))
    if not pairs:
        raise CanaryError("no picture was seen by both bundles; nothing is compared")
    return pairs


def _failed(row: Row) -> bool:
    """Whether the bundle broke on the picture: it gave no answer to what it took in."""
    return bool(row["outcome"] == "error")


def _error_of(label: int) -> Callable[[Row], bool | None]:
    """A real called fake or a fake called real, or a crash; None where the picture did not reach the model."""
    wrong = "fake" if label == 0 else "real"

    def event(row: Row) -> bool | None:
        if row["scope"] != "face" or row["label"] != label:
            return None
        if _failed(row):
            return True
        if row["outcome"] != SCORED or row["probability"] is None:
            return None
        return bool(row["verdict"] == wrong)

    return event


def _abstained(label: int) -> Callable[[Row], bool | None]:
    """No verdict, for whatever reason: abstained, rejected or crashed."""

    def event(row: Row) -> bool | None:
        if row["scope"] != "face" or row["label"] != label:
            return None
        return bool(row["outcome"] != SCORED or row["verdict"] == "abstain")

    return event


def _answered_out_of_scope(row: Row) -> bool | None:
    """A verdict on what is no face, or a crash on it."""
    return None if row["scope"] == "face" else bool(_failed(row) or row["verdict"] != "abstain")


def _cluster(row: Row, groups: Mapping[str, str] | None) -> str:
    digest = row["file_sha256"] or ""
    return groups.get(digest, digest or row["path"]) if groups is not None else str(row["path"])


def _change(
    name: str,
    event: Callable[[Row], bool | None],
    pairs: Sequence[tuple[Row, Row]],
    limit: float,
    least: int,
    confidence: float,
    groups: Mapping[str, str] | None,
    seed: int,
) -> Change:
    """Difference of two rates over the pictures on which the event is defined for either bundle."""
    events = [(event(one), event(other), one) for one, other in pairs]
    counted = [(bool(a), bool(b), row) for a, b, row in events if a is not None or b is not None]
    n = len(counted)
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for before, after, row in counted:
        entry = sums[_cluster(row, groups)]
        entry[0] += after - before
        entry[1] += 1
    worst = tuple(f"{row['path']} {row['transform']}" for before, after, row in counted if after and not before)[:3]
    if not n:
        nan = float("nan")
        return Change(name, nan, nan, nan, nan, nan, nan, limit, 0, 0, "too few")
    current, after_rate = sum(entry[0] for entry in counted) / n, sum(entry[1] for entry in counted) / n
    differences = np.array(list(sums.values()), np.int64)
    low, high = clustered_interval(differences, confidence, seed)
    p = exchange_test(differences[:, 0], seed)
    increase = after_rate - current
    finding: Finding = "too few" if n < least else _finding(increase, high, p, limit, confidence)
    return Change(name, current, after_rate, increase, low, high, p, limit, n, len(sums), finding, worst)


def _finding(value: float, high: float, p: float, limit: float, confidence: float) -> Finding:
    if not np.isfinite([value, p]).all():
        return "undecided"
    if value > limit and p <= (1 - confidence) / _METRICS:
        return "beyond"
    return "within" if high <= limit else "undecided"


def exchange_test(differences: NDArray[np.int64], seed: int) -> float:
    """One-sided p-value of a sum of differences under the exchange of both bundles within each cluster.

    Parameters
    ----------
    differences : ndarray, int64, shape (C,)
        By cluster.
    seed : int
        Of the random exchanges, which are drawn where there are too many to try all.

    Returns
    -------
    float
        1 where nothing differs.
    """
    found = differences.sum()
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    total = int(counts.sum())
    if total <= _ENUMERATED:
        signs = 2 * (np.arange(2**total)[:, None] >> np.arange(total) & 1) - 1
        return float((signs @ np.repeat(sizes, counts) >= found).mean())
    kept = np.random.default_rng(seed).binomial(counts, 0.5, size=(EXCHANGES, len(counts)))
    return float((1 + ((2 * kept - counts) @ sizes >= found).sum()) / (1 + EXCHANGES))


def clustered_interval(
    sums: NDArray[np.int64], confidence: float, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile bootstrap of a mean difference, clusters drawn whole.

    Parameters
    ----------
    sums : ndarray, int64, shape (C, 2)
        Of every cluster the sum of differences and the pictures.
    confidence : float
        Two-sided.
    seed, resamples : int
        Of the bootstrap.

    Returns
    -------
    tuple of float
        Low and high. Equal clusters are drawn as one multinomial count, so that time does not depend on C.
    """
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(sums), counts / len(sums), size=resamples) @ kinds
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [tail, 1 - tail])
    return float(low), float(high)


def _latency(
    pairs: Sequence[tuple[Row, Row]],
    limit: float,
    least: int,
    confidence: float,
    groups: Mapping[str, str] | None,
) -> Change:
    """Median over clusters of the median ratio within one; pictures that reached both models, so equal work."""
    from scipy.stats import binom

    times: list[tuple[float, float]] = []
    ratios: dict[str, list[float]] = defaultdict(list)
    for one, other in pairs:
        before, after = one.get(MILLISECONDS), other.get(MILLISECONDS)
        if before and after and None not in (one["probability"], other["probability"]):
            times.append((before, after))
            ratios[_cluster(one, groups)].append(after / before)
    n, clusters = len(times), len(ratios)
    if not n:
        nan = float("nan")
        return Change("latency_ratio", nan, nan, nan, nan, nan, nan, limit, 0, 0, "not measured")
    ordered = np.sort([np.median(values) for values in ratios.values()])
    ratio = float(np.median(ordered))
    # exact interval of a median: order statistics, whatever the distribution
    rank = int(binom.ppf((1 - confidence) / 2, clusters, 0.5))
    sure = rank > 0
    low, high = (float(ordered[rank - 1]), float(ordered[clusters - rank])) if sure else (0.0, float("inf"))
    before, after = (float(np.median([pair[k] for pair in times])) for k in (0, 1))
    p = float(binom.sf((ordered > 1).sum() - 1, clusters, 0.5))  # sign test
    finding: Finding = "too few" if n < least else _finding(ratio, high, p, limit, confidence)
    return Change("latency_ratio", before, after, ratio, low, high, p, limit, n, clusters, finding)
