"""Ways to a release that the evidence does not carry, each with the words that must stand against it."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.evidence.attestation import attest
from ecdd.evidence.declarations import load_specification
from ecdd.evidence.merging import read_records, record_path, write_records
from ecdd.golden.golden_hashes import load_frozen
from ecdd.release.approval import Decision, decide
from ecdd.release.signing import make_keys
from ecdd.release.waivers import Waiver
from ecdd.specification import GOLDEN
from gates.support.made_evidence import make_evidence, rehash

DAY: Final = datetime.date(2026, 11, 1)
GREEN: Final = {"E1.7": 0.5, "E1.8": 0.5, "E1.9": 0.5}
RED: Final = GREEN | {"E1.9": 2.0}
OTHER: Final = "e" * 64


@dataclass(frozen=True)
class Applicant:
    """Whoever wants a bundle released, and a folder of their own."""

    bundle: Any
    folder: Path

    @classmethod
    def claiming_all(cls, bundle: Any, folder: Path) -> Applicant:
        """One whose contract claims the whole specification, whatever the bundle's own does."""
        contract = bundle.contract.with_values({"release.claims": list(load_specification())})
        return cls(dataclasses.replace(bundle, contract=contract), folder)

    def evidence(self, values: dict[str, float] = GREEN, name: str = "run", **other: Any) -> Path:
        """Evidence that is consistent, with what the applicant chose of it."""
        make_evidence(self.folder / name, self.bundle, load_specification(), values, **other)
        return self.folder / name

    def asks(self, *folders: Path, waivers: list[Waiver] | None = None, partial: bool = True, **how: Any) -> Decision:
        """What a release says."""
        own_run = how.pop("own_run", self.folder / "runs")
        return decide(self.bundle, folders, waivers or [], DAY, partial=partial, own_run=own_run, **how)


def waiver(key: str) -> Waiver:
    """One that is valid in itself."""
    return Waiver(id=key, reason="measured by hand elsewhere", owner="A. Person", expiry=DAY)


def _recomputed(applicant: Applicant) -> Decision:
    keys = [applicant.folder / name for name in ("own.pem", "own.pub.pem", "runner.pem", "runner.pub.pem")]
    make_keys(keys[0], keys[1])
    make_keys(keys[2], keys[3])
    folder = applicant.evidence()
    attest(folder, keys[0])
    return applicant.asks(folder, evidence_key=keys[3])


def _not_signed(applicant: Applicant) -> Decision:
    make_keys(applicant.folder / "runner.pem", applicant.folder / "runner.pub.pem")
    return applicant.asks(applicant.evidence(), evidence_key=applicant.folder / "runner.pub.pem")


def _exchanged_under_its_signature(applicant: Applicant) -> Decision:
    make_keys(applicant.folder / "runner.pem", applicant.folder / "runner.pub.pem")
    attested, better = applicant.evidence(RED), applicant.evidence(name="better")
    shutil.copy(attest(attested, applicant.folder / "runner.pem"), better)
    return applicant.asks(better, evidence_key=applicant.folder / "runner.pub.pem")


def _deleted(applicant: Applicant) -> Decision:
    folder = applicant.evidence(RED)
    record_path(folder, "E1.9").unlink()
    rehash(folder)
    return applicant.asks(folder)


def _added(applicant: Applicant) -> Decision:
    folder, other = applicant.evidence({"E1.7": 0.5}), applicant.evidence(name="other")
    shutil.copy(record_path(other, "E1.9"), record_path(folder, "E1.9"))
    rehash(folder)
    return applicant.asks(folder)


def _relabelled(applicant: Applicant) -> Decision:
    folder, own = applicant.evidence(payload_digest=OTHER), applicant.bundle.payload_digest
    records = read_records(folder)
    relabelled = {
        key: record.model_copy(update={"identity": record.identity.model_copy(update={"payload_digest": own})})
        for key, record in records.items()
    }
    write_records(folder, relabelled)
    rehash(folder)
    return applicant.asks(folder)


def _elsewhere(applicant: Applicant) -> Decision:
    """A file of the applicant's own whose tests carry the names and the marker of an experiment."""
    declared = load_specification()
    own = {"E1.7": declared["E1.7"].model_copy(update={"file": "clauses/test_1.py"})}
    make_evidence(applicant.folder / "run", applicant.bundle, declared | own, GREEN)
    return applicant.asks(applicant.folder / "run")


