"""The decision on a release: a pure function of the bundle, its evidence and the waivers.

The rules are the specification's: which experiments there are, which tests they have, how many may be waived. Nothing
of that is read from a folder of the applicant's.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.bundle import Bundle
from ecdd.evidence.applicability import not_ruled_out
from ecdd.evidence.attestation import load_public
from ecdd.evidence.claims import never_tested_on, not_claimed, other_decoders
from ecdd.evidence.contract_limits import limits_of, looser_limits
from ecdd.evidence.declarations import Declared, load_specification
from ecdd.evidence.head import RunEntry
from ecdd.evidence.margins import closest_metric
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.verdicts import judge_record
from ecdd.release.gathering import gather, known_reds
from ecdd.release.waivers import Waiver, judge_waivers

_OWN_CLAUSE: Final = re.compile(r"E\d{3,}\.\d+")  # numbered from E100.1 on; the specification never reaches that far


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
    left_out : tuple of str
        Experiments of the specification that are not claimed, or waived; a release with any is a partial one.
    not_applicable : tuple of str
        What the contract rules out, with the knob that says so.
    not_claimed : tuple of str
        What this release does not speak of.
    never_tested_on : tuple of str
        By the model's own training record.
    attested_by : str
        Id of the key of who ran the gates; empty where the evidence is the applicant's own word.
    limits : mapping of str to float
        What the evidence was held to, by key of the contract.
    looser : tuple of (str, float, float)
        Those looser than the shipped ones: key, value, shipped value.
    runs : tuple of RunEntry
        That the records come from.
    records : mapping of str to ExperimentRecord
        The evidence used.
    """

    payload_digest: str
    contract_digest: str
    as_of: datetime.date
    reasons: tuple[str, ...]
    supported: tuple[str, ...]
    waived: tuple[Waiver, ...]
    left_out: tuple[str, ...]
    not_applicable: tuple[str, ...]
    not_claimed: tuple[str, ...]
    never_tested_on: tuple[str, ...]
    attested_by: str
    limits: Mapping[str, float]
    looser: tuple[tuple[str, float, float], ...]
    runs: tuple[RunEntry, ...]
    records: Mapping[str, ExperimentRecord]

    @property
    def approved(self) -> bool:
        """True only where nothing stands against it."""
        return not self.reasons

    @property
    def title(self) -> str:
        """The verdict, with what a reader must know before all else."""
        words = ["Release approved" if self.approved else "Release refused"]
        words += ["partial"] if self.left_out else []
        words += [] if self.attested_by else ["self-attested"]
        return ", ".join(words)

    def summary(self) -> dict[str, Any]:
        """Plain values, in one fixed order, for the signed report."""
        # only where there is something: reports approved before this verdict was known keep their form
        ruled_out = {"not_applicable": list(self.not_applicable)} if self.not_applicable else {}
        return ruled_out | {
            "schema_version": 2,
            "title": self.title,
            "verdict": "approved" if self.approved else "refused",
            "payload_digest": self.payload_digest,
            "contract_digest": self.contract_digest,
            "as_of": self.as_of.isoformat(),
            "attested_by": self.attested_by or None,
            "reasons": list(self.reasons),
            "supported": list(self.supported),
            "waived": [waiver.model_dump(mode="json") for waiver in self.waived],
            "left_out": list(self.left_out),
            "not_claimed": list(self.not_claimed),
            "never_tested_on": list(self.never_tested_on),
            "limits": dict(self.limits),
            "looser_than_shipped": [list(entry) for entry in self.looser],
            "runs": [run.model_dump(mode="json", exclude={"tests"}) | {"tests": run.counts} for run in self.runs],
            "records": {key: record.model_dump(mode="json") for key, record in sorted(self.records.items())},
        }


