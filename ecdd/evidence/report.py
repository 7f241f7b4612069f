"""The report of a run: one self-contained HTML page that a person can read and a release can rest on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ecdd.bundle import BundleError
from ecdd.bundle.loading import read_record
from ecdd.bundle.manifest import DESCRIPTION_FILE, BundleDescription
from ecdd.contract.loading import ContractError, LoadedContract, load_contract
from ecdd.evidence.chain import EVIDENCE_FILE
from ecdd.evidence.claims import Claims, compare_claims, never_tested_on, not_claimed
from ecdd.evidence.contract_limits import looser_limits
from ecdd.evidence.declarations import Declared, Expected
from ecdd.evidence.edits import find_edits
from ecdd.evidence.head import HEAD_FILE, read_head
from ecdd.evidence.merging import RecordError, read_records
from ecdd.evidence.mutation_table import MUTANTS_FILE, read_mutants
from ecdd.evidence.records import Absent, ExperimentRecord, RunIdentity
from ecdd.evidence.report_pictures import GoldenSamples, Pictures
from ecdd.evidence.report_rows import NEAR, experiment_rows, gate_cards, same_subject, shown
from ecdd.evidence.session import RunOptions, contract_path, identify
from ecdd.evidence.soundness import unsound_runs
from ecdd.files import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATE: Final = "report.html.j2"
_BESIDE: Final = (
    (EVIDENCE_FILE, "one line a test of the last run, hash-chained"),
    ("junit.xml", "the last run, for other tools"),
    (HEAD_FILE, "what ran, with every outcome, and the digests of all of it"),
    (MUTANTS_FILE, "planted defects"),
)


def write_report(
    options: RunOptions, declared: Mapping[str, Declared], expected: Mapping[str, Expected], junit: Path | None = None
) -> Path:
    """Write ``index.html`` of a run's folder, and a copy of the latest at ``reports/index.html``.

    Parameters
    ----------
    options : RunOptions
        The run.
    declared : mapping of str to Declared
        All experiments, so that those which did not run are named.
    expected : mapping of str to Expected
        Expected reds.
    junit : Path, optional
        The run's JUnit file; by default ``junit.xml`` in its folder.

    Returns
    -------
    Path
        The page to open.
    """
    own, reports = options.folder / "index.html", options.root / "reports"
    content = _content(options, declared, expected, junit)
    write_bytes(own, _page(content, "").encode())
    if not options.folder.is_relative_to(reports / "runs"):
        return own
    base = f"{options.folder.relative_to(reports).as_posix()}/"
    write_bytes(reports / "index.html", _page(content, base).encode())
    path = junit or options.folder / "junit.xml"
    if path.is_file():
        write_bytes(reports / "junit.xml", path.read_bytes())
    return reports / "index.html"


def render(options: RunOptions, declared: Mapping[str, Declared], expected: Mapping[str, Expected]) -> str:
    """Render the page from the records of the run's folder; links are relative to that folder."""
    return _page(_content(options, declared, expected, None), "")


def _page(content: Mapping[str, Any], base: str) -> str:
    return _environment().get_template(_TEMPLATE).render(**content, base=base)


@cache  # the templates take longer to compile than a page to fill
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ecdd.evidence", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment


def _content(
    options: RunOptions, declared: Mapping[str, Declared], expected: Mapping[str, Expected], junit: Path | None
) -> dict[str, Any]:
    records, judged = read_records(options.folder), identify(options)
    own = {key: record for key, record in records.items() if same_subject(record.identity, judged)}
    pictures = Pictures()
    samples = GoldenSamples(options, judged, pictures)
    rows = experiment_rows(records, declared, expected, judged, options.folder, samples, pictures)
    contract = _contract(options)
    claims = None if contract is None else compare_claims(contract, own, declared)
    edits = find_edits(options.folder, junit) if records else []
    unsound = _unsound(options.folder)
    mutants, why_no_mutants = read_mutants(options.folder, judged.payload_digest, judged.contract_digest)
    return {
        "verdict": verdict_of(own, claims, edits, unsound),
        "unsound": unsound,
        "looser": [] if contract is None else looser_limits(contract.values),
        "rows": rows,
        "gates": gate_cards(rows),
        "claims": claims,
        "not_claimed": claims.not_claimed if claims is not None else not_claimed((), (), declared),
        "bundle_name": _name(_bundle_of(options)),
        "days": _days(options.folder),
        "never_tested_on": never_tested_on(_bundle_of(options)),
        "not_tested": [(key, entry) for key, record in records.items() for entry in dict.fromkeys(record.not_tested)]
        + _stages_not_tested(options),
        "not_applicable": [
            (key, entry) for key, record in records.items() for entry in dict.fromkeys(record.not_applicable)
        ],
        "edits": edits,
        "mutants": mutants,
        "why_no_mutants": why_no_mutants,
        "judged": judged,
        "identities": _identities(records),
        "beside": [(name, about) for name, about in _BESIDE if (options.folder / name).is_file()],
        "near": NEAR,
        "pictures": pictures,
    }


