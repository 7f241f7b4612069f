"""E6.3 transform suite: under JPEG quality 95, 75, 50 and 30, down-up resize chains, blur levels, screenshot-like
resampling and combinations, metrics, score shift and abstain triggers stay within the contract's limits.

Every picture that reaches a user was re-encoded on its way. Fails when a transform raises FPR or FNR beyond the
limit, or when what says nothing of the face, container or metadata, flips a decision.
"""

from __future__ import annotations

from typing import Any

import pytest

from ecdd.evaluation.battery import SHORTCUTS, format_by_class, measure_transforms, shortcut_flips
from ecdd.evaluation.transforms import UNTOUCHED, apply, load_suite
from ecdd.pipeline.decode import read_file
from gates.support import battery_figures as figures
from gates.support.portraits import golden_portraits
from gates.support.score_tables import has_scores


@pytest.mark.experiment("E6.3")
def test_errors_under_transforms(evidence: Any, policy: Any, scores: Any) -> None:
    """The same pictures before and after; a transform that leaves too few at the model is shown and not judged."""
    if not has_scores(evidence, scores):
        return
    table, limits = scores.held_out, policy.evaluation
    digests = int(table.plan.suite_digest != load_suite().digest)
    evidence.check("tables_of_another_suite", digests, limit=0, op="==", unit="table", n=1)
    results = measure_transforms(table, policy.operating_point)
    for error, pairs in (("fpr", "pairs_real"), ("fnr", "pairs_fake")):
        judged = [r for r in results if r.name != UNTOUCHED and getattr(r, pairs) >= limits.min_group_pictures]
        worst = max(judged, key=lambda r: getattr(r, f"{error}_increase"), default=None)
        value = None if worst is None else getattr(worst, f"{error}_increase")
        evidence.check(f"{error}_increase", value, limit=limits.max_transform_error_increase, unit="rate",
                       worst=[] if worst is None else [worst.name], n=len(judged))  # fmt: skip
        for r in results:
            if r not in judged and r.name != UNTOUCHED:
                evidence.not_tested(f"{error} under {r.name}", f"{getattr(r, pairs)} pictures reach the model")
    evidence.table("transforms", [_row(r) for r in results])
    caption = "Each transform against the same pictures untouched."
    evidence.figure("transforms", figures.transforms(results, limits.max_transform_error_increase), caption)


def _row(r: Any) -> dict[str, Any]:
    m = r.measured
    return {
        "transform": r.name, "reals": r.pairs_real, "fakes": r.pairs_fake,
        "fpr": _rate(m.fpr), "fpr_increase": _with_interval(r, "fpr_increase"),
        "fnr": _rate(m.fnr), "fnr_increase": _with_interval(r, "fnr_increase"),
        "mean_shift": _with_interval(r, "mean_shift"), "ks": _with_interval(r, "ks"), "psi": _with_interval(r, "psi"),
        "abstain_real": _rate(m.abstain_real), "abstain_fake": _rate(m.abstain_fake),
        "reasons": ", ".join(f"{code} {n}" for code, n in m.abstain_reasons.items()),
    }  # fmt: skip


def _rate(rate: Any) -> str:
    return "no pictures" if rate.value is None else f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def _with_interval(r: Any, name: str) -> str:
    if (found := r.intervals.get(name)) is None:
        return "no pictures"
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


@pytest.mark.experiment("E6.3")
@pytest.mark.parametrize("name", SHORTCUTS)
def test_container_and_metadata_decide_nothing(evidence: Any, policy: Any, scores: Any, name: str) -> None:
    if not has_scores(evidence, scores):
        return
    flips = shortcut_flips(scores.held_out, name)
    evidence.check(f"{name}_flips", flips.share, limit=policy.evaluation.max_shortcut_flips, unit="rate",
                   worst=flips.changed[:3], n=flips.n)  # fmt: skip
    evidence.none(f"{name}_reversals", flips.reversed, n=flips.n)
    evidence.measure(f"{name}_largest_difference", flips.largest_difference, "probability")
    evidence.table("container_by_class", format_by_class(scores.held_out.of(UNTOUCHED)))


@pytest.mark.experiment("E6.3")
def test_golden_faces_survive_another_container(
    evidence: Any, policy: Any, golden: Any, detector: Any, scores: Any
) -> None:
    """Judged now, from both containers: whatever reads a verdict from the container is seen here without data."""
    if not has_scores(evidence, scores):
        return
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
    evidence.check("golden_flips", len(changed) / n, limit=policy.evaluation.max_shortcut_flips, unit="rate",
                   worst=changed[:3], n=n)  # fmt: skip
    evidence.measure("golden_largest_difference", largest, "probability")
