"""Rows of a score table whose every metric is known by hand."""

from __future__ import annotations

from typing import Any

from ecdd.evaluation.score_table import COLUMNS, SCORED, Plan

PAYLOAD, CONTRACT = "a" * 64, "b" * 64


def row(index: int, label: int | None, verdict: str, probability: float | None, **other: Any) -> dict[str, Any]:
    """One row, untouched."""
    blank: dict[str, Any] = dict.fromkeys(COLUMNS)
    known = {"index": index, "path": f"{index}.jpg", "label": label, "source": "made", "transform": "untouched"}
    known |= {"scope": "ood" if label is None else "face", "outcome": SCORED, "verdict": verdict, "faces": 1}
    known |= {"probability": probability, "logit": None if probability is None else probability * 4 - 2}
    digests = {"reason_codes": "", "detail": "", "payload_digest": PAYLOAD, "contract_digest": CONTRACT}
    return blank | known | digests | other


def failed(index: int, label: int, outcome: str = "error") -> dict[str, Any]:
    """A picture on which the detector crashed, or that is not there."""
    return row(index, label, "abstain", None, outcome=outcome, reason_codes="SY-001")


def plan_for(rows: list[dict[str, Any]]) -> Plan:
    """The plan that these rows fulfil."""
    return Plan(PAYLOAD, CONTRACT, "c" * 64, "d" * 64, ("untouched",), len(rows))
