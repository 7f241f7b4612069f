"""The report of a run: one self-contained HTML page that a person can read and a release can sign."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecdd.evidence.claims import compare_claims
from ecdd.evidence.declarations import Declared, Expected, difference
from ecdd.evidence.merging import experiment_order, read_records
from ecdd.evidence.records import ExperimentRecord, NotTested, Scalar
from ecdd.evidence.session import RunOptions, contract_path
from ecdd.files import write_bytes

_THUMBNAIL = 96
_TEMPLATE = "report.html.j2"


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
    page = render(options, declared, expected).encode()
    own = options.folder / "index.html"
    write_bytes(own, page)
    reports = options.root / "reports"
    if not options.folder.is_relative_to(reports / "runs"):
        return own
    for name, content in (("index.html", page), ("junit.xml", _read(junit or options.folder / "junit.xml"))):
        if content:
            write_bytes(reports / name, content)
    return reports / "index.html"


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def render(options: RunOptions, declared: Mapping[str, Declared], expected: Mapping[str, Expected]) -> str:
    """Render the page from the records of the run's folder."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ecdd.evidence", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown"] = shown
    records = read_records(options.folder)
    identities = {record.identity.model_dump_json() for record in records.values()}
    thumbnails = _Thumbnails(options.golden)
    return environment.get_template(_TEMPLATE).render(
        gates=_gates(records, declared),
        experiments=[_experiment(record, expected, options.folder, thumbnails) for record in records.values()],
        not_run=[(key, about) for key, about in sorted(declared.items(), key=_by_id) if key not in records],
        not_tested=[(r.id, entry) for r in records.values() for entry in r.not_tested] + _stages_not_tested(options),
        claims=None if (claims := _claims(options)) is None else compare_claims(claims, records),
        identity=next(iter(records.values())).identity if records else None,
        several_identities=len(identities) > 1,
    )


def _claims(options: RunOptions) -> list[str] | None:
    """Claims of the contract that the run judged by; None where it cannot be read."""
    from ecdd.contract.loading import ContractError, load_contract

    try:
        return list(load_contract(contract_path(options)).policy.release.claims)
    except (ContractError, OSError):
        return None


def _stages_not_tested(options: RunOptions) -> list[tuple[str, NotTested]]:
    """S5 to S8 cannot be compared without a bundle's own golden outputs."""
    if (contract_path(dataclasses.replace(options, contract=None)).parent / "golden_outputs" / "index.json").is_file():
        return []
    return [("S5 to S8", NotTested(what="golden outputs", why="the bundle has none; no other model's are compared"))]


def _by_id(pair: tuple[str, Declared]) -> tuple[int, ...]:
    return experiment_order(pair[0])


def _gates(records: Mapping[str, ExperimentRecord], declared: Mapping[str, Declared]) -> list[dict[str, Any]]:
    gates = []
    for gate in sorted({about.gate for about in declared.values()}):
        wanted = sorted((key for key, about in declared.items() if about.gate == gate), key=experiment_order)
        verdicts = [(key, records[key].verdict if key in records else "not_run") for key in wanted]
        passed = sum(verdict == "pass" for _, verdict in verdicts)
        failed = any(verdict == "fail" for _, verdict in verdicts)
        state = "fail" if failed else "pass" if passed == len(wanted) else "incomplete"
        gates.append({"name": gate, "state": state, "passed": passed, "total": len(wanted), "verdicts": verdicts})
    return gates


def _experiment(
    record: ExperimentRecord, expected: Mapping[str, Expected], folder: Path, thumbnails: _Thumbnails
) -> dict[str, Any]:
    metrics = []
    for metric in record.metrics:
        pictures = [image for name in metric.worst if (image := thumbnails.find(name))]
        metrics.append({"metric": metric, "thumbnail": pictures[0] if pictures else None})
    figures = [
        {"figure": figure, "data": _inline(_read(folder / figure.file))}
        for figure in record.figures
        if (folder / figure.file).is_file()
    ]
    entry = expected.get(record.id)
    as_expected = entry is not None and not difference(record, expected)
    return {"record": record, "metrics": metrics, "figures": figures, "expected": entry if as_expected else None}


def _inline(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def shown(value: Scalar) -> str:
    """A number as a reader wants it: six significant digits, and a word for what is missing."""
    if value is None:
        return "nothing finite"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class _Thumbnails:
    """Small pictures of golden samples, found by the id that a metric names."""

    def __init__(self, golden: Path) -> None:
        self._paths = {path.stem: path for path in sorted(golden.glob("*/*")) if path.suffix != ".yaml"}
        self._made: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        key = name.split(" ", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]
        path = self._paths.get(key) or self._paths.get(Path(key).stem)
        if path is None:
            return None
        if key not in self._made:
            self._made[key] = _thumbnail(path)
        return self._made[key]


def _thumbnail(path: Path) -> str | None:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return _inline(buffer.getvalue())
