"""E6.3 transform suite: under JPEG quality 95, 75, 50 and 30, down-up resize chains, blur levels, screenshot-like
resampling and combinations, metrics, score shift and abstain triggers stay within the contract's limits.

Every picture that reaches a user was re-encoded on its way. Fails when a transform raises FPR or FNR beyond the
limit, or when what says nothing of the face, container or metadata, flips a decision.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest

from ecdd.evaluation.battery import SHORTCUTS, TransformResult, format_by_class, measure_transforms, shortcut_flips
from ecdd.evaluation.transforms import UNTOUCHED, apply, load_suite
from ecdd.pipeline.decode import read_file
from gates.support import battery_figures as figures
from gates.support.fixtures import Detector, Evidence, GoldenSet, PolicyContract
from gates.support.portraits import golden_portraits
from gates.support.score_tables import Scores
from gates.support.shown_rates import shown_interval, shown_rate


@pytest.mark.experiment("E6.3")
def test_errors_under_transforms(evidence: Evidence, policy: PolicyContract, scores: Scores) -> None:
    """The same pictures before and after; a transform that leaves too few at the model is shown and not judged."""
    table, limits = scores.held_out, policy.evaluation
    digests = int(table.plan.suite_digest != load_suite().digest)
    evidence.check("tables_of_another_suite", digests, limit=0, op="==", unit="table", n=1)
    results = measure_transforms(table, policy.operating_point)
    limit, transformed = limits.max_transform_error_increase, [one for one in results if one.name != UNTOUCHED]
    for error, pairs in (("fpr", "pairs_real"), ("fnr", "pairs_fake")):
        increase, enough = attrgetter(f"{error}_increase"), limits.min_group_pictures
        judged = [one for one in transformed if getattr(one, pairs) >= enough]
        worst = max(judged, key=increase, default=None)
        value, names = (None, []) if worst is None else (increase(worst), [worst.name])
        evidence.check(f"{error}_increase", value, limit=limit, unit="rate", worst=names, n=len(judged),
                       clause="evaluation.max_transform_error_increase")  # fmt: skip
        for one in transformed:
            if getattr(one, pairs) < enough:
                evidence.not_tested(f"{error} under {one.name}", f"{getattr(one, pairs)} pictures reach the model")
    evidence.table("transforms", [_row(one) for one in results])
    caption = "Each transform against the same pictures untouched."
    evidence.figure("transforms", figures.transforms(results, limit), caption)


def _row(result: TransformResult) -> dict[str, Any]:
    m = result.measured
    shifts = ("fpr_increase", "fnr_increase", "mean_shift", "ks", "psi")
    rates = {"fpr": m.fpr, "fnr": m.fnr, "abstain_real": m.abstain_real, "abstain_fake": m.abstain_fake}
    return {
        "transform": result.name,
        "reals": result.pairs_real,
        "fakes": result.pairs_fake,
        **{name: shown_rate(rate) for name, rate in rates.items()},
        **{name: shown_interval(result.intervals.get(name)) for name in shifts},
        "reasons": ", ".join(f"{code} {n}" for code, n in m.abstain_reasons.items()),
    }


@pytest.mark.experiment("E6.3")
def test_container_and_metadata_decide_nothing(evidence: Evidence, policy: PolicyContract, scores: Scores) -> None:
    """The same pixels in another container, or with other metadata, get the same verdict."""
    limit, clause = policy.evaluation.max_shortcut_flips, "evaluation.max_shortcut_flips"
    for name in SHORTCUTS:
        flips = shortcut_flips(scores.held_out, name)
        worst = flips.changed[:3]
        evidence.check(f"{name}_flips", flips.share, limit=limit, unit="rate", worst=worst, n=flips.n, clause=clause)
        evidence.none(f"{name}_reversals", flips.reversed, n=flips.n)
        evidence.measure(f"{name}_largest_difference", flips.largest_difference, "probability")
    evidence.table("container_by_class", format_by_class(scores.held_out.of(UNTOUCHED)))


@pytest.mark.experiment("E6.3")
@pytest.mark.usefixtures("scores")
def test_golden_faces_survive_another_container(
    evidence: Evidence, policy: PolicyContract, golden: GoldenSet, detector: Detector
) -> None:
    """Judged now, from both containers: whatever reads a verdict from the container is seen here without data."""
    changed, n, largest = [], 0, 0.0
    for portrait in golden_portraits(golden):
        data = read_file(portrait.path, policy.pixel_pipeline)
        before = detector.predict(data, portrait.path.name)
        for name in SHORTCUTS:
            made, file = apply(load_suite().named(name), data, portrait.path.name, policy.pixel_pipeline)
            after = detector.predict(made, file)
            n += 1
            if before.label != after.label:
                changed.append(f"{portrait.name} {name}: {before.label} -> {after.label}")
            if before.probability is not None and after.probability is not None:
                largest = max(largest, abs(before.probability - after.probability))
    limit, clause = policy.evaluation.max_shortcut_flips, "evaluation.max_shortcut_flips"
    evidence.check("golden_flips", len(changed) / n, limit=limit, unit="rate", worst=changed[:3], n=n, clause=clause)
    evidence.measure("golden_largest_difference", largest, "probability")
