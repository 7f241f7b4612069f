"""E6.1 source splits: metrics at the operating point are measured per source group (generator, device or platform,
compression); the worst group is named and its drop is bounded.

A mean over sources hides the one on which the detector fails. Fails when a group's error bound exceeds the contract's
limit, or when a split that the contract claims cannot be made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from ecdd.contract.model_sections import OperatingPoint
from ecdd.evaluation.intervals import separation
from ecdd.evaluation.metrics import Row, accuracy_on_faces, at_operating_point, scores_and_labels
from ecdd.evaluation.splits import Group, GroupSplit, groups, members, worst_group
from ecdd.evaluation.transforms import UNTOUCHED
from gates.support import battery_figures as figures
from gates.support.fixtures import Evidence, PolicyContract
from gates.support.score_tables import Scores
from gates.support.shown_rates import shown_interval, shown_rate

SPLITS: tuple[GroupSplit, ...] = ("source", "compression", "device", "platform")
ERRORS: tuple[Literal["fpr", "fnr"], ...] = ("fpr", "fnr")


@pytest.mark.experiment("E6.1")
def test_held_out_operating_point(evidence: Evidence, policy: PolicyContract, scores: Scores) -> None:
    """All held-out pictures at the contract's thresholds; the bound of the promise itself is E4.4's."""
    point, rows = policy.operating_point, scores.held_out.of(UNTOUCHED)
    found = at_operating_point(rows, point)
    for name, rate, knob in (
        ("fpr", found.fpr, "max_fpr"),
        ("fnr", found.fnr, "max_fnr"),
        ("abstain_rate_real", found.abstain_real, "max_abstain_rate"),
        ("abstain_rate_fake", found.abstain_fake, "max_abstain_rate"),
    ):
        limit, clause = getattr(point, knob), f"operating_point.{knob}"
        evidence.check(name, rate.value, limit=limit, unit="rate", n=rate.n, clause=clause)
        evidence.measure(f"{name}_interval", f"[{rate.low:.3f}, {rate.high:.3f}] at {point.confidence:g}")
    scores_and_labels(rows)  # refuses scores of which no number below would mean anything
    for name, value in separation(rows, point.max_fpr, point.confidence).items():
        shown = f"{value.estimate:.3f}, [{value.low:.3f}, {value.high:.3f}] at {point.confidence:g}"
        evidence.measure(f"{name}_{point.max_fpr:g}" if name == "tpr_at_fpr" else name, shown)
    right = accuracy_on_faces(rows, point.confidence)
    evidence.measure("accuracy_on_decided_faces", f"{right.events} of {right.n}, [{right.low:.3f}, {right.high:.3f}]")
    evidence.table("abstain_reasons", [{"code": c, "pictures": n} for c, n in found.abstain_reasons.items()])


@pytest.mark.experiment("E6.1")
def test_no_group_is_much_worse(evidence: Evidence, policy: PolicyContract, scores: Scores) -> None:
    """Every group with enough pictures of a class; smaller ones are shown. Unclaimed columns are said to be so."""
    limits, point, rows = policy.evaluation, policy.operating_point, scores.held_out.of(UNTOUCHED)
    everything, shown, empty = at_operating_point(rows, point), [], []
    for split in SPLITS:
        found = groups(rows, split, point, limits.min_group_pictures)
        shown += found
        if split not in limits.splits:
            if not found:
                evidence.not_tested(f"{split} split", f"not claimed: no row of the manifest has a {split}")
            continue
        if not found:
            empty.append(split)
        for error in ERRORS:
            worst = worst_group(found, everything, error)
            if worst is None:
                why = f"no group has {limits.min_group_pictures} pictures of the class"
                evidence.not_tested(f"{error} by {split}", why)
                continue
            name, limit = f"{split}_{error}_increase", limits.max_group_error_increase
            evidence.check(name, worst.increase, limit=limit, unit="rate", worst=worst.name, n=worst.n,
                           clause="evaluation.max_group_error_increase")  # fmt: skip
    evidence.none("claimed_splits_without_column", empty, n=len(limits.splits), unit="split")
    evidence.table("groups", [_row(group, rows, point) for group in shown])
    caption = "Error rates by group with exact intervals."
    evidence.figure("groups", figures.groups(shown, everything, limits.min_group_pictures), caption)


def _row(group: Group, rows: Sequence[Row], point: OperatingPoint) -> dict[str, str]:
    row = {"group": f"{group.split}: {group.name}"}
    for name in ("fpr", "fnr", "abstain_real", "abstain_fake"):
        rate = getattr(group.measured, name)
        row[name] = "no pictures" if rate.value is None else f"{shown_rate(rate)} of {rate.n}"
    found = separation(members(rows, group.split, group.name), point.max_fpr, point.confidence)
    for name in ("tpr_at_fpr", "ece"):
        value = found.get(name)
        row[name] = "one class" if value is None else shown_interval(value)
    return row | {"judged": " ".join(k for k in ("fpr", "fnr") if getattr(group, f"judged_{k}")) or "too few"}
