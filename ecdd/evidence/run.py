"""One run of the gates, seen by the controlling process: from fragments to records, verdicts and the exit status."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import xml_key

from ecdd.evidence.chain import write_chain
from ecdd.evidence.declarations import (
    DeclarationError,
    Declared,
    Expected,
    difference,
    load_declarations,
    load_expected,
)
from ecdd.evidence.head import FAILED, LOST, MARKED, PASSED, SKIPPED, RunEntry, write_head
from ecdd.evidence.merging import FRAGMENTS, Asked, RecordError, merge, read_fragments, remove_fragments, write_records
from ecdd.evidence.records import ExperimentRecord
from ecdd.evidence.selection import Collection, is_complete, read_collection, selection_of, unfinished, with_rules
from ecdd.evidence.session import RunOptions, identify
from ecdd.evidence.soundness import foreign_plugins, origin_of
from ecdd.evidence.summary import gate_lines, mutant_lines, verdict_lines
from ecdd.specification import GATES, GOLDEN

RUN = pytest.StashKey["Run"]()
CHANGED = pytest.StashKey[list[str]]()
JUNIT = "junit.xml"
EXPECTED_RED = "expected red: "
_INPUT = "ecdd_run"
DUMPS = "build/edge/dumps"  # where make edge puts them


class Run:
    """State of the controlling process, or of one worker; registered as a plugin of its own.

    Parameters
    ----------
    config : pytest.Config
        The session's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.options = _options(config)
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.is_worker = worker is not None
        self.name = str(worker["workerid"]) if worker is not None else "controller"
        # runs of one bundle at the same time share its folder, but not their fragments
        self.run_id = str(worker[_INPUT]) if worker is not None else uuid.uuid4().hex
        self.fragments = self.options.folder / FRAGMENTS / self.run_id
        self.collection = Collection()
        self.reports: list[pytest.TestReport] = []
        self.harness_errors: list[str] = []
        self.records: dict[str, ExperimentRecord] = {}
        self.declared: dict[str, Declared] = {}
        self.files: dict[str, tuple[Path, ...]] = {}
        self.expected: dict[str, Expected] = {}
        try:
            declarations = load_declarations(self.options.root)
            self.declared, self.files = declarations.experiments, declarations.files
            if self.options.expected is not None:
                self.expected = load_expected(self.options.expected, self.declared)
        except DeclarationError as error:
            self.harness_errors.append(str(error))
        invoked_in = config.invocation_params.dir
        config.args[:] = with_rules(config.args, invoked_in, self.files.values())
        self.selection = selection_of(config.args, invoked_in, config.option)
        if os.environ.get("CI") == "true":  # there everything must be testable
            self.expected = {key: entry for key, entry in self.expected.items() if not entry.is_needed_in_ci}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist may be absent
        """Tell each worker which run it belongs to."""
        node.workerinput[_INPUT] = self.run_id

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember which experiments lost a test to ``-k``, ``-m`` or ``--deselect``."""
        _note(self.collection.deselected, items)

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Note every test file that is not one of the gates: in the same process, it can patch what measures."""
        if isinstance(collector, pytest.Module) and not collector.path.is_relative_to(GATES):
            self.collection.plugins[collector.nodeid] = origin_of(collector.path)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Store what was collected; workers do this for the controller."""
        _note(self.collection.collected, session.items)
        self.collection.plugins |= foreign_plugins(session.config.pluginmanager)
        if not only_lists(session.config):
            self.collection.write(self.fragments, self.name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the report of every worker's test."""
        self.reports.append(report)

    @pytest.hookimpl(wrapper=True, trylast=True)  # around the JUnit plugin, inside the terminal's, which shows it
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        """Merge the fragments, write the records, decide the exit status, and put JUnit beside the records."""
        if self.is_worker or only_lists(session.config):
            return (yield)
        self._merge(session.config, interrupted=int(exitstatus) not in (0, 1, pytest.ExitCode.NO_TESTS_COLLECTED))
        if not self.reports:
            self.harness_errors.append("nothing was collected; a run of nothing does not pass")
        session.exitstatus = self.exit_status(int(exitstatus))
        yield
        self._keep_junit(session.config)
        remove_fragments(self.fragments)
        return None

    def _keep_junit(self, config: pytest.Config) -> None:
        """Move the JUnit file to the records of the same run; without records an earlier run's stays as it is."""
        if config.option.xmlpath != str(self.fragments / JUNIT):  # asked for by name: it stays where it is
            return
        plugin = config.stash[xml_key]
        if self.records:
            config.option.xmlpath = plugin.logfile = str(self.options.folder / JUNIT)
            (self.fragments / JUNIT).replace(plugin.logfile)
        else:  # nor does it say where it wrote what is gone
            config.option.xmlpath = None
            config.pluginmanager.unregister(plugin)
            del config.stash[xml_key]

    def _merge(self, config: pytest.Config, *, interrupted: bool) -> None:
        collection, fragments = read_collection(self.fragments), read_fragments(self.fragments)
        seen = set(self.declared) | (set(collection.collected) - {""}) | {f.experiment for f in fragments}
        whole = {key for key in seen if is_complete(key, self.files.get(key, ()), self.selection, collection)}
        lost = unfinished(collection.collected, (fragment.nodeid for fragment in fragments))
        if interrupted or self.selection.stops_early:
            whole, lost = set(), {}
        asked = Asked(frozenset(whole), lost)
        identity = identify(self.options)
        self.records = merge(fragments, self.declared, identity, asked)
        if not self.records:
            return
        write_records(self.options.folder, self.records)
        replaced = {key for key, record in self.records.items() if record.verdict != "incomplete"}
        chain = write_chain(self.options.folder, fragments, self.run_id, replaced)
        entry = RunEntry(
            run=self.run_id,
            ended=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            identity=identity,
            plugins=collection.plugins | foreign_plugins(config.pluginmanager),
            tests=self._outcomes(set().union(*collection.collected.values())),
            problems=(*self.harness_errors, *(["the run was interrupted"] if interrupted else [])),
        )
        try:
            write_head(self.options.folder, chain, entry)
        except RecordError as error:  # left there by another version
            self.harness_errors.append(f"{error}; or remove it, or name another folder")
            self.records = {}

    def _outcomes(self, collected: set[str]) -> dict[str, str]:
        """Outcome of every collected test, of an experiment or not; the worst of its phases counts."""
        found = dict.fromkeys(sorted(collected), LOST)
        for report in self.reports:
            said, before = _outcome(report), found.get(report.nodeid, LOST)
            if before != FAILED and (said != PASSED or (report.when == "call" and before == LOST)):
                found[report.nodeid] = said
        return found

    def broken(self) -> list[str]:
        """Tests outside the experiments that failed, and tests that broke outside their call."""
        found = []
        for report in self.reports:
            has_experiment = any(pair[0] == "experiment" for pair in report.user_properties)
            if report.failed and (report.when != "call" or not has_experiment):
                found.append(report.nodeid)
        return found

    def differences(self) -> list[str]:
        """How verdicts differ from the expected ones, better or worse; empty without ``--expected``."""
        if self.options.expected is None:
            return []
        return [text for record in self.records.values() if (text := difference(record, self.expected))]

    def exit_status(self, exitstatus: int) -> int:
        """Exit status of the run: 0 only when nothing broke and every verdict is the one asked for.

        Parameters
        ----------
        exitstatus : int
            pytest's own.

        Returns
        -------
        int
            0, 1, or pytest's own for interruption, usage and internal errors.
        """
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            return 1
        if exitstatus not in (0, 1):
            return exitstatus
        if self.harness_errors or self.broken():
            return 1
        if self.options.expected is not None:
            return int(bool(self.differences()))
        return 1 if any(record.verdict == "fail" for record in self.records.values()) else exitstatus

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401
        """Print the verdict of each experiment and gate, and write the report."""
        if self.is_worker or only_lists(config):
            return
        write = terminalreporter.write_line
        for error in self.harness_errors:
            write(f"ecdd harness error: {error}", red=True)
        for line in config.stash[CHANGED]:
            write(f"frozen again: {line}", yellow=True)
        for line, colour in mutant_lines(self.reports):
            write(line, **{colour: True})
        if not self.records:
            return
        terminalreporter.section("ECDD evidence")
        for line, colour in verdict_lines(self.records, self.expected) + gate_lines(self.records, self.declared):
            write(line, **({colour: True} if colour else {}))
        for text in self.differences():
            write(f"unexpected verdict: {text}", red=True)
        if not config.option.no_summary:
            write(f"report: {self._write_report(config.option.xmlpath)}")

    def _write_report(self, junit: str | None) -> Path:
        from ecdd.evidence.report import write_report

        return write_report(self.options, self.declared, self.expected, None if junit is None else Path(junit))