def verdict_of(
    records: Mapping[str, ExperimentRecord], claims: Claims | None, edits: Sequence[str], unsound: Sequence[str] = ()
) -> tuple[str, str]:
    """What the page says first.

    Parameters
    ----------
    records : mapping of str to ExperimentRecord
        Of this bundle and contract alone.
    claims : Claims or None
        None where the contract cannot be read.
    edits : sequence of str
        What is not as the run wrote it.
    unsound : sequence of str
        What was not clean of the run, or is not of this package.

    Returns
    -------
    state : {"pass", "fail"}
        A release is decided by ``ecdd release``; ``pass`` says that this evidence does not stand against one.
    text : str
        One line.
    """
    if not records:
        return "fail", "Nothing measured: no record of this bundle and contract. A run of nothing passes nothing."
    if edits:
        return "fail", "Evidence not intact: nothing on this page may be relied on."
    if claims is None:
        return "fail", "The contract cannot be read: nothing can be claimed, no release can rest on this run."
    if claims.unsupported:
        count = len(claims.unsupported)
        return (
            "fail",
            f"No release can rest on this run: {count} of its claims {'is' if count == 1 else 'are'} unsupported.",
        )
    if claims.other_decoders:
        return "fail", "No release can rest on this run: it was measured with a decoder that no evidence covers."
    if unsound:
        return "fail", "No release can rest on this run: it was not clean, or not of this package's specification."
    return "pass", "Every claim of the contract is supported by this run."


def _contract(options: RunOptions) -> LoadedContract | None:
    """The contract that the run judged by; None where it cannot be read."""
    try:
        return load_contract(contract_path(options))
    except (ContractError, OSError):
        return None


def _unsound(folder: Path) -> list[str]:
    """What is not clean of the runs in a folder, and what in them is not of this package."""
    try:
        return unsound_runs(read_head(folder)[0].runs)
    except (RecordError, OSError):
        return []


def _days(folder: Path) -> list[str]:
    """The days on which the runs in a folder ended, first to last; empty where its head cannot be read."""
    try:
        return sorted({run.ended.partition("T")[0] for run in read_head(folder)[0].runs})
    except (RecordError, OSError):
        return []


def _name(bundle: Path) -> str:
    """Name and version of a bundle; what the gates say of one that cannot be read is in the records."""
    try:
        description = read_record(bundle, DESCRIPTION_FILE, BundleDescription)
    except BundleError:
        return "a bundle without a readable name"
    return f"{description.name} {description.version}"


def _bundle_of(options: RunOptions) -> Path:
    return contract_path(dataclasses.replace(options, contract=None)).parent


def _stages_not_tested(options: RunOptions) -> list[tuple[str, Absent]]:
    """S5 to S8 cannot be compared without a bundle's own golden outputs."""
    if (_bundle_of(options) / "golden_outputs" / "index.json").is_file():
        return []
    return [("S5 to S8", Absent(what="golden outputs", why="the bundle has none; no other model's are compared"))]


def _identities(records: Mapping[str, ExperimentRecord]) -> list[tuple[RunIdentity, list[str]]]:
    """What the records belong to, and which records; one entry where they come from one run."""
    found: dict[str, tuple[RunIdentity, list[str]]] = {}
    for key, record in records.items():
        found.setdefault(record.identity.model_dump_json(), (record.identity, []))[1].append(key)
    return list(found.values())
