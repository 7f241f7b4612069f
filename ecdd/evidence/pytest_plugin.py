"""The pytest plugin: options, the `evidence` fixture, merging, and the verdict table at the end of a run."""

from __future__ import annotations

import datetime
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ecdd.evidence.collecting import Evidence, EvidenceFailed
from ecdd.evidence.declarations import (
    DeclarationError,
    Declared,
    Expected,
    expected_verdict,
    load_declared,
    load_expected,
)
from ecdd.evidence.merging import clear_run, merge, read_fragments, write_fragment, write_records
from ecdd.evidence.records import ExperimentRecord, Outcome
from ecdd.evidence.session import RunOptions, identify
from ecdd.evidence.summary import gate_lines, mutant_lines, verdict_lines

RUN = pytest.StashKey["Run"]()
EVIDENCE = pytest.StashKey[Evidence]()
CHANGED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that replace the defaults, all or one at a time."""
    group = parser.getgroup("ecdd", "ECDD: the executable specification")
    group.addoption("--bundle", type=Path, help="bundle to judge (default: the one that ships)")
    group.addoption("--contract", type=Path, help="contract to judge by (default: the bundle's own)")
    group.addoption("--golden", type=Path, help="golden set (default: golden/)")
    group.addoption("--data", type=Path, help="labelled pictures: manifest.csv or its folder (default: none)")
    group.addoption("--report-dir", type=Path, help="where records go (default: reports/runs/<payload digest>)")
    group.addoption("--expected", type=Path, help="judge the run by this file of expected verdicts")
    group.addoption("--as-of", type=datetime.date.fromisoformat, help="day for ages and expiries (default: today)")


class Run:
    """State of the controlling process, or of one worker."""

    def __init__(self, config: pytest.Config) -> None:
        self.options = _options(config)
        self.is_worker = hasattr(config, "workerinput")
        self.partial = _is_partial(config)
        self.harness_errors: list[str] = []
        self.failed_outside: list[str] = []
        self.records: dict[str, ExperimentRecord] = {}
        self.declared: dict[str, Declared] = {}
        self.expected: dict[str, Expected] = {}
        try:
            self.declared = load_declared(self.options.root / "gates" / "declared.yaml")
            if self.options.expected is not None:
                self.expected = load_expected(self.options.expected, self.declared)
        except DeclarationError as error:
            self.harness_errors.append(str(error))

    def differences(self) -> list[str]:
        """Experiments whose verdict is another one than expected, better or worse."""
        found = []
        for key, record in self.records.items():
            wanted = expected_verdict(key, self.expected)
            if record.verdict != wanted:
                found.append(f"{key} is {record.verdict}, expected {wanted}")
        return found


def _options(config: pytest.Config) -> RunOptions:
    root = config.rootpath
    given = config.getoption

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    return RunOptions(
        root=root,
        bundle=absolute(given("--bundle")),
        contract=absolute(given("--contract")),
        golden=absolute(given("--golden")) or root / "golden",
        data=absolute(given("--data")),
        report_dir=absolute(given("--report-dir")),
        expected=absolute(given("--expected")),
        as_of=given("--as-of") or datetime.datetime.now(datetime.UTC).date(),
    )


def _is_partial(config: pytest.Config) -> bool:
    """Whether the command line selects less than whole files."""
    selections = ("keyword", "markexpr", "deselect", "lf", "last_failed_no_failures", "stepwise", "maxfail")
    chosen = [getattr(config.option, name, None) for name in selections if name != "last_failed_no_failures"]
    return any("::" in str(argument) for argument in config.args) or any(chosen)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Prepare the run's folder; JUnit is written by default."""
    run = Run(config)
    config.stash[RUN] = run
    config.stash[CHANGED] = []
    updates = getattr(config.option, "update_snapshots", False)
    if updates and (run.is_worker or (getattr(config.option, "numprocesses", None) or 0) > 1):
        msg = "--snapshot-update runs in one process: repeat it with -n 0"
        raise pytest.UsageError(msg)
    if not run.is_worker:
        clear_run(run.options.folder)
        if not config.option.xmlpath:
            config.option.xmlpath = str(run.options.folder / "junit.xml")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Every version and digest that can change a result."""
    identity = identify(config.stash[RUN].options)
    versions = ", ".join(f"{name} {version}" for name, version in identity.versions.items())
    return [
        f"ecdd: payload {identity.payload_digest[:16]}, contract {identity.contract_digest[:16]}, "
        f"golden {identity.golden_digest[:16]}, as of {identity.as_of}",
        f"ecdd: {versions}",
    ]


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Collector of what this test measures; needs ``@pytest.mark.experiment("E1.8")``."""
    marker = request.node.get_closest_marker("experiment")
    if marker is None or not marker.args:
        pytest.fail("a test with the evidence fixture needs @pytest.mark.experiment('E<n>.<m>')")
    collector = Evidence(str(marker.args[0]), request.function.__name__, request.config.stash[RUN].options.folder)
    request.node.stash[EVIDENCE] = collector
    return collector


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Fail the test, in its call phase, for every metric that missed its limit."""
    __tracebackhide__ = True
    result = yield
    collector = pyfuncitem.stash.get(EVIDENCE, None)
    if collector is not None and (text := collector.failure_text()):
        raise EvidenceFailed(text)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store the test's fragment; a red that is expected shows as xfailed, never as passed."""
    report = yield
    marker = item.get_closest_marker("experiment")
    if marker is None or not marker.args:
        return report
    experiment, run = str(marker.args[0]), item.config.stash[RUN]
    item.user_properties = [pair for pair in item.user_properties if pair[0] != "experiment"]
    item.user_properties.append(("experiment", experiment))
    failed_early = report.when == "setup" and report.outcome != "passed"
    if report.when == "call" or failed_early:
        name = getattr(item, "originalname", None) or item.name
        collector = item.stash.get(EVIDENCE, None) or Evidence(experiment, name, run.options.folder)
        own = call.excinfo is not None and isinstance(call.excinfo.value, EvidenceFailed)
        failure = "" if report.outcome == "passed" or (own and collector.metrics) else _failure(report)
        outcome: Outcome = report.outcome
        write_fragment(run.options.folder, collector.fragment(item.nodeid, outcome, failure))
        for metric in collector.metrics:
            text = f"{metric.value} {metric.op} {metric.limit} {metric.verdict}"
            item.user_properties.append((f"{experiment}.{metric.name}", text))
        expects_red = experiment in run.expected and not failed_early
        if expects_red and own:
            report.outcome = "skipped"
            report.wasxfail = f"expected red: {run.expected[experiment].reason}"
    report.user_properties = list(item.user_properties)
    return report


