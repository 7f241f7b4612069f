"""Defects of the canary: rollbacks that do not fire, streams that are not one, crashes that vanish, and chance.

All of them are in comparing, so the answers that are compared are those of the run without defect.
"""

from __future__ import annotations

from typing import Any

from gates.mutants.stored_results import answers_of_the_rehearsal


def rollback_ignored() -> None:
    """Whatever the metrics say, the candidate is promoted."""
    from ecdd.monitoring import canary

    answers_of_the_rehearsal()
    canary.decide = lambda _changes, _least: ("promote", ())


def unpaired_streams() -> None:
    """Answers are put side by side without a look at the pictures they are of."""
    from ecdd.monitoring import canary

    answers_of_the_rehearsal()
    canary.paired = lambda current, candidate: list(zip(current, candidate, strict=False))


def crash_ignored() -> None:
    """Pictures on which the candidate broke are left out of the comparison."""
    from ecdd.monitoring import canary

    answers_of_the_rehearsal()
    really = canary.paired
    canary.paired = lambda current, candidate: [
        pair for pair in really(current, candidate) if "error" not in (pair[0]["outcome"], pair[1]["outcome"])
    ]


def canary_of_few() -> None:
    """A handful of pictures is enough."""
    from ecdd.monitoring import canary

    answers_of_the_rehearsal()
    really = canary.compare

    def planted(current: Any, candidate: Any, policy: Any, **more: Any) -> Any:
        release = policy.release.model_copy(update={"canary_min_pictures": 5})
        return really(current, candidate, policy.model_copy(update={"release": release}), **more)

    canary.compare = planted


def rollback_by_chance() -> None:
    """Any increase beyond the limit rolls back, whether or not it could be chance."""
    from ecdd.monitoring import canary

    answers_of_the_rehearsal()
    canary.exchange_test = lambda _differences, _seed: 0.0


def canary_at_the_limit() -> None:
    """A candidate that uses up what it is allowed is taken back."""
    import math

    from ecdd.monitoring import canary

    really = canary._finding
    canary._finding = lambda value, high, p, limit, confidence: really(
        value, high, p, math.nextafter(limit, -math.inf), confidence
    )