def _waived(applicant: Applicant) -> Decision:
    claims = [key for key in applicant.bundle.contract.policy.release.claims if key not in {"E1.7", "E4.4", "E6.1"}]
    return applicant.asks(applicant.evidence({"E1.7": 0.5}), waivers=[waiver(key) for key in claims])


def _waived_red(applicant: Applicant) -> Decision:
    """The red run lies where the gates wrote it; another one, without the red experiment, is handed in."""
    runs = applicant.folder / "runs"
    applicant.evidence(RED, name=f"runs/{applicant.bundle.payload_digest[:16]}")
    folder = applicant.evidence({"E1.7": 0.5})
    return applicant.asks(folder, waivers=[waiver("E1.9")], own_run=runs)


def _red_and_green(first: dict[str, float], second: dict[str, float]) -> Callable[[Applicant], Decision]:
    """Two runs of one bundle, one of them red: whichever comes first, the other does not cover it."""
    return lambda applicant: applicant.asks(applicant.evidence(first), applicant.evidence(second, name="other"))


def _one_claim(applicant: Applicant) -> Decision:
    contract = applicant.bundle.contract.with_values({"release.claims": ["E1.7"]})
    modest = Applicant(dataclasses.replace(applicant.bundle, contract=contract), applicant.folder)
    return modest.asks(modest.evidence({"E1.7": 0.5}), partial=False)


def _frozen_anew(applicant: Applicant) -> Decision:
    """Stages of one's own for the very preprocessing that the package has frozen stages of."""
    preprocessing = load_frozen(GOLDEN).preprocessing_digest
    return applicant.asks(applicant.evidence(stages_digest=OTHER, preprocessing_digest=preprocessing))


def _of(**other: Any) -> Callable[[Applicant], Decision]:
    """Evidence that was made with something of the applicant's own."""
    return lambda applicant: applicant.asks(applicant.evidence(**other))


# the first six ended in an approval once, the others would have
WAYS: Final[dict[str, tuple[Callable[[Applicant], Decision], str]]] = {
    "records recomputed and signed by the applicant": (_recomputed, "attestation.dsse.json: not signed by runner"),
    "red record deleted, head made anew": (_deleted, "E1.9: its tests are in evidence.jsonl, but it has no record"),
    "one experiment run, all others waived": (_waived, "waivers; release.max_waivers of the contract allows"),
    "claims cut to one": (_one_claim, "experiments of the specification are not claimed or waived"),
    "declarations of one's own": (_of(declared_digest=OTHER), "measured with other declarations"),
    "another golden set": (_of(golden_digest=OTHER), "measured with other golden set"),
    "golden stages frozen anew": (_frozen_anew, "measured with other golden stages"),
    "clauses changed": (_of(gates_digest=OTHER), "measured with other gates' code"),
    "records relabelled": (_relabelled, "E1.7: the record says another payload digest than the run of its tests"),
    "a plugin that patches what measures": (_of(plugins={"kind": f"sha256 {OTHER}"}), "the gates do not know: kind"),
    "tests of one's own under an experiment's name": (_elsewhere, "not a test of gates/g1/test_e1_7_alpha.py"),
    "a record of another run": (_added, "E1.9: a record without a test in evidence.jsonl"),
    "records without a signature": (_not_signed, "not attested: there is no attestation.dsse.json"),
    "a signature of other evidence": (_exchanged_under_its_signature, "was signed for other evidence"),
    "a known red waived": (_waived_red, "waiver of E1.9: known red for this payload"),
    "a red run, then a green one": (_red_and_green(RED, GREEN), " = 2.0 "),
    "a green run, then a red one": (_red_and_green(GREEN, RED), " = 2.0 "),
    "a red unit test": (_of(beside={"units/test_x.py::test_y": "failed"}), "was not clean: units/test_x.py::test_y"),
    "a test that never finished": (_of(beside={"units/test_x.py::test_y": "lost"}), "test_y lost"),
    "a test skipped without a reason": (_of(beside={"units/test_x.py::test_y": "skipped: "}), "test_y skipped"),
}


def refused_by_name(applicant: Applicant, name: str) -> bool:
    """Whether a way ends in a refusal that names it, and not only in one for other reasons."""
    way, said = WAYS[name]
    return any(said in reason for reason in way(applicant).reasons)
