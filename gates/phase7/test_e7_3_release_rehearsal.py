"""E7.3 release and rollback rehearsal: in a rehearsal of release and rollback the current bundle is compared with
deliberately degraded ones by the canary comparator; rollback fires.

A rollback that was never tried does not work on the day. Fails when a damaged bundle is promoted, when an equal one
is rolled back, or when the rule decides on too few pictures.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.dataset_governance.lineage_tags import load_split
from ecdd.evaluation.manifest_stream import Selection
from ecdd.evaluation.scoring import Request
from ecdd.monitoring import canary
from ecdd.monitoring.canary import CanaryError, Comparison, in_canary
from ecdd.monitoring.canary_scoring import answers
from gates.support.fixtures import Bundle, Evidence, GoldenSet, LoadedContract, NotTested, PolicyContract
from gates.support.made_rows import row
from gates.support.portraits import data_portraits, split_of
from gates.support.rehearsal_stream import Rehearsal, Rows
from gates.support.rehearsed_bundles import CANDIDATES, DEGRADED

RESAMPLED = 200
REQUESTS = 20_000
Groups = Mapping[str, str]  # cluster by SHA-256 of a picture


@pytest.fixture(scope="session")
def rehearsal(
    request: pytest.FixtureRequest,
    golden: GoldenSet,
    bundle: Bundle,
    contract: LoadedContract,
    tmp_path_factory: pytest.TempPathFactory,
) -> Rehearsal:
    base = tmp_path_factory.getbasetemp()
    folder: Path = base.parent if hasattr(request.config, "workerinput") else base
    return Rehearsal(golden, bundle, contract, folder / "e7-3")


def rehearsed(rehearsal: Rehearsal, name: str, *, latency: bool = True) -> Comparison:
    current, candidate, groups = rehearsal.answers(name)
    return canary.compare(current, candidate, rehearsal.policy, groups=groups, latency=latency)


def rows_of(name: str, found: Comparison) -> list[dict[str, Any]]:
    about = ("current", "candidate", "increase", "low", "high", "p", "limit", "clusters", "finding")
    return [
        {"bundle": name, "metric": change.name, "pictures": change.n} | {key: getattr(change, key) for key in about}
        for change in found.changes
    ]


@pytest.mark.experiment("E7.3")
def test_degraded_bundles_are_rolled_back(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """Noise on weights, channels in another order, another model's calibration: each loads, its answers betray it."""
    kept, shown = [], []
    for name in DEGRADED:
        found = rehearsed(rehearsal, name, latency=False)
        if found.decision != "rollback":
            kept.append(f"{name}: {found.decision}")
        shown += rows_of(name, found)
        evidence.measure(f"{name}_fired", ", ".join(c.name for c in found.changes if c.finding == "beyond"))
    evidence.none("degraded_not_rolled_back", kept, n=len(DEGRADED), unit="bundle")
    evidence.table("degraded", shown)


