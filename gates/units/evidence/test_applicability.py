"""A release believes *not applicable* only where the contract's value rules the thing out."""

from __future__ import annotations

import pytest

from ecdd.bundle.loading import default_bundle_path, load_bundle
from ecdd.contract.loading import load_contract
from ecdd.evidence.applicability import RULED_OUT, not_ruled_out
from ecdd.evidence.claims import compare_claims
from ecdd.evidence.declarations import load_specification
from ecdd.evidence.merging import read_records
from ecdd.evidence.records import ExperimentRecord, RuledOut, record_text
from gates.support.spec_binding import ROOT


@pytest.fixture(scope="module")
def record() -> ExperimentRecord:
    return read_records(ROOT / "reports" / "default")["E3.1"]


def _with(record: ExperimentRecord, knob: str) -> ExperimentRecord:
    return record.model_copy(update={"id": "E3.2", "not_applicable": (RuledOut(what="boxes in the file", knob=knob),)})


def test_the_value_decides(record: ExperimentRecord) -> None:
    knob = "face_detector.crop_alignment"
    assert not_ruled_out(_with(record, knob), {knob: "eye_line"}) == []
    (said,) = not_ruled_out(_with(record, knob), {knob: "axis_aligned"})
    assert f"{knob} = axis_aligned does not rule it out" in said


def test_another_knob_or_experiment_rules_nothing_out(record: ExperimentRecord) -> None:
    assert not_ruled_out(_with(record, "pooling.rule"), {"pooling.rule": "mean"})
    other = _with(record, "face_detector.crop_alignment").model_copy(update={"id": "E1.8"})
    assert not_ruled_out(other, {"face_detector.crop_alignment": "eye_line"})


def test_a_map_is_ruled_out_where_an_output_has_none(record: ExperimentRecord) -> None:
    """Contracts from before the knob have a map in every file."""
    knob = "model_interface.map_name"
    without_map = _with(record, knob).model_copy(update={"id": "E5.2"})
    assert not_ruled_out(without_map, {knob: {"tflite": "", "onnx": ""}}) == []
    for values in ({knob: {"tflite": "patch_map", "onnx": "patch_map"}}, {}):
        assert len(not_ruled_out(without_map, values)) == 1


def test_the_table_names_knobs_of_the_contract() -> None:
    values = load_contract(default_bundle_path() / "policy_contract.yaml").values
    assert {knob for knobs in RULED_OUT.values() for knob in knobs} <= set(values)


def test_records_before_this_verdict_keep_their_text(record: ExperimentRecord) -> None:
    path = ROOT / "reports" / "default" / "phase3_results" / "E3.1.json"
    assert record_text(record) == path.read_text(encoding="utf-8")
    assert '"knob": "pooling.rule"' in record_text(_with(record, "pooling.rule"))


def test_a_claim_that_does_not_apply_is_neither_supported_nor_missing() -> None:
    records = read_records(ROOT / "reports" / "default")
    found = compare_claims(load_bundle().contract, records, load_specification())
    assert found.not_applicable == ("E3.2",)
    assert set(found.supported) == {claim for claim in found.supported if records[claim].verdict == "pass"}
    assert not {"E3.2"} & {*found.supported, *found.unsupported}
