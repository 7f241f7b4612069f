"""Evidence of a run that never was, whole and consistent: a single lie in it must be the reason of a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecdd.evidence.chain import write_chain
from ecdd.evidence.declarations import Declared
from ecdd.evidence.merging import Asked, merge, write_records
from ecdd.evidence.records import Fragment, Metric, RunIdentity
from ecdd.files import write_text
from ecdd.pipeline.decode import frozen_decoder


def identity_of(bundle: Any, **other: str) -> RunIdentity:
    """Digests of a bundle, as a run of its gates writes them."""
    versions = frozen_decoder(bundle.contract.policy.pixel_pipeline.decoder_version)
    known = {
        "contract_digest": bundle.contract.digest,
        "preprocessing_digest": bundle.contract.preprocessing_digest,
        "payload_digest": bundle.payload_digest,
        "golden_digest": hashlib.sha256(b"golden").hexdigest(),
        "as_of": "2026-11-01",
    }
    return RunIdentity(data_digest=None, versions=versions, **(known | other))


def _fragment(key: str, about: Declared, test: str, value: float) -> Fragment:
    metric = Metric(
        name="error", test=test, value=value, op="<=", limit=1.0, n=1, verdict="pass" if value <= 1 else "fail"
    )
    outcome = "passed" if value <= 1 else "failed"
    return Fragment(experiment=key, test=test, nodeid=f"{about.file}::{test}", outcome=outcome, metrics=(metric,))


def make_evidence(
    folder: Path, bundle: Any, declared: Mapping[str, Declared], values: Mapping[str, float], **other: str
) -> None:
    """Write records, chain and JUnit of experiments, each test with one metric that must be at most 1.

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
    other : str
        Digests other than the bundle's.
    """
    fragments = sorted(
        (_fragment(key, declared[key], test, values[key]) for key in values for test in declared[key].tests),
        key=lambda fragment: fragment.nodeid,
    )
    records = merge(fragments, declared, identity_of(bundle, **other), Asked(frozenset(values)))
    write_records(folder, records)
    write_chain(folder, fragments, "made", values)
    cases = [
        f'<testcase classname="{f.nodeid.partition("::")[0].removesuffix(".py").replace("/", ".")}" name="{f.test}">'
        + ("<failure/>" if f.outcome == "failed" else "")
        + "</testcase>"
        for f in fragments
    ]
    write_text(folder / "junit.xml", f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
