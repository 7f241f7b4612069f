"""The pytest plugin: options, the `evidence` fixture, fragments of records, and freezing.

The end of a run, where fragments become records and verdicts, is in `run`.
"""

from __future__ import annotations

import datetime
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ecdd.evidence.collecting import Evidence, EvidenceFailed
from ecdd.evidence.merging import write_fragment
from ecdd.evidence.records import Outcome
from ecdd.evidence.run import CHANGED, EXPECTED_RED, JUNIT, RUN, Run, only_lists
from ecdd.evidence.session import identify
from ecdd.evidence.unmeasured import Unmeasured
from ecdd.evidence.verdicts import RULES_BROKEN

__all__ = ["CHANGED", "RUN"]

pytest_plugins = ["ecdd.evidence.fixtures"]

EVIDENCE = pytest.StashKey[Evidence]()
UNMEASURED = pytest.StashKey[Unmeasured]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that replace the defaults, all or one at a time."""
    group = parser.getgroup("ecdd", "ECDD: the executable specification")
    group.addoption("--bundle", type=Path, help="bundle to judge (default: the one that ships)")
    group.addoption("--contract", type=Path, help="contract to judge by (default: the bundle's own)")
    group.addoption("--golden", type=Path, help="golden set (default: the specification's)")
    group.addoption("--data", type=Path, help="labelled pictures: manifest.csv or its folder (default: none)")
    group.addoption("--dumps", type=Path, help="dumps of other machines, *.npz (default: where make edge puts them)")
    group.addoption("--report-dir", type=Path, help="where records go (default: reports/runs/<payload digest>)")
    group.addoption("--expected", type=Path, help="judge the run by this file of expected verdicts")
    group.addoption("--as-of", type=datetime.date.fromisoformat, help="day for ages and expiries (default: today)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Prepare the run; JUnit is written by default."""
    config.addinivalue_line("markers", "experiment(id, rules=False): the test measures a part of E<n>.<m>")
    run = Run(config)
    config.stash[RUN] = run
    config.stash[CHANGED] = []
    if is_freezing(config) and (run.is_worker or (getattr(config.option, "numprocesses", None) or 0) > 1):
        msg = "--snapshot-update runs in one process: repeat it with -n 0"
        raise pytest.UsageError(msg)
    for name in ("bundle", "contract", "golden", "data", "expected", "dumps"):
        path = getattr(run.options, name)
        if path is not None and config.getoption(f"--{name}") is not None and not path.exists():
            msg = f"--{name} {path}: no such file or folder"
            raise pytest.UsageError(msg)
    config.pluginmanager.register(run, "ecdd-run")
    if not (run.is_worker or config.option.xmlpath or only_lists(config)):
        config.option.xmlpath = str(run.fragments / JUNIT)  # beside the records once there are some


def is_freezing(config: pytest.Config) -> bool:
    """Whether ``--snapshot-update`` was given."""
    return bool(getattr(config.option, "update_snapshots", False))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Every version and digest that can change a result."""
    identity = identify(config.stash[RUN].options)
    versions = ", ".join(f"{name} {version}" for name, version in identity.versions.items())
    return [
        f"ecdd: payload {identity.payload_digest[:16]}, contract {identity.contract_digest[:16]}, "
        f"golden {identity.golden_digest[:16]}, as of {identity.as_of}",
        f"ecdd: {versions}",
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only tests that freeze with ``--snapshot-update``, and only those that time with ``--benchmark-only``.

    The others would judge what is being replaced, or be skipped, which reads as a failure of their experiment.
    """
    if is_freezing(config):
        wanted = "freezing"
    elif getattr(config.option, "benchmark_only", False):
        wanted = "benchmark"
    else:
        return
    others = [item for item in items if wanted not in getattr(item, "fixturenames", ())]
    if others:
        items[:] = [item for item in items if item not in set(others)]
        config.hook.pytest_deselected(items=others)


def experiment_of(item: pytest.Item) -> str | None:
    """Id in ``@pytest.mark.experiment("E1.8")``; None without the marker."""
    marker = item.get_closest_marker("experiment")
    return str(marker.args[0]) if marker is not None and marker.args else None