@pytest.mark.experiment("E7.3")
def test_the_same_bundle_is_promoted(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """Scored twice, really; and on streams drawn anew from its clusters. Swapped answers show the noise of the rule."""
    current, again, groups = rehearsal.answers("same")
    found = canary.compare(current, again, rehearsal.policy, groups=groups, latency=False)
    refused = [] if found.decision == "promote" else [found.decision, *found.reasons]
    evidence.none("same_bundle_not_promoted", refused, n=len(current))
    evidence.table("same_bundle", rows_of("same", found))
    rng = np.random.default_rng(0)
    drawn = [_drawn(current, again, groups, rng) for _ in range(RESAMPLED)]
    decided = [canary.compare(*pair, rehearsal.policy, latency=False).decision for pair in drawn]
    evidence.check("false_rollbacks", decided.count("rollback"), limit=0, op="==", unit="stream", n=RESAMPLED)
    _, other, _ = rehearsal.answers("noisy_weights")
    swapped = [_swapped(current, other, groups, rng) for _ in range(RESAMPLED)]
    noise = [canary.compare(*p, rehearsal.policy, groups=groups, latency=False).decision for p in swapped]
    level = 1 - rehearsal.policy.operating_point.confidence
    swaps = noise.count("rollback") / RESAMPLED
    evidence.check("rollbacks_of_equally_good_bundles", swaps, limit=level, unit="rate", n=RESAMPLED)
    evidence.measure("holds_of_equally_good_bundles", noise.count("hold") / RESAMPLED, "rate")


def _clusters(rows: Rows, groups: Groups) -> list[list[int]]:
    places: dict[str, list[int]] = {}
    for place, one in enumerate(rows):
        places.setdefault(groups.get(one["file_sha256"], one["path"]), []).append(place)
    return list(places.values())


def _drawn(one: Rows, other: Rows, groups: Groups, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """A stream of whole clusters drawn with replacement; a cluster that is drawn twice is two."""
    clusters = _clusters(one, groups)
    chosen = [(k, place) for k, c in enumerate(rng.integers(0, len(clusters), len(clusters))) for place in clusters[c]]

    def drawn(rows: Rows) -> Rows:
        return [rows[place] | {"path": f"draw-{k}"} for k, place in chosen]

    return drawn(one), drawn(other)


def _swapped(one: Rows, other: Rows, groups: Groups, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Two bundles of very different answers and, on average, equal merit: each cluster goes to either by a coin."""
    first, second = list(one), list(other)
    for places in _clusters(one, groups):
        if rng.integers(2):
            for place in places:
                first[place], second[place] = other[place], one[place]
    return first, second


@pytest.mark.experiment("E7.3")
def test_held_out_stream(
    evidence: Evidence, bundle: Bundle, rehearsal: Rehearsal, data_root: Path | None, tmp_path: Path
) -> None:
    """Held-out pictures of ``--data``, near-duplicates drawn together; few fakes reach the model, so fnr may hold."""
    if data_root is None or not data_portraits(data_root, "face", ("TEST-NEVER-TOUCH",)):
        raise NotTested("the rehearsal on held-out pictures", "needs --data with portraits tagged TEST-NEVER-TOUCH")
    split = load_split(split_of(data_root))
    tags = {key: row.lineage.value for key, row in split.rows.items()}
    groups = {key: row.near_duplicate_group for key, row in split.rows.items()}
    request = Request(data_root, bundle, selection=Selection(tags, frozenset({"TEST-NEVER-TOUCH"})))
    decided = {}
    for name in ("same", "shuffled_channels"):
        rows = answers(bundle, CANDIDATES[name](bundle, tmp_path / name), request)
        found = canary.compare(*rows, rehearsal.policy, groups=groups, latency=False)
        decided[name] = found.decision
        evidence.table(f"held_out_{name}", rows_of(name, found))
        evidence.measure(f"held_out_{name}", "; ".join((found.decision, *found.reasons)))
    rolled_back = {name for name, decision in decided.items() if decision == "rollback"}
    evidence.none("held_out_degraded_not_rolled_back", sorted({"shuffled_channels"} - rolled_back), n=1, unit="bundle")
    evidence.none("held_out_same_rolled_back", sorted({"same"} & rolled_back), n=1, unit="bundle")


@pytest.mark.experiment("E7.3")
def test_a_crashing_candidate_is_rolled_back(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """A bundle whose model gives no number: the detector refuses every answer of it, and each refusal counts."""
    found = rehearsed(rehearsal, "poisoned_weights", latency=False)
    errors = found.outcomes["error"]
    evidence.check("errors_of_the_candidate", errors[1], limit=0, op=">", unit="picture", n=max(errors))
    kept = [] if found.decision == "rollback" else [f"poisoned_weights: {found.decision}"]
    evidence.none("crashing_not_rolled_back", kept, n=1, unit="bundle")
    evidence.table("crashing", rows_of("poisoned_weights", found))


@pytest.mark.experiment("E7.3")
def test_answers_to_other_streams_are_refused(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """Another order, fewer pictures, other content under the same name: no difference of such rates means anything."""
    current, candidate, groups = rehearsal.answers("same")
    foreign = [row | {"file_sha256": "0" * 64} for row in candidate]
    streams = {"another order": candidate[::-1], "fewer pictures": candidate[:-1], "other content": foreign, "none": []}
    accepted = []
    for name, rows in streams.items():
        with contextlib.suppress(CanaryError):
            canary.compare(current, rows, rehearsal.policy, groups=groups)
            accepted.append(name)
    evidence.none("unpaired_streams_accepted", accepted, n=len(streams), unit="stream")


@pytest.mark.experiment("E7.3")
def test_too_few_pictures_hold(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """Before ``canary_min_pictures`` of a class nothing is concluded of it, not even of a degraded bundle."""
    current, candidate, groups = rehearsal.answers("noisy_weights")
    # every photograph, but fewer pictures of each class: enough to tell, were it allowed
    places = {label: [k for k, row in enumerate(current) if row["label"] == label] for label in (0, 1)}
    chosen = places[0][::2] + places[1][::2]
    one, other = ([rows[place] for place in chosen] for rows in (current, candidate))
    found = canary.compare(one, other, rehearsal.policy, groups=groups, latency=False)
    wrong = [] if found.decision == "hold" else [found.decision]
    evidence.none("decided_on_too_few", wrong, n=len(chosen))


@pytest.mark.experiment("E7.3")
def test_latency_is_compared_in_pairs(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """Really slower kernels are measured and shown; the limit itself is judged on recorded times that were doubled."""
    least, limit = rehearsal.policy.release.canary_min_pictures, rehearsal.policy.release.rollback_latency_ratio
    shown = []
    for name in ("same", "slow_kernels"):
        found = rehearsed(rehearsal, name)
        latency = found.changes[-1]
        evidence.check(f"{name}_pictures_timed", latency.n, limit=least, op=">=", unit="picture", n=latency.n)
        evidence.measure(f"{name}_latency_ratio", latency.increase)
        shown += [row for row in rows_of(name, found) if row["metric"] == "latency_ratio"]
    evidence.table("latency", shown)
    current, _, groups = rehearsal.answers("same")
    wrong = []
    for factor, wanted in ((1.0, "promote"), (2 * limit, "rollback")):
        slower = [row | {"milliseconds": (row["milliseconds"] or 0) * factor} for row in current]
        decision = canary.compare(current, slower, rehearsal.policy, groups=groups).decision
        wrong += [] if decision == wanted else [f"{factor:g} times as slow: {decision}"]
    evidence.none("latency_misjudged", wrong, n=2, unit="stream")


@pytest.mark.experiment("E7.3")
def test_the_canary_sees_its_share(evidence: Evidence, rehearsal: Rehearsal) -> None:
    """A request is in or out by its identifier alone, and another canary meets other requests."""
    share = rehearsal.policy.release.canary_share
    names = [f"request-{number}" for number in range(REQUESTS)]
    one, again, other = ([in_canary(name, salt, share) for name in names] for salt in ("a", "a", "b"))
    allowed = 4 * np.sqrt(share * (1 - share) / REQUESTS)  # four standard deviations of a fair draw
    evidence.check("share_error", abs(np.mean(one) - share), limit=allowed, unit="rate", n=REQUESTS)
    evidence.check("requests_that_changed_sides", int(np.sum(np.not_equal(one, again))), limit=0, op="==", n=REQUESTS)
    both = np.mean(np.logical_and(one, other))
    evidence.check("in_both_canaries_error", abs(both - share**2), limit=allowed, unit="rate", n=REQUESTS)


@pytest.mark.experiment("E7.3")
def test_a_canary_at_its_limits(evidence: Evidence, policy: PolicyContract) -> None:
    """Limits that are exactly what a stream shows, and next to it: above is taken back, at it is allowed."""
    reals, wrong = 400, []
    current = [row(k, 0, "real", 0.1) for k in range(reals)]
    candidate = [row(k, 0, "fake" if k < 40 else "real", 0.9 if k < 40 else 0.1) for k in range(reals)]
    seen = canary.compare(current, candidate, policy, latency=False).changes[0]
    for limit, pictures, expected in (
        (seen.increase, reals, "undecided"),
        (math.nextafter(seen.increase, 0), reals, "beyond"),
        (seen.high, reals, "within"),
        (math.nextafter(seen.high, 0), reals, "undecided"),
        (seen.high, reals + 1, "too few"),
    ):
        values = {"rollback_fpr_increase": limit, "canary_min_pictures": pictures}
        asked = policy.model_copy(update={"release": policy.release.model_copy(update=values)})
        found = canary.compare(current, candidate, asked, latency=False).changes[0]
        if (found.name, found.finding) != ("fpr", expected):
            wrong.append(f"limit {limit!r}, {pictures} pictures: {found.finding}, not {expected}")
    evidence.none("findings_off_the_limits", wrong, n=5, unit="limit")
