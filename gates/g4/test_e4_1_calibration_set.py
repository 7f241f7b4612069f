"""E4.1: the calibration set exists, is large and balanced enough, was never trained or tested on, and is not stale."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pytest

from ecdd.calibration import calibration_set_contract as contract_of_the_set
from ecdd.dataset_governance.lineage_history import split_cited
from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
from ecdd.evidence.pytest_plugin import RUN
from gates.g2.portraits import SPLIT
from gates.g4.conftest import no_logits


@pytest.mark.experiment("E4.1")
def test_the_record_is_of_these_logits_and_this_model(evidence: Any, bundle: Any, policy: Any, committed: Any) -> None:
    if committed is None:
        no_logits(evidence)
        return
    record = bundle.calibration
    model = hashlib.sha256(bundle.read("model.tflite")).hexdigest()
    wrong = [
        f"{name}: record {said}, found {found}"
        for name, said, found in (
            ("calibration_set_digest", record.calibration_set_digest, committed.judged.digest),
            ("fitted_on_model_sha256", record.fitted_on_model_sha256, model),
            ("n_real", record.n_real, committed.judged.n_real),
            ("n_fake", record.n_fake, committed.judged.n_fake),
        )
        if said != found
    ]
    evidence.none("record_differs_from_the_set", wrong, n=4, unit="value")
    least = policy.calibration.min_samples_per_class
    for name, count in (("real", committed.judged.n_real), ("fake", committed.judged.n_fake)):
        evidence.check(f"judged_{name}_pictures", count, limit=least, op=">=", unit="picture", n=count)


@pytest.mark.experiment("E4.1")
def test_the_set_is_all_of_calibration_and_nothing_of_train_or_test(evidence: Any, bundle: Any, committed: Any) -> None:
    """By digest and by near-duplicate group, on the committed split as it stood when the bundle was made."""
    if committed is None:
        no_logits(evidence)
        return
    record = bundle.path / "training_record.json"
    split = split_cited(SPLIT, json.loads(record.read_text("utf-8")) if record.is_file() else {})
    scored = {picture.sha256: picture for picture in committed.pictures}
    if not set(scored) & set(split.rows):
        evidence.not_tested("disjointness", "no picture of the set is in golden/data_split.csv: another data set")
        return
    tagged = {row.sha256 for row in split.rows_with([LineageTag.CALIBRATION]) if row.scope == "face"}
    evidence.none("pictures_not_tagged_calibration", sorted(set(scored) - tagged), n=len(scored))
    evidence.none("calibration_pictures_missing", sorted(tagged - set(scored)), n=len(tagged))
    others = {row.near_duplicate_group for row in split.rows.values() if row.lineage != LineageTag.CALIBRATION}
    crossing = [key for key, picture in scored.items() if picture.group in others]
    evidence.none("near_duplicates_in_another_part", crossing, n=len(scored))
    repeated = [key for key, count in Counter(picture.sha256 for picture in committed.pictures).items() if count > 1]
    evidence.none("pictures_scored_twice", repeated, n=len(committed.pictures))
    wrong = [key for key, p in scored.items() if key in split.rows and str(p.label) != split.rows[key].label]
    evidence.none("labels_differing_from_the_split", wrong, n=len(scored))


@pytest.mark.experiment("E4.1")
def test_every_source_is_there_and_counted(evidence: Any, committed: Any) -> None:
    """Stratified by source: no source of the split is missing, and what the guardrails kept out is counted."""
    if committed is None:
        no_logits(evidence)
        return
    rows = []
    for source in sorted({picture.source for picture in committed.pictures}):
        mine = [picture for picture in committed.pictures if picture.source == source]
        judged = sum(picture.logit is not None for picture in mine)
        outcomes = Counter(picture.outcome for picture in mine if picture.logit is None)
        shown = ", ".join(f"{code} {count}" for code, count in sorted(outcomes.items())) or "none"
        row = {"source": source, "label": mine[0].label, "pictures": len(mine), "judged": judged, "not_judged": shown}
        rows.append(row)
    evidence.table("sources", rows)
    evidence.none(
        "sources_never_judged", [row["source"] for row in rows if not row["judged"]], n=len(rows), unit="source"
    )
    mixed = [row["source"] for row in rows
             if len({p.label for p in committed.pictures if p.source == row["source"]}) > 1]  # fmt: skip
    evidence.measure("sources_with_both_classes", ", ".join(mixed) or "none: source and class are confounded")


@pytest.mark.experiment("E4.1")
def test_the_set_is_not_stale(evidence: Any, bundle: Any, policy: Any, request: pytest.FixtureRequest) -> None:
    as_of = request.config.stash[RUN].options.as_of
    age = (as_of - bundle.calibration.created).days
    evidence.check("age", age, limit=policy.calibration.max_age_days, unit="day", clause="calibration.max_age_days")
    evidence.check("frozen_in_the_future", int(age < 0), limit=0, op="==")


@pytest.mark.experiment("E4.1")
def test_pictures_give_the_committed_logits(
    evidence: Any, bundle: Any, policy: Any, committed: Any, data_root: Any
) -> None:
    """The exact pipeline and the shipped model, run again on the pictures."""
    if committed is None or data_root is None:
        evidence.not_tested("logits from pictures", "needs --data and a bundle with calibration logits")
        return
    from ecdd.dataset_governance.manifest import load_manifest
    from ecdd.dataset_governance.usable_faces import usable_faces

    rows = usable_faces(load_manifest(data_root), load_split(SPLIT), [LineageTag.CALIBRATION])
    scored = contract_of_the_set.score_pictures(rows, policy, [bundle.read("model.tflite")])
    now = {p.sha256: p for (p,) in scored}
    then = {p.sha256: p for p in committed.pictures}
    outcomes = [key for key in then if key not in now or now[key].outcome != then[key].outcome]
    evidence.none("outcomes_differing", outcomes, n=len(then))
    moved = [(abs(now[key].logit - p.logit), key) for key, p in then.items() if p.logit is not None and key in now
             and now[key].logit is not None]  # fmt: skip
    worst = max(moved)
    limit = policy.pooling.tolerance_s6
    evidence.check("logit_differs", worst[0], limit=limit, unit="logit", worst=[worst[1][:12]], n=len(moved))