def _failure(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)[:2000]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Seen by the controller for every worker's test."""
    _SEEN.append(report)


_SEEN: list[pytest.TestReport] = []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Merge the fragments, write the records and decide the exit status."""
    run = session.config.stash[RUN]
    if run.is_worker or session.config.option.collectonly:
        return
    fragments = read_fragments(run.options.folder)
    run.records = merge(fragments, run.declared, identify(run.options), complete_selection=not run.partial)
    if run.records:
        write_records(run.options.folder, run.records)
    for report in _SEEN:
        has_experiment = any(pair[0] == "experiment" for pair in report.user_properties)
        if report.failed and (report.when != "call" or not has_experiment):
            run.failed_outside.append(report.nodeid)
    if not _SEEN:
        run.harness_errors.append("nothing was collected; a run of nothing does not pass")
    session.exitstatus = _exit_status(run, int(exitstatus))


def _exit_status(run: Run, exitstatus: int) -> int:
    if exitstatus not in (0, 1):
        return exitstatus if exitstatus != pytest.ExitCode.NO_TESTS_COLLECTED else 1
    if run.harness_errors or run.failed_outside:
        return 1
    if run.options.expected is not None:
        return 1 if run.differences() else 0
    return 1 if any(record.verdict == "fail" for record in run.records.values()) else exitstatus


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401 - pytest's own type is private
    """Print the verdict of each experiment and gate, and write the report."""
    run = config.stash[RUN]
    if run.is_worker:
        return
    for error in run.harness_errors:
        terminalreporter.write_line(f"ecdd harness error: {error}", red=True)
    for line in config.stash[CHANGED]:
        terminalreporter.write_line(f"frozen again: {line}", yellow=True)
    for line, colour in mutant_lines(_SEEN):
        terminalreporter.write_line(line, **{colour: True})
    if not run.records:
        return
    terminalreporter.section("ECDD evidence")
    for line, colour in verdict_lines(run.records, run.expected) + gate_lines(run.records, run.declared):
        terminalreporter.write_line(line, **({colour: True} if colour else {}))
    for difference in run.differences() if run.options.expected is not None else []:
        terminalreporter.write_line(f"unexpected verdict: {difference}", red=True)
    terminalreporter.write_line(f"report: {_write_report(run)}")


def _write_report(run: Run) -> Path:
    from ecdd.evidence.report import write_report

    return write_report(run.options, run.declared, run.expected)
