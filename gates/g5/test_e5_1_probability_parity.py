"""E5.1 probability parity: between the float reference and every mode, end to end, max |Δp| is at most ε, and the
rank correlation and the number of decisions that flip stay within the contract's limits.

What is shipped is quantised, what was evaluated is not. Each side has the calibration and thresholds that were fitted
on its own logits. Fails when a probability, a rank or a decision of a mode moves beyond the contract's limits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.bundle.variants import SCORES_FILE, place
from ecdd.calibration.binomial_bounds import clopper_pearson
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.inference.calibration import probability
from ecdd.parity.float_vs_tflite import probability_parity
from ecdd.parity.pair_comparison import ComparedSide, PairParity, compare_pair
from ecdd.parity.parity_metric import ParityMetric
from ecdd.parity.pictures import InputRule, PicturePipeline
from gates.g5.conftest import FLOAT, calibrated, limits_of, missing, record, side_of

SETS = ("in_scope", "edge_cases")  # golden sets whose faces reach the model


def _whole_files(bundle: Any, contract: Any, mode: str, pictures: list[tuple[str, Path]]) -> PairParity:
    """Both sides decode, find faces, crop and normalise by themselves."""
    sides = [side_of(bundle, contract.policy, what) for what in ("onnx", mode)]
    pixels = contract.policy.pixel_pipeline.input_size
    rule = InputRule(contract, (pixels, pixels), whole_picture=False)
    compared = [ComparedSide(side, PicturePipeline(rule), side.calibration) for side in sides]
    limits = limits_of(bundle, contract.policy, mode)
    return compare_pair(compared[0], compared[1], pictures, contract.policy.pooling, limits)


def _same_file(parity: PairParity) -> list[ParityMetric]:
    return [one for one in parity.metrics if one.name.startswith("same_file.")]


@pytest.mark.experiment("E5.1")
@pytest.mark.parametrize("name", SETS)
def test_golden_files(evidence: Any, bundle: Any, contract: Any, golden: Any, mode: str, name: str) -> None:
    """Some twenty pictures cannot show a share of one in a hundred: flips are held by what they refute."""
    if missing(evidence, bundle, mode):
        return
    parity = _whole_files(bundle, contract, mode, [(item.id, golden.file(item)) for item in golden.by_set(name)])
    metrics = _same_file(parity)
    few = [one for one in metrics if one.name.endswith("decision_flips")]
    record(evidence, mode, [replace(one, limit=None) if one in few else one for one in metrics])
    limits = limits_of(bundle, contract.policy, mode)
    for one in few if limits is not None else ():
        flips, confidence = round((one.value or 0.0) * one.n), contract.policy.operating_point.confidence
        low, _ = clopper_pearson(flips, one.n, confidence)
        limit, clause = contract.policy.quantization.max_decision_flips, "quantization.max_decision_flips"
        name = f"{mode}.decision_flips_lower_bound"
        evidence.check(name, low, limit=limit, unit="share", worst=one.worst or None, n=one.n, clause=clause)
    turned = [flip for flip in (parity.probability.flips or ()) if "abstain" not in {flip.was, flip.became}]
    names = [parity.names[flip.sample] for flip in turned]
    evidence.check(f"{mode}.real_to_fake_or_back", len(turned), limit=0, op="==", worst=names[:3], n=len(parity.names))


@pytest.mark.experiment("E5.1")
def test_pictures_that_nobody_calibrated_on(
    evidence: Any, bundle: Any, contract: Any, data_root: Path | None, mode: str
) -> None:
    if missing(evidence, bundle, mode):
        return
    if data_root is None:
        evidence.not_tested(f"{mode} on held-out pictures", "needs --data")
        return
    from gates.support.portraits import data_portraits

    portraits = data_portraits(data_root, "face", ("TEST-NEVER-TOUCH",))
    parity = _whole_files(bundle, contract, mode, [(one.name, one.path) for one in portraits])
    record(evidence, mode, _same_file(parity))


@pytest.mark.experiment("E5.1")
def test_calibration_pictures(evidence: Any, bundle: Any, policy: Any, mode: str) -> None:
    """From the logits that the bundle holds: those of the mode's own file against the float file's."""
    if missing(evidence, bundle, mode):
        return
    if place(bundle, mode, SCORES_FILE) not in bundle.manifest.files or missing(evidence, bundle, FLOAT):
        evidence.not_tested(f"{mode} on calibration pictures", "this bundle holds no calibration logits")
        return
    rows = [read_scores(bundle.file(place(bundle, one, SCORES_FILE))) for one in (FLOAT, mode)]
    ids = [[one.sha256 for one in side if one.logit is not None] for side in rows]
    evidence.check(f"{mode}.other_pictures", len(set(ids[0]) ^ set(ids[1])), limit=0, op="==", n=len(ids[0]))
    logits = [{one.sha256: one.logit for one in side} for side in rows]
    sides = [calibrated(bundle, one) for one in (FLOAT, mode)]
    p, q = (
        np.array([probability(side.applied.logit(own[key])) for key in ids[0]])
        for side, own in zip(sides, logits, strict=True)
    )
    parity = probability_parity(p, q, sides[0].band, sides[1].band)
    record(evidence, mode, parity.metrics(limits_of(bundle, policy, mode), [key[:12] for key in ids[0]]))
    # a sigmoid in integers has 256 steps; in float no two logits may meet in one probability
    met = len({logits[1][key] for key in ids[0]}) - len(set(q.tolist()))
    evidence.check(f"{mode}.logits_that_meet_in_a_probability", met, limit=0, op="==", n=len(q))
