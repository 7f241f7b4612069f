"""The decision on a release: a pure function of the bundle, its evidence and the waivers."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.bundle import Bundle
from ecdd.evidence.applicability import not_ruled_out
from ecdd.evidence.chain import find_edits
from ecdd.evidence.claims import not_claimed, other_decoders
from ecdd.evidence.declarations import Declared
from ecdd.evidence.margins import closest_metric
from ecdd.evidence.merging import read_records
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.verdicts import judge_record
from ecdd.release.waivers import Waiver, judge_waivers

_NOT_RED: Final = frozenset({"pass", "not_tested", "not_applicable"})


@dataclass(frozen=True)
class Decision:
    """Whether a bundle may ship.

    Attributes
    ----------
    reasons : tuple of str
        Why not, one a line; empty means approved.
    supported : tuple of str
        Claims with a passing record.
    waived : tuple of Waiver
        Claims let through without one.
    not_applicable : tuple of str
        What the contract rules out, with the knob that says so.
    not_claimed : tuple of str
        What this release does not speak of.
    records : mapping of str to ExperimentRecord
        The evidence used.
    """

    payload_digest: str
    contract_digest: str
    as_of: datetime.date
    reasons: tuple[str, ...]
    supported: tuple[str, ...]
    waived: tuple[Waiver, ...]
    not_applicable: tuple[str, ...]
    not_claimed: tuple[str, ...]
    records: Mapping[str, ExperimentRecord]

    @property
    def approved(self) -> bool:
        """True only where nothing stands against it."""
        return not self.reasons

    def summary(self) -> dict[str, Any]:
        """Plain values, in one fixed order, for the signed report."""
        # only where there is something: reports approved before this verdict was known keep their form
        ruled_out = {"not_applicable": list(self.not_applicable)} if self.not_applicable else {}
        return ruled_out | {
            "schema_version": 1,
            "verdict": "approved" if self.approved else "refused",
            "payload_digest": self.payload_digest,
            "contract_digest": self.contract_digest,
            "as_of": self.as_of.isoformat(),
            "reasons": list(self.reasons),
            "supported": list(self.supported),
            "waived": [waiver.model_dump(mode="json") for waiver in self.waived],
            "not_claimed": list(self.not_claimed),
            "records": {key: record.model_dump(mode="json") for key, record in sorted(self.records.items())},
        }


def decide(
    bundle: Bundle,
    folders: Iterable[Path],
    declared: Mapping[str, Declared],
    waivers: Sequence[Waiver],
    as_of: datetime.date,
) -> Decision:
    """Decide on a release from evidence alone.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    folders : iterable of Path
        Folders of runs, perhaps of several machines; records join by payload and contract digest.
    declared : mapping of str to Declared
        Experiments and their tests.
    waivers : sequence of Waiver
        Exceptions.
    as_of : date
        Day at which expiries are judged.

    Returns
    -------
    Decision
        Every reason against the release, not only the first.
    """
    records, reasons = _collect(bundle, folders)
    claims = list(bundle.contract.policy.release.claims)
    for key in bundle.contract.proposed:
        # a knob younger than the contract binds nothing until its experiment is claimed
        if key in bundle.contract.filled_in and bundle.contract.provenance[key].set_by not in claims:
            continue
        reasons.append(f"contract: {key} is still proposed; freeze it by its experiment or take it out")
    supported, not_run = [], []
    for claim in claims:
        if claim not in declared:
            reasons.append(f"contract: release.claims names {claim}, which the specification does not have")
            continue
        record = records.get(claim)
        if record is None or judge_record(record) == "not_tested":
            not_run.append(claim)
            continue
        against = _against(record, declared.get(claim)) + not_ruled_out(record, bundle.contract.values)
        reasons += against
        if not against and judge_record(record) == "pass":
            supported.append(claim)
    claimed = {key: records[key] for key in claims if key in records}
    reasons += other_decoders(claimed, bundle.contract.policy.pixel_pipeline.decoder_version)
    counting, refused = judge_waivers(waivers, not_run, as_of)
    reasons += refused
    waived = {waiver.id for waiver in counting}
    for key in not_run:
        if key not in waived:
            absent = records[key].not_tested if key in records else ()
            why = "; ".join(dict.fromkeys(f"{n.what}: {n.why}" for n in absent)) or "no record"
            reasons.append(f"{key} {declared[key].title}: claimed and not run ({why}); run it, or waive it")
    return Decision(
        payload_digest=bundle.payload_digest,
        contract_digest=bundle.contract.digest,
        as_of=as_of,
        reasons=tuple(reasons),
        supported=tuple(supported),
        waived=tuple(counting),
        not_applicable=tuple(
            f"{key} {entry.what}: by {entry.knob}"
            for key, record in sorted(records.items())
            for entry in record.not_applicable
        ),
        not_claimed=not_claimed(claims, bundle.contract.policy.evaluation.splits, declared),
        records=records,
    )


def _collect(bundle: Bundle, folders: Iterable[Path]) -> tuple[dict[str, ExperimentRecord], list[str]]:
    """Records of exactly this payload and contract; a red one is not hidden by a green one of another run."""
    records: dict[str, ExperimentRecord] = {}
    reasons: list[str] = []
    for folder in folders:
        if not (folder / "index.json").is_file():
            reasons.append(f"{folder}: no index.json; give the folder of a run of the gates")
            continue
        edits = find_edits(folder)
        if edits:
            reasons += [f"{folder}: {text}" for text in edits]
            continue
        for key, record in read_records(folder).items():
            identity = record.identity
            if (identity.payload_digest, identity.contract_digest) != (bundle.payload_digest, bundle.contract.digest):
                continue
            before = judge_record(records[key]) if key in records else "not_tested"
            if key not in records or (before in _NOT_RED and judge_record(record) not in _NOT_RED - {"pass"}):
                records[key] = record
    return records, reasons


def _against(record: ExperimentRecord, declared: Declared | None) -> list[str]:
    """Why a record does not support its claim."""
    name = f"{record.id} {record.title}"
    counts = record.tests
    if declared is None or len(declared.tests) != counts.declared:
        return [f"{name}: its tests are not the declared ones; run the gates of this version"]
    if judge_record(record) in {"pass", "not_applicable"} and counts.declared == counts.collected == counts.passed:
        return []
    worst = closest_metric(record.metrics)
    if worst is not None and worst.verdict == "fail":
        named = f", worst {', '.join(worst.worst)}" if worst.worst else ""
        return [f"{name}: {worst.name} = {worst.value} {worst.unit}, must be {worst.op} {worst.limit}{named}"]
    said = record.failures[0].splitlines()[0] if record.failures else f"verdict {record.verdict}"
    return [f"{name}: {counts.passed} of {counts.declared} declared tests passed, {counts.collected} ran; {said}"]
