"""What a report says of gates and experiments, as plain values for its template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ecdd.evidence.declarations import Declared, Expected, difference
from ecdd.evidence.edits import edited_figure
from ecdd.evidence.gate_names import gate_name
from ecdd.evidence.margins import Margin, closest_metric, margin_of
from ecdd.evidence.merging import experiment_order
from ecdd.evidence.records import ExperimentRecord, Figure, Metric, RunIdentity, Scalar
from ecdd.evidence.report_pictures import GoldenSamples, Picture, Pictures, Sample
from ecdd.evidence.verdicts import RULES_BROKEN, judge_gate

NEAR: Final = 0.05  # of the limit; closer than that a pass is marked
_DIGITS: Final = 4
_ALL_DIGITS: Final = 17


@dataclass(frozen=True)
class MetricRow:
    """A metric, its margin, and its worst sample where that is a golden picture."""

    metric: Metric
    margin: Margin
    sample: Sample | None

    @property
    def near(self) -> bool:
        """Whether it passed, and only just."""
        close = self.margin.kind == "relative" and abs(self.margin.value or 0.0) < NEAR
        return close and self.metric.verdict == "pass"


@dataclass(frozen=True)
class FigureRow:
    """A figure; ``why`` says what is wrong where there is no picture."""

    figure: Figure
    picture: Picture | None
    why: str


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment of the page.

    Attributes
    ----------
    key, gate, title, state : str
        ``state`` is the record's verdict, ``not_run``, or ``foreign`` for a record of another bundle or contract.
    record : ExperimentRecord or None
        None where there is none.
    closest : MetricRow or None
        The metric nearest to its limit.
    worst : MetricRow or None
        The metric, closest first, that names a worst sample.
    expected : Expected or None
        The entry that a red record agrees with.
    """

    key: str
    gate: str
    title: str
    state: str
    record: ExperimentRecord | None = None
    metrics: tuple[MetricRow, ...] = ()
    closest: MetricRow | None = None
    worst: MetricRow | None = None
    figures: tuple[FigureRow, ...] = ()
    expected: Expected | None = None

    @property
    def samples(self) -> list[Sample]:
        """Golden pictures that its metrics name, each once."""
        return list(dict.fromkeys(row.sample for row in self.metrics if row.sample is not None))


def experiment_rows(
    records: Mapping[str, ExperimentRecord],
    declared: Mapping[str, Declared],
    expected: Mapping[str, Expected],
    judged: RunIdentity,
    folder: Path,
    samples: GoldenSamples,
    pictures: Pictures,
) -> list[ExperimentRow]:
    """A row for every experiment that ran or is declared, in order of gates and ids."""
    rows = []
    for key in sorted({*records, *declared}, key=lambda key: (experiment_order(key), key)):
        record = records.get(key)
        if record is not None:
            foreign = not same_subject(record.identity, judged)
            rows.append(_ran(record, "foreign" if foreign else record.verdict, expected, folder, samples, pictures))
        else:
            rows.append(ExperimentRow(key, declared[key].gate, declared[key].title, "not_run"))
    return rows


def same_subject(one: RunIdentity, other: RunIdentity) -> bool:
    """Whether two runs judged the same payload by the same contract."""
    return (one.payload_digest, one.contract_digest) == (other.payload_digest, other.contract_digest)


def _ran(
    record: ExperimentRecord,
    state: str,
    expected: Mapping[str, Expected],
    folder: Path,
    samples: GoldenSamples,
    pictures: Pictures,
) -> ExperimentRow:
    def row(metric: Metric) -> MetricRow:
        found = (samples.find(name, record.identity) for name in metric.worst)
        return MetricRow(metric, margin_of(metric), next((sample for sample in found if sample is not None), None))

    metrics = shown_metrics(record.metrics)
    rows = {id(metric): row(metric) for metric in metrics}
    closest = closest_metric(metrics)
    named = closest_metric(metric for metric in metrics if any(metric.worst))
    if closest is not None and any(closest.worst):
        named = closest
    entry = expected.get(record.id)
    return ExperimentRow(
        key=record.id,
        gate=record.gate,
        title=record.title,
        state=state,
        record=record,
        metrics=tuple(rows.values()),
        closest=None if closest is None else rows[id(closest)],
        worst=None if named is None else rows[id(named)],
        figures=tuple(_figure(figure, folder, pictures) for figure in record.figures),
        expected=entry if entry and entry.verdict != "pass" and not difference(record, expected) else None,
    )


def shown_metrics(metrics: Iterable[Metric]) -> list[Metric]:
    """Rules that hold stand last, in one row with their number; a broken one and every other metric in its own."""
    every = list(metrics)
    held = [metric for metric in every if metric.name == RULES_BROKEN and metric.verdict == "pass"]
    shown = [metric for metric in every if metric not in held]
    return [*shown, held[0].model_copy(update={"n": len(held)})] if held else shown


def _figure(figure: Figure, folder: Path, pictures: Pictures) -> FigureRow:
    """The figure beside the record, if it is the one that the run drew."""
    if why := edited_figure(folder, figure):
        return FigureRow(figure, None, why.partition(": ")[2])
    picture = pictures.add_png((folder / figure.file).read_bytes())
    return FigureRow(figure, picture, "" if picture is not None else "the file is no PNG")


def gate_cards(rows: Iterable[ExperimentRow]) -> list[dict[str, Any]]:
    """State of each gate, as `judge_gate` has it."""
    by_gate: dict[str, list[ExperimentRow]] = {}
    for row in rows:
        by_gate.setdefault(row.gate, []).append(row)
    return [_card(gate, members) for gate, members in sorted(by_gate.items())]


def _card(gate: str, members: Sequence[ExperimentRow]) -> dict[str, Any]:
    state, passed, total = judge_gate([row.state for row in members])
    return {"key": gate, "name": gate_name(gate), "state": state, "passed": passed, "total": total, "rows": members}


def shown(value: Scalar, beside: Scalar = None) -> str:
    """A number as a reader wants it, and a word for what is missing.

    Parameters
    ----------
    value : float, int, bool, str or None
        To show.
    beside : number, optional
        What it is compared with: where four digits make the two look alike, more are shown.

    Returns
    -------
    str
        Four significant digits.
    """
    if value is None:
        return "nothing finite"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    for digits in range(_DIGITS, _ALL_DIGITS):
        text = f"{value:.{digits}g}"
        if not isinstance(beside, int | float) or value == beside or text != f"{float(beside):.{digits}g}":
            return text
    return repr(value)
