"""Which contract value is the limit of which metric, so that stored metrics can be held to another contract."""

from __future__ import annotations

from ecdd.evidence.records import Metric


def limit_key(metric: Metric) -> str | None:
    """Contract key whose value is this metric's limit, such as ``"operating_point.max_fpr"``; None where there is none.

    The check itself names the key as its clause; any other clause is an experiment's id or a sentence.
    """
    section, _, knob = metric.clause.partition(".")
    return metric.clause if knob and section.islower() else None
