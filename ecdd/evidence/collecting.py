"""The `evidence` fixture: how a test states what it measured."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ecdd.evidence.records import (
    Absent,
    Figure,
    Fragment,
    Measurement,
    Metric,
    Operator,
    Outcome,
    RuledOut,
    Scalar,
    Table,
)
from ecdd.evidence.unmeasured import NotApplicable, NotTested, Unmeasured
from ecdd.evidence.verdicts import finite, judge_metric
from ecdd.files import write_bytes

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


class EvidenceFailed(AssertionError):  # noqa: N818 - reads as the sentence that pytest prints
    """One or more metrics missed their limits, or a test measured nothing."""


class Evidence:
    """Collects what one test measures for its experiment.

    Parameters
    ----------
    experiment : str
        Id, for example ``"E1.8"``.
    test : str
        Test, with its parameters in brackets.
    folder : Path
        The run's folder, where figures go.
    """

    def __init__(self, experiment: str, test: str, folder: Path) -> None:
        self.experiment, self.test, self.folder = experiment, test, folder
        self.function = test.partition("[")[0]
        self.metrics: list[Metric] = []
        self.measurements: list[Measurement] = []
        self.tables: list[Table] = []
        self.figures: list[Figure] = []
        self.missing: list[Absent] = []
        self.ruled_out: list[RuledOut] = []

    def check(
        self,
        name: str,
        value: object,
        *,
        limit: object,
        op: Operator = "<=",
        unit: str = "",
        worst: Sequence[object] | str | None = None,
        mean: object = None,
        n: int | None = None,
        clause: str = "",
    ) -> None:
        """Store a metric and hold it to a limit; the test fails at its end when any metric does.

        Parameters
        ----------
        name : str
            Metric, unique in the experiment's test.
        value, limit : number
            NaN, infinite or None fails.
        op : str
            ``value op limit`` must hold.
        unit, clause : str
            For the reader.
        worst : sequence or str, optional
            Worst samples by name.
        mean : number, optional
            Mean over the samples.
        n : int, optional
            Number of samples; 0 fails.
        """
        names = (worst,) if isinstance(worst, str) else tuple(str(sample) for sample in worst or ())
        got, allowed = finite(value), finite(limit)
        average = finite(mean)
        self.metrics.append(
            Metric(
                name=name,
                test=self.test,
                value=got,
                op=op,
                limit=allowed,
                unit=unit,
                worst=names,
                mean=None if average is None else float(average),
                n=n,
                clause=clause or self.experiment,
                verdict=judge_metric(got, op, allowed, n),
            )
        )

    def none(self, name: str, offenders: Sequence[object], *, n: int, unit: str = "picture", clause: str = "") -> None:
        """Check that a list of offenders is empty; the first is named as the worst."""
        first = [str(offender) for offender in offenders[:3]]
        self.check(name, len(offenders), limit=0, op="==", unit=unit, worst=first, n=n, clause=clause)

    def measure(self, name: str, value: Scalar, unit: str = "") -> None:
        """Store a number or word without a threshold."""
        self.measurements.append(Measurement(name=name, test=self.test, value=_plain(value), unit=unit))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows for the report."""
        plain = tuple(
            {key: value if isinstance(value, str | bool) else finite(value) for key, value in row.items()}
            for row in rows
        )
        columns = tuple(dict.fromkeys(key for row in plain for key in row))
        self.tables.append(Table(name=name, test=self.test, rows=plain, columns=columns))

    def figure(self, name: str, figure: Any, caption: str) -> None:  # noqa: ANN401 - a Matplotlib figure or PNG bytes
        """Store a figure as PNG beside the record."""
        if isinstance(figure, bytes):
            content = figure
        else:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
            content = buffer.getvalue()
        parameters = self.test[len(self.function) :]
        path = Path("figures") / (_NOT_IN_A_NAME.sub("-", f"{self.experiment}-{name}{parameters}").strip("-") + ".png")
        write_bytes(self.folder / path, content)
        digest = hashlib.sha256(content).hexdigest()
        self.figures.append(Figure(name=name, test=self.test, file=str(path), caption=caption, sha256=digest))

    def not_tested(self, what: str, why: str) -> None:
        """Say what this run could not measure, and go on; it is shown on page one."""
        self.missing.append(Absent(what=what, why=why))

    def note(self, unmeasured: Unmeasured) -> None:
        """Note what ended the test before it measured anything more; it is shown on page one."""
        if isinstance(unmeasured, NotApplicable):
            self.ruled_out.append(RuledOut(what=unmeasured.what, knob=unmeasured.knob))
        elif isinstance(unmeasured, NotTested):
            self.not_tested(unmeasured.what, unmeasured.why)

    def failure_text(self) -> str:
        """Every missed limit in one text; empty when all hold and at least one was checked."""
        if not self.metrics and not self.missing and not self.ruled_out:
            return f"{self.experiment}: {self.test} checked nothing; a test without a metric proves nothing"
        lines = []
        for metric in self.metrics:
            if metric.verdict == "fail":
                worst = f"; worst: {', '.join(metric.worst)}" if metric.worst else ""
                count = f" over {metric.n}" if metric.n is not None else ""
                lines.append(
                    f"{metric.clause} {metric.name} = {_shown(metric.value)} {metric.unit}{count}, "
                    f"must be {metric.op} {_shown(metric.limit)}{worst}"
                )
        return "\n".join(lines)

    def fragment(self, nodeid: str, outcome: Outcome, failure: str) -> Fragment:
        """Part of the record that the test contributes."""
        return Fragment(
            experiment=self.experiment,
            test=self.function,
            nodeid=nodeid,
            outcome=outcome,
            failure=failure,
            metrics=tuple(self.metrics),
            measurements=tuple(self.measurements),
            tables=tuple(self.tables),
            figures=tuple(self.figures),
            not_tested=tuple(self.missing),
            not_applicable=tuple(self.ruled_out),
        )


def _plain(value: Any) -> Scalar:  # noqa: ANN401 - scalars of numpy too
    return value if isinstance(value, str | bool) or value is None else finite(value)


def _shown(value: float | None) -> str:
    return "nothing finite" if value is None else f"{value:.9g}"
