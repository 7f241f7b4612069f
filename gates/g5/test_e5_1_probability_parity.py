"""E5.1 probability parity: between the float reference and every mode, end to end, max |Δp| is at most ε, and the
rank correlation and the number of decisions that flip stay within the contract's limits.

What is shipped is quantised, what was evaluated is not. Each side has the calibration and thresholds that were fitted
on its own logits. Fails when a probability, a rank or a decision of a mode moves beyond the contract's limits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecdd.bundle.variants import SCORES_FILE, modes, place
from ecdd.calibration.binomial_bounds import clopper_pearson
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.golden.golden_sets import SetName
from ecdd.inference.calibration import probability
from ecdd.parity.float_vs_tflite import probability_parity
from ecdd.parity.pair_comparison import SAME_FILE, ComparedSide, PairParity, compare_pair
from ecdd.parity.pictures import InputRule, PicturePipeline
from ecdd.parity.runtime_pair import calibration_for
from gates.support.fixtures import Bundle, Evidence, GoldenSet, LoadedContract, NotTested, PolicyContract
from gates.support.mode_parity import FLOAT, REFERENCE, hold, limits_of, side_of
from gates.support.portraits import data_portraits

SETS: tuple[SetName, ...] = ("in_scope", "edge_cases")  # golden sets whose faces reach the model


def _whole_files(bundle: Bundle, contract: LoadedContract, mode: str, pictures: list[tuple[str, Path]]) -> PairParity:
    """Both sides decode, find faces, crop and normalise by themselves."""
    sides = [side_of(bundle, contract.policy, what) for what in (REFERENCE, mode)]
    pixels = contract.policy.pixel_pipeline.input_size
    rule = InputRule(contract, (pixels, pixels), whole_picture=False)
    compared = [ComparedSide(side, PicturePipeline(rule), side.calibration) for side in sides]
    limits = limits_of(bundle, contract.policy, mode)
    return compare_pair(compared[0], compared[1], pictures, contract.policy.pooling, limits)


@pytest.mark.experiment("E5.1")
@pytest.mark.parametrize("name", SETS)
def test_golden_files(
    evidence: Evidence, bundle: Bundle, contract: LoadedContract, golden: GoldenSet, mode: str, name: SetName
) -> None:
    """Some twenty pictures cannot show a share of one in a hundred: flips are held by what they refute."""
    parity = _whole_files(bundle, contract, mode, [(item.id, golden.file(item)) for item in golden.by_set(name)])
    policy, metrics = contract.policy, {one.name: one for one in parity.same_file}
    flips = metrics[f"{SAME_FILE}probability.decision_flips"]
    hold(evidence, mode, [*(metrics | {flips.name: replace(flips, limit=None)}).values()])
    if limits_of(bundle, policy, mode) is not None:
        low, _ = clopper_pearson(round((flips.value or 0.0) * flips.n), flips.n, policy.operating_point.confidence)
        limit, clause = policy.quantization.max_decision_flips, "quantization.max_decision_flips"
        shown, worst = f"{mode}.decision_flips_lower_bound", flips.worst or None
        evidence.check(shown, low, limit=limit, unit="share", worst=worst, n=flips.n, clause=clause)
    assert parity.probability is not None, "both sides are calibrated"
    turned = [flip for flip in parity.probability.flips or () if "abstain" not in {flip.was, flip.became}]
    names = [parity.names[flip.sample] for flip in turned]
    evidence.none(f"{mode}.real_to_fake_or_back", names, n=len(parity.names), unit="")


@pytest.mark.experiment("E5.1")
def test_pictures_that_nobody_calibrated_on(
    evidence: Evidence, bundle: Bundle, contract: LoadedContract, data_root: Path | None, mode: str
) -> None:
    """Held-out portraits of ``--data``, all limits as they stand in the contract."""
    portraits = data_portraits(data_root, "face", ("TEST-NEVER-TOUCH",))
    if not portraits:
        raise NotTested(f"{mode} on held-out pictures", "needs --data with portraits tagged TEST-NEVER-TOUCH")
    parity = _whole_files(bundle, contract, mode, [(one.name, one.path) for one in portraits])
    hold(evidence, mode, parity.same_file)


@pytest.mark.experiment("E5.1")
def test_calibration_pictures(evidence: Evidence, bundle: Bundle, policy: PolicyContract, mode: str) -> None:
    """From the logits that the bundle holds: those of the mode's own file against the float file's."""
    held = [place(bundle, one, SCORES_FILE) for one in (FLOAT, mode) if one in modes(bundle)]
    names = [name for name in held if name in bundle.manifest.files]
    if len(names) < 2:
        raise NotTested(
            f"{mode} on calibration pictures", f"this bundle holds no calibration logits of {FLOAT} and {mode}"
        )
    of_float, of_mode = (_judged_logits(bundle.file(name)) for name in names)
    evidence.check(f"{mode}.other_pictures", len(of_float.keys() ^ of_mode.keys()), limit=0, op="==", n=len(of_float))
    float_side, mode_side = (calibration_for(bundle, one, "its own model") for one in (FLOAT, mode))
    p = np.array([probability(float_side.applied.logit(logit)) for logit in of_float.values()])
    q = np.array([probability(mode_side.applied.logit(of_mode[key])) for key in of_float])
    parity = probability_parity(p, q, float_side.band, mode_side.band)
    hold(evidence, mode, parity.metrics(limits_of(bundle, policy, mode), [key[:12] for key in of_float]))
    # a sigmoid in integers has 256 steps; in float no two logits may meet in one probability
    met = len({of_mode[key] for key in of_float}) - len(set(q.tolist()))
    evidence.check(f"{mode}.logits_that_meet_in_a_probability", met, limit=0, op="==", n=len(q))


def _judged_logits(path: Path) -> dict[str, float]:
    """Pooled logit by SHA-256 of the pictures that reached the model."""
    return {one.sha256: one.logit for one in read_scores(path) if one.logit is not None}
