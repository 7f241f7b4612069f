"""Evidence of a run that never was, whole and consistent: a single lie in it must be the reason of a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecdd.evidence.chain import EVIDENCE_FILE, read_chain, write_chain
from ecdd.evidence.declarations import Declared
from ecdd.evidence.head import HEAD_FILE, RecordEntry, RunEntry, read_head, write_head
from ecdd.evidence.merging import Asked, merge, read_records, write_records
from ecdd.evidence.records import Fragment, Measurement, Metric, RunIdentity, record_digest
from ecdd.evidence.session import DECLARED_FILE, file_digest, gates_digest, stages_digest
from ecdd.files import write_text
from ecdd.pipeline.decode import frozen_decoder
from ecdd.specification import GATES, GOLDEN


def identity_of(bundle: Any, **other: str) -> RunIdentity:
    """Digests of a bundle and of this package, as a run of its gates writes them."""
    versions = frozen_decoder(bundle.contract.policy.pixel_pipeline.decoder_version)
    known = {
        "contract_digest": bundle.contract.digest,
        "preprocessing_digest": bundle.contract.preprocessing_digest,
        "payload_digest": bundle.payload_digest,
        "golden_digest": file_digest(GOLDEN / "manifest.yaml"),
        "stages_digest": stages_digest(GOLDEN),
        "declared_digest": file_digest(GATES / DECLARED_FILE),
        "gates_digest": gates_digest(),
        "as_of": "2026-11-01",
    }
    return RunIdentity(data_digest=None, versions=versions, **(known | other))


def _fragment(key: str, about: Declared, test: str, value: float) -> Fragment:
    metric = Metric(
        name="error", test=test, value=value, op="<=", limit=1.0, n=1, verdict="pass" if value <= 1 else "fail"
    )
    outcome = "passed" if value <= 1 else "failed"
    return Fragment(
        experiment=key, test=test, nodeid=f"{about.file_of[test]}::{test}", outcome=outcome, metrics=(metric,)
    )


def make_evidence(
    folder: Path,
    bundle: Any,
    declared: Mapping[str, Declared],
    values: Mapping[str, float],
    *,
    beside: Mapping[str, str] | None = None,
    plugins: Mapping[str, str] | None = None,
    **other: str,
) -> None:
    """Write head, records, chain and JUnit of experiments, each test with one metric that must be at most 1.

    Parameters
    ----------
    folder : Path
        Where.
    bundle : Bundle
        Whose digests are cited.
    declared : mapping of str to Declared
        All experiments.
    values : mapping of str to float
        Value of the metric by experiment; experiments that are not in it have no record.
    beside : mapping of str to str
        Outcomes of tests without an experiment.
    plugins : mapping of str to str
        Plugins that took part.
    other : str
        Digests other than the bundle's.
    """
    fragments = sorted(
        (_fragment(key, declared[key], test, values[key]) for key in values for test in declared[key].file_of),
        key=lambda fragment: fragment.nodeid,
    )
    identity = identity_of(bundle, **other)
    write_records(folder, merge(fragments, declared, identity, Asked(frozenset(values))))
    tests = {fragment.nodeid: str(fragment.outcome) for fragment in fragments} | dict(beside or {})
    run = RunEntry(
        run="made", ended="2026-11-01T12:00:00+00:00", identity=identity, plugins=dict(plugins or {}), tests=tests
    )
    write_head(folder, write_chain(folder, fragments, "made", values), run)
    cases = [
        f'<testcase classname="{f.nodeid.partition("::")[0].removesuffix(".py").replace("/", ".")}" name="{f.test}">'
        + ("<failure/>" if f.outcome == "failed" else "")
        + "</testcase>"
        for f in fragments
    ]
    write_text(folder / "junit.xml", f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")


def rehash(folder: Path) -> None:
    """Make the head's list of records anew from what lies there, as whoever edits records would."""
    head = read_head(folder)[0]
    entries = tuple(
        RecordEntry(id=key, verdict=record.verdict, sha256=record_digest(record))
        for key, record in read_records(folder).items()
    )
    write_text(folder / HEAD_FILE, head.model_copy(update={"records": entries}).model_dump_json(indent=1))


def reidentify(folder: Path, **parts: Any) -> None:
    """Let all records and runs of a folder say other parts of their identity, as if they had been made so."""
    head, records = read_head(folder)[0], read_records(folder)
    runs = tuple(run.model_copy(update={"identity": run.identity.model_copy(update=parts)}) for run in head.runs)
    identity = {"identity": runs[-1].identity}
    write_records(folder, {key: record.model_copy(update=identity) for key, record in records.items()})
    write_text(folder / HEAD_FILE, head.model_copy(update={"runs": runs}).model_dump_json())
    rehash(folder)


def measure_too(folder: Path, said: Measurement) -> None:
    """Let the first test of every record of a folder have measured something more, as if it had."""
    chain, head, records = read_chain(folder), read_head(folder)[0], read_records(folder)
    fragments, seen = [], set[str]()
    for line in chain.lines:
        more = () if line.test.experiment in seen else (said.model_copy(update={"test": line.test.test}),)
        seen.add(line.test.experiment)
        fragments.append(line.test.model_copy(update={"measurements": (*more, *line.test.measurements)}))
    (folder / EVIDENCE_FILE).unlink()
    digest = write_chain(folder, fragments, head.runs[-1].run, seen).digest
    for key, record in records.items():
        all_said = tuple(m for fragment in fragments if fragment.experiment == key for m in fragment.measurements)
        write_records(folder, {key: record.model_copy(update={"measurements": all_said})})
    write_text(folder / HEAD_FILE, head.model_copy(update={"chain": digest}).model_dump_json())
    rehash(folder)
