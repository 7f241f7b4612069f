"""A score table held against the bundle that it claims to be of: digests in a file prove nothing of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ecdd.contract.model_sections import OperatingPoint
from ecdd.evaluation.metrics import Row
from ecdd.evaluation.score_table import SCORED
from ecdd.evaluation.transforms import UNTOUCHED

HELD_OUT: Final = "TEST-NEVER-TOUCH"


def not_held_out(rows: Sequence[Row], fitted_on: Collection[str]) -> list[str]:
    """Pictures of a held-out table that are not held out, or stand in it twice.

    Parameters
    ----------
    rows : sequence of mapping
        Of the whole table.
    fitted_on : collection of str
        SHA-256 of the pictures that the bundle's calibration was fitted on.

    Returns
    -------
    list of str
        Picture and reason; empty when every picture is tagged TEST-NEVER-TOUCH, was not fitted on, and stands once.
    """
    untouched = [row for row in rows if row["transform"] == UNTOUCHED]
    times = Counter(row["file_sha256"] for row in untouched if row["file_sha256"] is not None)
    found = [f"{row['path']}: lineage {row['lineage']}" for row in untouched if row["lineage"] != HELD_OUT]
    found += [f"{row['path']}: calibrated on" for row in untouched if row["file_sha256"] in fitted_on]
    found += [f"{row['path']}: stands {times[row['file_sha256']]} times" for row in untouched
              if times[row["file_sha256"]] > 1]  # fmt: skip
    about = {row["index"]: _about(row) for row in untouched}
    found += [f"{row['path']} {row['transform']}: another picture or label than untouched" for row in rows
              if _about(row) != about[row["index"]]]  # fmt: skip
    return found


def _about(row: Row) -> tuple[object, ...]:
    return tuple(row[name] for name in ("path", "label", "scope", "source", "lineage"))


def not_of_this_bundle(
    rows: Sequence[Row],
    point: OperatingPoint,
    probability_of: Callable[[float], float],
    logits: Mapping[str, float | None],
    tolerance: float,
) -> list[str]:
    """Rows whose numbers another calibration, other thresholds or another model must have made.

    Parameters
    ----------
    rows : sequence of mapping
        Of one table.
    point : OperatingPoint
        Thresholds.
    probability_of : callable
        The bundle's calibration, from a pooled logit to P(fake).
    logits : mapping of str to float or None
        Logits that the bundle's own record has, by SHA-256 of the picture.
    tolerance : float
        Of a probability and of a logit.

    Returns
    -------
    list of str
        Picture and reason; empty when all follow.
    """
    found = []
    for row in rows:
        p, where = row["probability"], f"{row['path']} {row['transform']}"
        known = logits.get(row["file_sha256"]) if row["transform"] == UNTOUCHED else None
        if known is not None and (row["logit"] is None or abs(row["logit"] - known) > tolerance):
            found.append(f"{where}: logit {row['logit']}, its calibration record says {known:.6g}")
        if row["outcome"] != SCORED or p is None:
            continue
        if abs(probability_of(row["logit"]) - p) > tolerance:
            found.append(f"{where}: P(fake) {p:.6g}, the calibration makes {probability_of(row['logit']):.6g}")
        # a face that failed a gate may make a picture abstain below t_fake, and nothing else may
        allowed = {"fake"} if p >= point.t_fake else {"real", "abstain"} if p <= point.t_real else {"abstain"}
        if row["verdict"] not in allowed:
            found.append(f"{where}: verdict {row['verdict']} at P(fake) {p:.6g}")
    return found
