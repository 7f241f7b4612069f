"""Run a seeded sample of mutants: ``python -m gates.mutants.systematic``, which ``make mutation`` calls."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from gates.mutants.systematic import LOADED, VARIABLE
from gates.mutants.systematic.coverage_map import CoverageMap, Seen, test_files, trace
from gates.mutants.systematic.sites import DECIDING, ROOT, Site, boundaries, mutated, sample
from gates.mutants.systematic.table import Result, Verdict, earlier_kills, read_results, write_table
from gates.mutants.warm_processes import Finished, run_pytest

RESULTS: Final = "results.jsonl"
_FIRST_RUN: Final = 3.0  # seconds
_FIRST_OF_FILE: Final = 0.8  # seconds that a file's first test costs beside its own: imports, what its tests share
_FURTHER: Final = 0.03
_PATIENCE: Final = 150.0  # seconds; a mutant that never ends is red
MUTANT: Final = "mutant.json"
_PLUGIN: Final = "gates.mutants.systematic.planting"


def main() -> int:
    """Command line; resumes where a run was cut, and keeps kills of an earlier table in modules that are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600, help="mutants; 0 for all")
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--boundaries", action="store_true", help="instead: every < against <=, none drawn")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--packages", nargs="+", default=list(DECIDING), choices=DECIDING)
    parser.add_argument("--seconds", type=float, default=5400.0, help="begin no mutant after so many")
    parser.add_argument(
        "--budget", type=float, default=45.0, help="seconds of experiments, and of unit tests, a mutant"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--out", type=Path, help="table, as JSON and as Markdown beside it")
    given = parser.parse_args()
    console, begun = Console(), time.monotonic()
    given.folder.mkdir(parents=True, exist_ok=True)
    _trace(given, console)
    parts = given.packages
    drawn = boundaries(parts) if given.boundaries else sample(given.count or sys.maxsize, given.seed, parts)
    results = given.folder / RESULTS
    before = {} if given.out is None else {result.name: result for result in earlier_kills(given.out)}
    known = before.keys() | {result.name for result in read_results(results)}
    _run([site for site in drawn if site.name not in known], given, begun, console)
    names = {site.name for site in drawn}
    every = before | {result.name: result for result in read_results(results)}
    found = [result for name, result in every.items() if name in names]
    console.print(f"{len(found)} of {len(drawn)} mutants run; {time.monotonic() - begun:.0f} s")
    if given.out is not None:
        write_table(given.out, found, drawn=len(drawn), seed=given.seed)
    return 0


def _trace(given: argparse.Namespace, console: Console) -> None:
    with Progress(console=console) as progress:
        task = progress.add_task("which test runs which line", total=len(test_files()))
        trace(given.folder / "map", given.jobs, lambda _: progress.advance(task))


def _run(todo: list[Site], given: argparse.Namespace, begun: float, console: Console) -> None:
    seen = CoverageMap(given.folder / "map")
    selections = {site: seen.seen_by(site) for site in todo}
    with (
        Progress(console=console) as progress,
        ThreadPoolExecutor(given.jobs) as pool,
        (given.folder / RESULTS).open("a", encoding="utf-8") as stream,
    ):
        task = progress.add_task("mutants", total=len(todo))

        def one(site: Site) -> Result | None:
            if time.monotonic() - begun > given.seconds:
                return None
            return judge(site, selections[site], given.budget)

        try:
            for future in as_completed([pool.submit(one, site) for site in todo]):
                if (result := future.result()) is not None:
                    stream.write(result.model_dump_json() + "\n")
                    stream.flush()
                progress.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else the others would run on, and their results be lost
            raise


def judge(site: Site, selections: list[Seen], budget: float) -> Result:
    """Run the tests that see one mutant, experiments first, until one is red.

    Parameters
    ----------
    site : Site
        The mutant.
    selections : list of Seen
        From the coverage map.
    budget : float
        Seconds that experiments, and after them unit tests, may take together by their usual durations; the longest
        are not tried, and a mutant that only they could tell counts as survived.
    """
    begun, tried, loaded = time.monotonic(), 0, False
    source = mutated(site)
    try:
        compile(source, site.path, "exec")
    except SyntaxError as error:
        return _result(site, "no_program", str(error), begun)
    for seen in runs(selections, budget):
        tried += len(seen.tests)
        with tempfile.TemporaryDirectory(prefix="ecdd-mutation-") as folder:
            red = _red(site, source, seen, Path(folder))
            loaded = loaded or Path(folder, MUTANT).with_suffix(LOADED).is_file()
        if red:
            return _result(site, "experiment" if seen.experiment else "test", red, begun)
    if tried and not loaded:
        msg = f"{site.name}: {tried} tests passed without loading the mutant"
        raise RuntimeError(msg)
    left = sum(len(seen.tests) for seen in selections) - tried
    what = f"{tried} tests green{f', {left} beyond the budget' if left else ''}" if tried else "no test runs this line"
    return _result(site, "survived", what, begun)


def runs(selections: list[Seen], budget: float) -> list[Seen]:
    """Gather selections of one kind into runs of pytest, each about twice as long as the one before.

    The first run is short, since most mutants die in it; a mutant that survives is not asked by a hundred processes.
    """
    found: list[Seen] = []
    for experiment in (True, False):
        spent, longest = 0.0, _FIRST_RUN
        begun: set[str] = set()
        tests: tuple[str, ...] = ()
        seconds = 0.0
        for seen in (one for one in selections if one.experiment is experiment):
            files = {test.partition("::")[0] for test in seen.tests}
            cost = seen.seconds + (_FURTHER if files <= begun else _FIRST_OF_FILE)
            if spent and spent + cost > budget:
                continue  # a shorter one that looks less closely may have room yet
            spent += cost
            begun |= files
            if tests and seconds + cost > longest:
                found.append(Seen(by_file(tests), seconds, experiment))
                tests, seconds, longest = (), 0.0, 2 * longest
            tests, seconds = tests + seen.tests, seconds + cost
        if tests:
            found.append(Seen(by_file(tests), seconds, experiment))
    return found


def by_file(tests: tuple[str, ...]) -> tuple[str, ...]:
    """Tests of one file stand together, so that what they share is made once."""
    first = {test.partition("::")[0]: place for place, test in reversed([*enumerate(tests)])}
    return tuple(sorted(tests, key=lambda test: first[test.partition("::")[0]]))


def _red(site: Site, source: str, seen: Seen, folder: Path) -> str:
    """Say what a mutant turned red, or nothing; a test that is red without it, planted the same way, does not count."""
    tests = seen.tests
    while tests:
        finished = _run_planted(site, source, tests, folder, seen.seconds)
        if finished.exit_code == 0:
            return ""
        lines = finished.output.splitlines()
        failed = next((one for line in lines if (one := _failed(line))), tests[0])
        said = next((line for line in lines if line.startswith("E  ")), f"exit code {finished.exit_code}")
        if failed not in tests or _green_without(site, _beside(failed, tests)):
            return f"{failed}: {said}"[:300]
        tests = tuple(test for test in tests if test != failed)
    return ""


def _failed(line: str) -> str:
    """Node id of a line of pytest's summary, which may hold spaces; empty where the line is no such line."""
    kind, _, rest = line.partition(" ")
    return rest.partition(" - ")[0] if kind in ("FAILED", "ERROR") else ""


def _beside(failed: str, tests: tuple[str, ...]) -> tuple[str, ...]:
    """The tests of its file that ran before a test that failed, and it: a few of a file may fail where all do not."""
    file = failed.partition("::")[0]
    return tuple(test for test in tests[: tests.index(failed) + 1] if test.partition("::")[0] == file)


_CONTROLS: Final[dict[tuple[str, ...], bool]] = {}


def _green_without(site: Site, tests: tuple[str, ...]) -> bool:
    if tests not in _CONTROLS:
        source = (ROOT / site.path).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="ecdd-control-") as folder:
            _CONTROLS[tests] = _run_planted(site, source, tests, Path(folder), 60.0).exit_code == 0
    return _CONTROLS[tests]


def _run_planted(site: Site, source: str, tests: tuple[str, ...], folder: Path, seconds: float) -> Finished:
    planted = folder / MUTANT
    module = site.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    described = {"module": module, "path": str(ROOT / site.path), "source": source}
    planted.write_text(json.dumps(described), encoding="utf-8")
    return run_pytest(
        tests,
        folder / "run",
        first=(_PLUGIN,),
        options=("-x", "--no-summary", "--tb=short"),
        environment={VARIABLE: str(planted)},
        timeout=_PATIENCE + 10.0 * seconds,
    )


def _result(site: Site, verdict: Verdict, said: str, begun: float) -> Result:
    values: dict[str, Any] = {"line": site.line, "package": site.package, "operator": site.operator}
    return Result(name=site.name, verdict=verdict, said=said, seconds=round(time.monotonic() - begun, 1), **values)