def decide(
    bundle: Bundle,
    folders: Iterable[Path],
    waivers: Sequence[Waiver],
    as_of: datetime.date,
    *,
    evidence_key: Path | None = None,
    partial: bool = False,
    own_run: Path = Path("reports") / "runs",
) -> Decision:
    """Decide on a release from evidence alone.

    Parameters
    ----------
    bundle : Bundle
        Checked bundle.
    folders : iterable of Path
        Folders of runs, perhaps of several machines; records join by payload and contract digest.
    waivers : sequence of Waiver
        Exceptions.
    as_of : date
        Day at which expiries are judged.
    evidence_key : Path, optional
        Public key of who ran the gates; every folder must be signed by it. Without one the release is self-attested.
    partial : bool
        Let a release through that does not speak of all experiments of the specification.
    own_run : Path
        Folder in which ``ecdd gates`` keeps runs; what is known red there cannot be waived.

    Returns
    -------
    Decision
        Every reason against the release, not only the first.
    """
    declared, contract = load_specification(), bundle.contract
    gathered = gather(bundle, folders, evidence_key)
    records, claims = gathered.records, list(contract.policy.release.claims)
    reasons = gathered.reasons + _proposed(bundle, claims)
    supported, not_run = [], []
    for claim in claims:
        if claim not in declared and not _OWN_CLAUSE.fullmatch(claim):
            reasons.append(f"contract: release.claims names {claim}, which the specification does not have")
            continue
        record = records.get(claim)
        if record is None or judge_record(record) == "not_tested":
            not_run.append(claim)
            continue
        against = _against(record, declared.get(claim)) + not_ruled_out(record, contract.values)
        reasons += against
        if not against and judge_record(record) == "pass":
            supported.append(claim)
    claimed = {key: records[key] for key in claims if key in records}
    reasons += other_decoders(claimed, contract.policy.pixel_pipeline.decoder_version)
    red = known_reds(bundle, own_run / bundle.payload_digest[:16], declared) | gathered.red
    counting, refused = judge_waivers(waivers, not_run, as_of, red, contract.policy.release.max_waivers)
    reasons += refused
    waived = {waiver.id for waiver in counting}
    for key in not_run:
        if key not in waived:
            absent = records[key].not_tested if key in records else ()
            why = "; ".join(dict.fromkeys(f"{n.what}: {n.why}" for n in absent)) or "no record"
            title = declared[key].title if key in declared else "clause of your own"
            reasons.append(f"{key} {title}: claimed and not run ({why}); run it, or waive it")
    left_out = _left_out(declared, claims, waived)
    if left_out and not partial:
        reasons.append(
            f"partial: {len(left_out)} of {len(declared)} experiments of the specification are not claimed or waived "
            f"({', '.join(left_out[:6])}{', …' if len(left_out) > 6 else ''}); claim them, or release with --partial"
        )
    return Decision(
        payload_digest=bundle.payload_digest,
        contract_digest=contract.digest,
        as_of=as_of,
        reasons=tuple(reasons),
        supported=tuple(supported),
        waived=tuple(counting),
        left_out=left_out,
        not_applicable=tuple(
            f"{key} {entry.what}: by {entry.knob}"
            for key, record in sorted(records.items())
            for entry in record.not_applicable
        ),
        not_claimed=tuple(
            f"{one} (red in {red[key]})" if (key := one.partition(" ")[0]) in red else one
            for one in not_claimed(claims, contract.policy.evaluation.splits, declared)
        ),
        never_tested_on=never_tested_on(bundle.path),
        attested_by="" if evidence_key is None else str(load_public(evidence_key).keyid),
        limits=limits_of(contract.values),
        looser=tuple(looser_limits(contract.values)),
        runs=tuple(gathered.runs),
        records=records,
    )


def _left_out(declared: Iterable[str], claims: Sequence[str], waived: Collection[str]) -> tuple[str, ...]:
    """Experiments of the specification that a release does not speak of; with any it is a partial one."""
    return tuple(key for key in declared if key not in claims or key in waived)


def _proposed(bundle: Bundle, claims: Sequence[str]) -> list[str]:
    """Values nobody has decided; a knob younger than the contract binds nothing until its experiment is claimed."""
    contract = bundle.contract
    return [
        f"contract: {key} is still proposed; freeze it by its experiment or take it out"
        for key in contract.proposed
        if key not in contract.filled_in or contract.provenance[key].set_by in claims
    ]


def _against(record: ExperimentRecord, declared: Declared | None) -> list[str]:
    """Why a record does not support its claim; None for a clause of the applicant's own."""
    name = f"{record.id} {record.title}"
    counts = record.tests
    if declared is not None and (len(declared.file_of), declared.title) != (counts.declared, record.title):
        return [f"{name}: its tests are not the declared ones; run the gates of this version"]
    if judge_record(record) in {"pass", "not_applicable"} and counts.declared == counts.collected == counts.passed:
        return []
    worst = closest_metric(record.metrics)
    if worst is not None and worst.verdict == "fail":
        named = f", worst {', '.join(worst.worst)}" if worst.worst else ""
        return [f"{name}: {worst.name} = {worst.value} {worst.unit}, must be {worst.op} {worst.limit}{named}"]
    said = record.failures[0].splitlines()[0] if record.failures else f"verdict {record.verdict}"
    return [f"{name}: {counts.passed} of {counts.declared} declared tests passed, {counts.collected} ran; {said}"]
