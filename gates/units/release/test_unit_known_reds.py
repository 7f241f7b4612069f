"""A record that is red although no test of it failed is known red to a release, like a test that failed."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from ecdd.bundle import bundle_path, load_bundle
from ecdd.evidence.declarations import load_specification
from ecdd.evidence.edits import examine
from ecdd.evidence.merging import read_records, write_records
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.session import RunOptions
from ecdd.evidence.verdicts import judge_record
from ecdd.release.approval import decide
from ecdd.release.gathering import _join, note_reds
from ecdd.release.waivers import Waiver
from ecdd.specification import GOLDEN
from gates.support.made_evidence import make_evidence

KEY = "E1.9"
TODAY = datetime.date(2026, 11, 24)


@pytest.mark.parametrize(("value", "known"), [(1e9, True), (0.0, False)])
def test_where_the_gates_keep_a_run_a_release_looks_for_reds(
    value: float, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without being told of that folder: a red there cannot be waived."""
    monkeypatch.chdir(tmp_path)
    bundle = load_bundle(bundle_path("tiny"))
    options = RunOptions(tmp_path, bundle.path, None, GOLDEN, None, None, None, TODAY)
    make_evidence(options.folder, bundle, load_specification(), {KEY: value})
    waiver = Waiver(id=KEY, reason="measured by hand", owner="A. Person", expiry=TODAY)
    reasons = decide(bundle, [], [waiver], TODAY).reasons
    assert any(f"waiver of {KEY}: known red for this payload" in reason for reason in reasons) == known


@pytest.mark.parametrize("value", [1e9, 0.0])
def test_what_is_red_and_not_claimed_is_said_so(value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves an experiment out of the claims says at least that it is known to be red."""
    monkeypatch.chdir(tmp_path)
    bundle = load_bundle(bundle_path("tiny"))
    options = RunOptions(tmp_path, bundle.path, None, GOLDEN, None, None, None, TODAY)
    make_evidence(options.folder, bundle, load_specification(), {"E6.5": value})
    said = next(one for one in decide(bundle, [], [], TODAY).not_claimed if one.startswith("E6.5 "))
    assert ("(red in " in said) == bool(value)


def test_of_several_runs_the_red_one_counts(tmp_path: Path) -> None:
    """A green record never takes the place of a red one, nor one that measured nothing of a green one."""
    bundle = load_bundle(bundle_path("tiny"))
    found = {}
    for name, value in (("green", 0.0), ("red", 1e9)):
        make_evidence(tmp_path / name, bundle, load_specification(), {KEY: value})
        found[name] = read_records(tmp_path / name)[KEY]
    green, red = found["green"], found["red"]
    assert (judge_record(green), judge_record(red)) == ("pass", "fail")
    for first, second, kept in ((red, green, red), (green, red, red), (green, green, green), (red, red, red)):
        records: dict[str, ExperimentRecord] = {}
        _join(records, KEY, first)
        _join(records, KEY, second)
        assert judge_record(records[KEY]) == judge_record(kept)


@pytest.mark.parametrize(("payload", "noted"), [({}, True), ({"payload_digest": "0" * 64}, False)])
def test_a_record_that_lacks_a_test_is_noted(payload: dict[str, str], noted: bool, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_path("tiny"))
    make_evidence(tmp_path, bundle, load_specification(), {KEY: 0.0}, **payload)
    red: dict[str, str] = {}
    note_reds(bundle, tmp_path, examine(tmp_path), red)
    assert red == {}
    record = read_records(tmp_path)[KEY]
    counts = record.tests.model_copy(update={"missing": ("test_that_is_gone",)})
    write_records(tmp_path, {KEY: record.model_copy(update={"tests": counts})})
    note_reds(bundle, tmp_path, examine(tmp_path), red)
    assert red == ({KEY: str(tmp_path)} if noted else {})
