"""Reasons for which a release is refused, each alone on evidence that would do; waivers; what stands on page one."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from ecdd.bundle import bundle_path, load_bundle, write_manifest
from ecdd.evidence.attestation import AttestationError, attest, check_fresh
from ecdd.evidence.claims import DECODER_DIFFERENCES, never_tested_on
from ecdd.evidence.declarations import load_specification
from ecdd.evidence.merging import read_records
from ecdd.evidence.records import Measurement
from ecdd.release.approval import Decision, _against, decide
from ecdd.release.approving import PAGE, REPORT, ReleaseError, check_released, page, release
from ecdd.release.signing import make_keys
from ecdd.release.waivers import Waiver, WaiverError, load_waivers
from gates.support.made_evidence import make_evidence, measure_too, reidentify
from gates.support.releasable import CLAIMS, make_bundle

pytestmark = pytest.mark.experiment("E6.4", rules=True)
TODAY = datetime.date(2026, 11, 24)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Folder with ``bundle`` and ``reports`` of all that it claims."""
    make_bundle(tmp_path / "bundle")
    _measure(tmp_path)
    return tmp_path


def _measure(here: Path, claims: tuple[str, ...] = CLAIMS) -> None:
    make_evidence(here / "reports", load_bundle(here / "bundle"), load_specification(), dict.fromkeys(claims, 0.5))


def _decide(here: Path, *waivers: Waiver) -> Decision:
    return decide(load_bundle(here / "bundle"), [here / "reports"], waivers, TODAY, partial=True, own_run=here)


def test_what_is_whole_is_approved(here: Path) -> None:
    decision = _decide(here)
    assert (decision.approved, decision.supported, decision.reasons) == (True, CLAIMS, ())


def test_what_the_model_was_never_tested_on_comes_first(tmp_path: Path) -> None:
    decision = decide(load_bundle(bundle_path("lite")), [], [], TODAY)
    shown = page(decision, "0" * 64)
    assert decision.never_tested_on == never_tested_on(bundle_path("lite"))
    assert all(f"- {text}" in shown for text in decision.never_tested_on)
    assert shown.index("## Never tested on") < shown.index("## Claimed and passed")
    for content in (None, b"{", b"[]", b'{"not_tested_on": 3}'):  # none, damaged, of another form
        if content is not None:
            (tmp_path / "training_record.json").write_bytes(content)
        assert never_tested_on(tmp_path) == ("anything: the bundle has no training record that names it",)


def test_a_limit_looser_than_the_shipped_one_stands_on_page_one_with_both_values() -> None:
    decision = decide(load_bundle(bundle_path("lite")), [], [], TODAY)
    assert "looser" not in page(decision, "0" * 64)
    loose = dataclasses.replace(decision, looser=(("operating_point.max_fpr", 0.2, 0.05),))
    shown = page(loose, "0" * 64)
    assert "## Limits looser than the shipped ones\n\n- operating_point.max_fpr: 0.2, shipped 0.05\n" in shown
    assert shown.index("looser") < shown.index("## Claimed and passed")


def test_a_red_metric_refuses_although_every_test_passed(here: Path) -> None:
    """And so does a test that is missing although every metric is green."""
    records = read_records(here / "reports").values()
    record = next(one for one in records if one.metrics and not _against(one, None))
    red = tuple(one.model_copy(update={"verdict": "fail", "value": None}) for one in record.metrics)
    (said,) = _against(record.model_copy(update={"metrics": red, "verdict": "fail"}), None)
    assert any(f": {one.name} = " in said for one in red)
    fewer = record.tests.model_copy(update={"collected": 0, "passed": 0})
    (said,) = _against(record.model_copy(update={"tests": fewer}), None)
    assert f": 0 of {record.tests.declared} declared tests passed, 0 ran; " in said


def test_declarations_of_the_current_folder_are_not_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A declared.yaml of one's own, with one trivial test for a claim, changes nothing of what a release asks."""
    (here / "gates").mkdir()
    own = {"title": "alpha", "gate": "G1", "clause": "c", "file": "gates/test_1.py", "tests": ["test_nothing"]}
    (here / "gates" / "declared.yaml").write_text(yaml.safe_dump({"E1.7": own, "E1.9": own}), encoding="utf-8")
    before = _decide(here).reasons
    monkeypatch.chdir(here)
    assert _decide(here).reasons == before == ()


def _edit_record(here: Path) -> None:
    path = here / "reports" / "phase1_results" / "E1.9.json"
    path.write_text(path.read_text().replace("normalisation", "normalization", 1))


def _drop_test(here: Path) -> None:
    shutil.rmtree(here / "reports")
    _measure(here, CLAIMS[:1])


def _another_payload(here: Path) -> None:
    write_manifest(here / "bundle", version="9.9.9")


def _propose(here: Path) -> None:
    path = here / "bundle" / "policy_contract.yaml"
    frozen = "max_latency: {value: 12.0, status: frozen"
    text = path.read_text()
    assert frozen in text
    path.write_text(text.replace(frozen, frozen.replace("frozen", "proposed")))
    write_manifest(here / "bundle")
    shutil.rmtree(here / "reports")
    _measure(here)