@pytest.fixture(scope="session")
def freezing(request: pytest.FixtureRequest) -> bool:
    """Whether this run freezes; with ``--snapshot-update`` the tests that ask for this fixture run, and no others."""
    return is_freezing(request.config)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Collector of what this test measures; needs ``@pytest.mark.experiment("E1.8")``."""
    experiment = experiment_of(request.node)
    if experiment is None:
        pytest.fail("a test with the evidence fixture needs @pytest.mark.experiment('E<n>.<m>')")
    return _collector(request.node, experiment)


def _collector(item: pytest.Item, experiment: str) -> Evidence:
    if EVIDENCE not in item.stash:
        item.stash[EVIDENCE] = Evidence(experiment, item.name, item.config.stash[RUN].options.folder)
    return item.stash[EVIDENCE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Keep what a fixture raised of `Unmeasured` for the call, where the test is judged."""
    try:
        yield
    except Unmeasured as unmeasured:
        if experiment_of(item) is None:
            raise
        item.stash[UNMEASURED] = unmeasured


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Note what could not be measured; fail the test, in its call phase, for every metric that missed its limit."""
    __tracebackhide__ = True
    experiment = experiment_of(pyfuncitem)
    try:
        result = yield
    except Unmeasured as unmeasured:
        if experiment is None:
            raise
        _collector(pyfuncitem, experiment).note(unmeasured)
        result = True
    except (Exception, pytest.fail.Exception):
        _note_rule(pyfuncitem, broken=True)
        raise
    _note_rule(pyfuncitem, broken=False)
    collector = pyfuncitem.stash.get(EVIDENCE, None)
    if collector is not None and (text := collector.failure_text()):
        raise EvidenceFailed(text)
    return result


def _note_rule(item: pytest.Function, *, broken: bool) -> None:
    """Of a test in a file of rules, its outcome is what it measures."""
    marker = item.get_closest_marker("experiment")
    if marker is not None and marker.kwargs.get("rules"):
        _collector(item, str(marker.args[0])).none(RULES_BROKEN, [item.name] * broken, n=1, unit="rule")


@pytest.hookimpl(tryfirst=True, specname="pytest_pyfunc_call")
def pytest_pyfunc_not_called(pyfuncitem: pytest.Function) -> None:
    """In place of a test whose fixture raised `Unmeasured`."""
    if UNMEASURED in pyfuncitem.stash:
        raise pyfuncitem.stash[UNMEASURED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store the test's fragment; a red that is expected shows as xfailed, never as passed."""
    report = yield
    experiment = experiment_of(item)
    if experiment is None:
        return report
    properties = [pair for pair in item.user_properties if pair[0] != "experiment"]
    item.user_properties[:] = [*properties, ("experiment", experiment)]
    # outside its call a test that passes adds nothing; one that breaks in setup or teardown has not passed
    if report.when == "call" or report.outcome != "passed":
        _store(item, call, report, experiment)
    report.user_properties = list(item.user_properties)
    return report


def _store(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, experiment: str) -> None:
    run = item.config.stash[RUN]
    collector = _collector(item, experiment)
    by_metric = call.excinfo is not None and isinstance(call.excinfo.value, EvidenceFailed)
    outcome: Outcome = report.outcome
    failure = "" if outcome == "passed" or (by_metric and collector.metrics) else _failure(report)
    if hasattr(report, "wasxfail"):  # by a marker: neither XFAIL nor XPASS is a pass
        outcome, failure = "skipped", f"marked xfail: {report.wasxfail}"
    write_fragment(run.fragments, collector.fragment(item.nodeid, outcome, failure))
    if report.when == "call":
        for metric in collector.metrics:
            text = f"{metric.value} {metric.op} {metric.limit} {metric.verdict}"
            item.user_properties.append((f"{experiment}.{metric.name}", text))
    if by_metric and collector.metrics and experiment in run.expected and not hasattr(report, "wasxfail"):
        report.outcome = "skipped"
        report.wasxfail = f"{EXPECTED_RED}{run.expected[experiment].reason}"


def _failure(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):  # skipped: file, line, reason
        return str(report.longrepr[-1])[:2000]
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)[:2000]