def only_lists(config: pytest.Config) -> bool:
    """Whether pytest was asked to list tests or fixtures and to run nothing."""
    names = ("collectonly", "showfixtures", "show_fixtures_per_test")
    return any(getattr(config.option, name, False) for name in names)


def _outcome(report: pytest.TestReport) -> str:
    """How a phase ended; a red that is expected is red."""
    excused: str | None = getattr(report, "wasxfail", None)
    if report.failed or (excused or "").startswith(EXPECTED_RED):
        return FAILED
    if excused is not None:
        return f"{MARKED} {excused}"
    if not report.skipped:
        return PASSED
    reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return f"{SKIPPED}{reason.removeprefix('Skipped: ')}"


def _note(into: dict[str, set[str]], items: Sequence[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("experiment")
        key = str(marker.args[0]) if marker is not None and marker.args else ""
        into.setdefault(key, set()).add(item.nodeid)


def _options(config: pytest.Config) -> RunOptions:
    given: Mapping[str, Any] = vars(config.option)

    def absolute(name: str) -> Path | None:
        return None if given[name] is None else (config.invocation_params.dir / given[name]).resolve()

    return RunOptions(
        root=config.rootpath.resolve(),
        bundle=absolute("bundle"),
        contract=absolute("contract"),
        golden=absolute("golden") or GOLDEN,
        data=absolute("data"),
        report_dir=absolute("report_dir"),
        expected=absolute("expected"),
        as_of=given["as_of"] or datetime.datetime.now(datetime.UTC).date(),
        dumps=absolute("dumps") or config.rootpath.resolve() / DUMPS,
    )
