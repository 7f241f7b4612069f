"""E3.3 pooling rules: pooling rules are compared on the same maps by real/fake separation, over-reaction to one
injected noisy patch, and stability under JPEG and re-resize; the choice is frozen in the contract.

The rule decides whether one bright patch is a forgery or a speck. Fails when pooled logits differ from the frozen
ones, when the contract's rule is not the one that the comparison picks, or when it does not separate the calibration
pictures.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.variants import SCORES_FILE
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.inference.pooling import RULES, pool, pooled_logits
from ecdd.pipeline.preprocess import normalise
from gates.support.fixtures import Bundle, Detector, Evidence, NotTested, PolicyContract
from gates.support.frozen_maps import FrozenFace
from gates.support.pooling_study import (
    Studied,
    StudiedFace,
    Studies,
    auc,
    choose,
    name_of,
    reference_pool,
    study,
    variants,
)


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.3")
def test_pooled_logit_is_the_golden_one(
    evidence: Evidence, policy: PolicyContract, frozen_faces: list[FrozenFace]
) -> None:
    """S6 from the frozen S5 by the contract's rule, against the frozen S6 and against float64."""
    rule, limit, n = policy.pooling, policy.pooling.tolerance_s6, len(frozen_faces)
    off = max((abs(pool(face.patch_map, rule) - face.pooled_logit), face.name) for face in frozen_faces)
    evidence.check("s6_differs", off[0], limit=limit, unit="logit", worst=[off[1]], n=n, clause="pooling.tolerance_s6")
    for name, other in variants(rule, *RULES).items():
        off = max((abs(pool(f.patch_map, other) - reference_pool(f.patch_map, other)), f.name) for f in frozen_faces)
        evidence.check(f"{name}_differs_from_float64", off[0], limit=limit, unit="logit", worst=[off[1]], n=n)


@pytest.mark.experiment("E3.3")
def test_larger_means_fake(
    evidence: Evidence, detector: Detector, policy: PolicyContract, frozen_faces: list[FrozenFace]
) -> None:
    """The golden fake with the largest frozen S6 and the golden real face with the smallest keep their order."""
    fake = max((f for f in frozen_faces if f.label == "fake"), key=lambda f: f.pooled_logit)
    real = min((f for f in frozen_faces if f.label == "real"), key=lambda f: f.pooled_logit)
    batch = np.stack([normalise(f.s3, policy.pixel_pipeline) for f in (fake, real)])
    now = pooled_logits(detector.runtime.outputs(batch), policy.pooling).tolist()
    names = [f"{fake.name} {now[0]:.3f}", f"{real.name} {now[1]:.3f}"]
    evidence.check("known_pair_margin", now[0] - now[1], limit=0, op=">", unit="logit", worst=names, n=2)


@pytest.mark.experiment("E3.3")
def test_calibration_logits_follow_their_labels(evidence: Evidence, bundle: Bundle) -> None:
    """A label that the training's loader inverted turns the calibration logits of a whole data set against them."""
    if SCORES_FILE not in bundle.manifest.files:
        raise NotTested("calibration logits against labels", f"the bundle has no {SCORES_FILE}")
    judged = [p for p in read_scores(bundle.path / SCORES_FILE) if p.logit is not None]
    labels, logits = np.array([p.label for p in judged]), np.array([p.logit for p in judged], np.float64)
    evidence.check("calibration_logits_auc", auc(logits, labels), limit=0.5, op=">", unit="AUC", n=len(judged))


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.3")
def test_golden_pictures_do_not_refute_the_rule(evidence: Evidence, studied: Studies, policy: PolicyContract) -> None:
    """Thirty faces cannot choose a rule, but they can show one to be wrong: first two steps of the rule of choice."""
    found, _, _ = _chosen(evidence, "golden", studied("golden"), policy)
    row = found[name_of(policy.pooling)].row
    limit = policy.pooling.max_patch_reaction
    evidence.check("golden_largest_patch_reaction", row["largest_patch_reaction"], limit=limit, unit="sd of the logit",
                   worst=[row["worst_face"]], n=row["faces"])  # fmt: skip
    evidence.check("golden_auc_below_best_bound", row.get("auc_below_best_bound"), limit=0, unit="AUC", n=row["faces"])
    evidence.check("golden_nll_above_best_bound", row.get("nll_above_best_bound"), limit=0, unit="nat", n=row["faces"])


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.3")
def test_data_choose_the_rule_and_its_trimmed_fraction(
    evidence: Evidence, studied: Studies, policy: PolicyContract
) -> None:
    """CALIBRATION pictures: the rule of choice gives the contract's rule, and its fraction among trimmed means."""
    faces = studied("data")
    if not faces:
        raise NotTested("choice of the pooling rule", "needs --data")
    found, labels, chosen = _chosen(evidence, "data", faces, policy)
    limit, confidence = policy.pooling.max_patch_reaction, policy.operating_point.confidence
    evidence.measure("chosen_rule", chosen)
    evidence.check("contract_holds_the_chosen_rule", int(chosen == name_of(policy.pooling)), limit=1, op="==",
                   worst=[chosen], n=len(labels))  # fmt: skip
    trimmed = choose({k: v for k, v in found.items() if k.startswith("trimmed")}, labels, limit, confidence)
    same = int(trimmed == name_of(policy.pooling, "trimmed_mean"))
    evidence.check("contract_holds_the_chosen_fraction", same, limit=1, op="==", worst=[trimmed], n=len(labels))


def _chosen(
    evidence: Evidence, origin: str, faces: list[StudiedFace], policy: PolicyContract
) -> tuple[dict[str, Studied], NDArray[np.int64], str]:
    found = study(faces, variants(policy.pooling, *RULES))
    labels = np.array([face.label for face in faces])
    chosen = choose(found, labels, policy.pooling.max_patch_reaction, policy.operating_point.confidence)
    evidence.table(f"pooling_{origin}", [studied.row for studied in found.values()])
    return found, labels, chosen
