"""What folders of evidence say of one bundle: records that count, known reds, and why a folder does not count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ecdd.bundle import Bundle
from ecdd.bundle.loading import default_bundle_path
from ecdd.evidence.attestation import check_attestation
from ecdd.evidence.declarations import Declared, load_expected, load_specification
from ecdd.evidence.edits import Examined, examine
from ecdd.evidence.head import HEAD_FILE, RunEntry
from ecdd.evidence.records import ExperimentRecord, RunIdentity
from ecdd.evidence.session import payload_digest_of
from ecdd.evidence.soundness import unsound_runs
from ecdd.evidence.verdicts import judge_record
from ecdd.specification import EXPECTED

_NOT_RED = frozenset({"pass", "not_tested", "not_applicable"})


@dataclass
class Gathered:
    """Evidence of one payload and contract.

    Attributes
    ----------
    records : dict of str to ExperimentRecord
        That count, by id; a red one is not hidden by a green one of another run.
    runs : list of RunEntry
        That they come from.
    red : dict of str to str
        Experiments that any evidence of this payload shows red, with where: no waiver covers them.
    reasons : list of str
        Why a folder does not count.
    """

    records: dict[str, ExperimentRecord] = field(default_factory=dict)
    runs: list[RunEntry] = field(default_factory=list)
    red: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def gather(bundle: Bundle, folders: Iterable[Path], evidence_key: Path | None) -> Gathered:
    """Read folders of runs, perhaps of several machines, for exactly this payload and contract.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    folders : iterable of Path
        Given for the release.
    evidence_key : Path or None
        Public key of who ran the gates; with one, a folder without their signature does not count.

    Returns
    -------
    Gathered
        Every reason, not only the first.
    """
    found = Gathered()
    for folder in folders:
        if not (folder / HEAD_FILE).is_file():
            found.reasons.append(f"{folder}: no {HEAD_FILE}; give the folder of a run of the gates")
            continue
        seen = examine(folder)
        against = list(seen.edits)
        if not against and evidence_key is not None:
            against += check_attestation(folder, evidence_key, seen.head_digest)
        if against:
            found.reasons += [f"{folder}: {text}" for text in against]
            continue
        note_reds(bundle, folder, seen, found.red)
        assert seen.head is not None
        ours = [run for run in seen.head.runs if _is_of(run.identity, bundle)]
        found.runs += ours
        found.reasons += [f"{folder}: {text}" for text in unsound_runs(ours)]
        elsewhere = _tests_from_elsewhere(seen)
        found.reasons += [f"{folder}: {text}" for text in elsewhere.values()]
        for key, record in seen.records.items():
            if _is_of(record.identity, bundle) and key not in elsewhere:
                _join(found.records, key, record)
    return found


def _tests_from_elsewhere(seen: Examined) -> dict[str, str]:
    """Experiments of the specification whose tests are not those of its file, by id."""
    declared = load_specification()
    return {
        test.experiment: f"{test.nodeid}: not a test of {' or '.join(declared[test.experiment].files)}, "
        f"but says {test.experiment}"
        for test in (line.test for line in seen.chain.lines)
        if test.experiment in declared and test.nodeid.partition("::")[0] not in declared[test.experiment].files
    }


def _is_of(identity: RunIdentity, bundle: Bundle) -> bool:
    return (identity.payload_digest, identity.contract_digest) == (bundle.payload_digest, bundle.contract.digest)


def _join(records: dict[str, ExperimentRecord], key: str, record: ExperimentRecord) -> None:
    before = judge_record(records[key]) if key in records else "not_tested"
    if key not in records or (before in _NOT_RED and judge_record(record) not in _NOT_RED - {"pass"}):
        records[key] = record


def note_reds(bundle: Bundle, folder: Path, seen: Examined, red: dict[str, str]) -> None:
    """Add the experiments of which a folder shows a red test or record of this payload, whatever the contract."""
    runs = {run.run: run.identity for run in seen.head.runs} if seen.head is not None else {}
    for line in seen.chain.lines:
        ours = line.run in runs and runs[line.run].payload_digest == bundle.payload_digest
        if ours and line.test.outcome == "failed":
            red.setdefault(line.test.experiment, str(folder))
    for key, record in seen.records.items():
        if record.identity.payload_digest == bundle.payload_digest and judge_record(record) == "fail":
            red.setdefault(key, str(folder))


def known_reds(bundle: Bundle, folder: Path, declared: dict[str, Declared]) -> dict[str, str]:
    """Experiments known red for a payload without being asked: by the specification, and by the bundle's own run.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    folder : Path
        Where ``ecdd gates`` writes by default for it, whether anything lies there or not.
    declared : dict of str to Declared
        Experiments of the specification.

    Returns
    -------
    dict of str to str
        By id, with where that is known from.
    """
    red: dict[str, str] = {}
    if bundle.payload_digest == payload_digest_of(default_bundle_path()):
        entries = load_expected(EXPECTED, declared)
        red |= {key: EXPECTED.name for key, entry in entries.items() if entry.verdict == "fail"}
    if (folder / HEAD_FILE).is_file():
        note_reds(bundle, folder, examine(folder), red)
    return red
