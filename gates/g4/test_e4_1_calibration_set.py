"""E4.1 calibration-set contract: the calibration set exists, was collected through the exact pipeline, and keeps its
contract on size, sampling, disjointness from training and test (by hash and near-duplicate) and age.

Thresholds fitted on training pictures, on few pictures or on old ones promise what they cannot keep. Fails when a
class is too small, the mixture is not the rule's, a picture or its copy was trained or tested on, the set is too old,
or its logits cannot be made again from the pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ecdd.calibration.calibration_set_contract import ScoredPicture, score_pictures
from ecdd.dataset_governance.lineage_history import split_cited
from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
from ecdd.evidence.pytest_plugin import RUN
from gates.support.calibration_set import CalibrationSet
from gates.support.fixtures import Bundle, Evidence, NotTested, PolicyContract
from gates.support.portraits import split_of


@pytest.mark.experiment("E4.1")
def test_the_record_is_of_these_logits_and_this_model(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, calibration_set: CalibrationSet
) -> None:
    record, judged = bundle.calibration, calibration_set.judged
    found = {
        "calibration_set_digest": judged.digest,
        "fitted_on_model_sha256": hashlib.sha256(bundle.read("model.tflite")).hexdigest(),
        "n_real": judged.n_real,
        "n_fake": judged.n_fake,
    }
    said = {name: getattr(record, name) for name in found}
    wrong = [f"{name}: record {said[name]}, found {found[name]}" for name in found if said[name] != found[name]]
    evidence.none("record_differs_from_the_set", wrong, n=len(found), unit="value")
    least = policy.calibration.min_samples_per_class
    for name, count in (("real", judged.n_real), ("fake", judged.n_fake)):
        evidence.check(f"judged_{name}_pictures", count, limit=least, op=">=", unit="picture", n=count,
                       clause="calibration.min_samples_per_class")  # fmt: skip


@pytest.mark.experiment("E4.1")
def test_the_set_is_all_of_calibration_and_nothing_of_train_or_test(
    evidence: Evidence, bundle: Bundle, calibration_set: CalibrationSet, data_root: Path | None
) -> None:
    """By digest and by near-duplicate group, on the split as it stood when the bundle was made.

    The split is the one beside ``--data``, where there is one, or the committed one: pictures of another team are
    held to that team's tags.
    """
    record = bundle.path / "training_record.json"
    split = split_cited(split_of(data_root), json.loads(record.read_text("utf-8")) if record.is_file() else {})
    scored = {picture.sha256: picture for picture in calibration_set.pictures}
    if not set(scored) & set(split.rows):
        raise NotTested("disjointness", "no picture of the set is in golden/data_split.csv: another data set")
    evidence.measure("split", split.digest)
    tagged = {row.sha256 for row in split.rows_with([LineageTag.CALIBRATION]) if row.scope == "face"}
    evidence.none("pictures_not_tagged_calibration", sorted(set(scored) - tagged), n=len(scored))
    evidence.none("calibration_pictures_missing", sorted(tagged - set(scored)), n=len(tagged))
    others = {row.near_duplicate_group for row in split.rows.values() if row.lineage != LineageTag.CALIBRATION}
    crossing = [key for key, picture in scored.items() if picture.group in others]
    evidence.none("near_duplicates_in_another_part", crossing, n=len(scored))
    repeated = [
        key for key, count in Counter(picture.sha256 for picture in calibration_set.pictures).items() if count > 1
    ]
    evidence.none("pictures_scored_twice", repeated, n=len(calibration_set.pictures))
    wrong = [key for key, p in scored.items() if key in split.rows and str(p.label) != split.rows[key].label]
    evidence.none("labels_differing_from_the_split", wrong, n=len(scored))


@pytest.mark.experiment("E4.1")
def test_every_source_is_there_and_counted(evidence: Evidence, calibration_set: CalibrationSet) -> None:
    """Stratified by source: no source of the split is missing, and what the guardrails kept out is counted."""
    by_source: dict[str, list[ScoredPicture]] = {}
    for picture in sorted(calibration_set.pictures, key=lambda one: one.source):
        by_source.setdefault(picture.source, []).append(picture)
    evidence.table("sources", [_source_row(source, pictures) for source, pictures in by_source.items()])
    never = [source for source, pictures in by_source.items() if all(one.logit is None for one in pictures)]
    evidence.none("sources_never_judged", never, n=len(by_source), unit="source")
    mixed = [source for source, pictures in by_source.items() if len({one.label for one in pictures}) > 1]
    evidence.measure("sources_with_both_classes", ", ".join(mixed) or "none: source and class are confounded")


def _source_row(source: str, pictures: list[ScoredPicture]) -> dict[str, Any]:
    outcomes = Counter(one.outcome for one in pictures if one.logit is None)
    return {
        "source": source,
        "label": pictures[0].label,
        "pictures": len(pictures),
        "judged": len(pictures) - outcomes.total(),
        "not_judged": ", ".join(f"{code} {count}" for code, count in sorted(outcomes.items())) or "none",
    }


@pytest.mark.experiment("E4.1")
def test_the_set_is_not_stale(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, request: pytest.FixtureRequest
) -> None:
    as_of = request.config.stash[RUN].options.as_of
    age = (as_of - bundle.calibration.created).days
    evidence.check("age", age, limit=policy.calibration.max_age_days, unit="day", clause="calibration.max_age_days")
    evidence.check("frozen_in_the_future", int(age < 0), limit=0, op="==")


@pytest.mark.experiment("E4.1")
def test_pictures_give_the_committed_logits(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, calibration_set: CalibrationSet, data_root: Path | None
) -> None:
    """The exact pipeline and the shipped model, run again on the pictures."""
    if data_root is None:
        raise NotTested("logits from pictures", "needs --data")
    from ecdd.dataset_governance.manifest import load_manifest
    from ecdd.dataset_governance.usable_faces import usable_faces

    rows = usable_faces(load_manifest(data_root), load_split(split_of(data_root)), [LineageTag.CALIBRATION])
    scored = score_pictures(rows, policy, [bundle.read("model.tflite")])
    now = {picture.sha256: picture for (picture,) in scored}
    then = {picture.sha256: picture for picture in calibration_set.pictures}
    outcomes = [key for key in then if key not in now or now[key].outcome != then[key].outcome]
    evidence.none("outcomes_differing", outcomes, n=len(then))
    pairs = [(key, now[key].logit, then[key].logit) for key in then.keys() & now.keys()]
    moved = [(abs(a - b), key) for key, a, b in pairs if a is not None and b is not None]
    largest, worst = max(moved)
    limit = policy.pooling.tolerance_s6
    evidence.check("logit_differs", largest, limit=limit, unit="logit", worst=[worst[:12]], n=len(moved))