def _another_pillow(here: Path) -> None:
    versions = read_records(here / "reports")["E1.9"].identity.versions
    reidentify(here / "reports", versions={**versions, "pillow": "11.0.0"})


def _no_versions(here: Path) -> None:
    reidentify(here / "reports", versions={})


def _another_codec_than_the_golden_set(here: Path) -> None:
    measure_too(here / "reports", Measurement(name=DECODER_DIFFERENCES, test="", value="webp 1.0.0, frozen with 9.9.9"))


def _no_folder(here: Path) -> None:
    shutil.rmtree(here / "reports")


REFUSALS: dict[str, tuple[Callable[[Path], None], str]] = {
    "edited record": (_edit_record, "E1.9: the record is not the one in index.json"),
    "claim not run": (_drop_test, "E1.9 normalisation: claimed and not run (no record)"),
    "evidence of another payload": (_another_payload, "E1.7 alpha: claimed and not run (no record)"),
    "proposed value": (_propose, "runtime.max_latency is still proposed"),
    "another Pillow": (_another_pillow, "no evidence covers (pillow 11.0.0, frozen with 13.0.0): E1.7, E1.9; run"),
    "unknown decoder": (_no_versions, "no evidence covers (pillow unknown, frozen with 13.0.0; libjpeg_turbo unknown"),
    "golden set of another codec": (_another_codec_than_the_golden_set, "(webp 1.0.0, frozen with 9.9.9): E1.7, E1.9"),
    "no evidence": (_no_folder, "no index.json"),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_refused_for_the_stated_reason(here: Path, name: str) -> None:
    change, said = REFUSALS[name]
    change(here)
    decision = _decide(here)
    assert not decision.approved
    assert any(said in reason for reason in decision.reasons), decision.reasons
    with pytest.raises(ReleaseError):
        release(load_bundle(here / "bundle"), decision, here / "key.pem")
    assert not (here / "bundle" / "release").exists()


def _waiver(**changes: object) -> Waiver:
    content = {"id": "E1.9", "reason": "measured by hand on the device", "owner": "A. Person", "expiry": TODAY}
    return Waiver.model_validate(content | changes)


def test_a_waiver_counts_until_its_day(here: Path) -> None:
    _drop_test(here)
    assert _decide(here, _waiver()).approved
    expired = _decide(here, _waiver(expiry=TODAY - datetime.timedelta(days=1)))
    assert any("waiver of E1.9 expired on 2026-11-23" in reason for reason in expired.reasons)
    unmatched = _decide(here, _waiver(), _waiver(id="E1.7"))
    assert any("waiver of E1.7 matches no claim" in reason for reason in unmatched.reasons)


@pytest.mark.parametrize("text", ["", "a: 1", "- {id: E1.9}", "- {id: nine, reason: x, owner: y, expiry: z}", "\x00"])
def test_wrong_waivers_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "waivers.yaml"
    path.write_text(text)
    with pytest.raises(WaiverError, match=r"waivers\.yaml"):
        load_waivers(path)


def test_attested_by_who_ran_the_gates(here: Path) -> None:
    """With the runner's signature the title does not say self-attested; the releaser's own key does not count."""
    make_keys(here / "runner.pem", here / "runner.pub.pem")
    bundle, runner = load_bundle(here / "bundle"), here / "runner.pub.pem"
    unattested = decide(bundle, [here / "reports"], [], TODAY, evidence_key=runner, partial=True)
    assert any("not attested" in reason for reason in unattested.reasons)
    attest(here / "reports", here / "runner.pem")
    attested = decide(bundle, [here / "reports"], [], TODAY, evidence_key=runner, partial=True)
    assert (attested.approved, attested.title) == (True, "Release approved, partial"), attested.reasons
    assert (attested.supported, attested.summary()["attested_by"]) == (CLAIMS, attested.attested_by)
    assert f"attested by the runner with key `{attested.attested_by}`" in page(attested, "0" * 64)
    with pytest.raises(AttestationError, match="holds evidence already"):
        check_fresh(here / "reports")


def test_an_unsigned_release_lies_in_the_bundle_and_says_so(here: Path) -> None:
    decision = _decide(here)
    release(load_bundle(here / "bundle"), decision, None)
    assert check_released(load_bundle(here / "bundle"), None) == "released, partial, self-attested UNSIGNED"
    written = {path.relative_to(here / "bundle").as_posix() for path in (here / "bundle" / "release").iterdir()}
    assert written == {REPORT, PAGE}
    text = (here / "bundle" / REPORT).read_bytes()
    assert (here / "bundle" / PAGE).read_text(encoding="utf-8") == page(decision, sha256(text).hexdigest())
    (here / "bundle" / PAGE).write_bytes(b"approved by hand\n")
    with pytest.raises(ReleaseError):
        check_released(load_bundle(here / "bundle"), None)
