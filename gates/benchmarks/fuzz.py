"""A fuzz campaign: hostile pictures, contracts, bundles, evidence, other files and requests, as long as you like.

Every input follows from seed, target and number, so that one can be made again alone. Each is given to the product in
a process that may die or hang without ending the campaign. Exit code 1 where anything escaped: an exception, a trace,
a terminal escape, a death, more time or memory than a picture may cost.

    python -m gates.benchmarks.fuzz --seconds 1200 --jobs 2
    python -m gates.benchmarks.fuzz --target shapes --number 17       # one input again, with its trace
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from gates.support.command_calls import write_files
from gates.support.fresh_peak import forget_peak, peak_bytes
from gates.support.fuzz_targets import TARGETS
from gates.support.site_process import SiteProcess

_HANGS: Final = 120.0  # seconds for one input, on a busy machine
# of processor time and memory beside the process itself, for the targets that decode alone
_MAX_SECONDS: Final = 3.0
_MAX_BYTES: Final = 200 * 2**20
_DECODE: Final = ("shapes", "pictures")
_FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Tried:
    """What became of one input: an outcome, or in ``problem`` what went wrong; processor seconds, bytes."""

    target: str
    number: int
    outcome: str = ""
    problem: str = ""
    seconds: float = 0.0
    grown: int = 0


@dataclass
class Summary:
    """One target of a campaign; seconds and bytes with the number of the input."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)
    largest: tuple[int, int] = (0, 0)

    def add(self, one: Tried) -> None:
        """Count one input."""
        self.inputs += 1
        self.outcomes[one.outcome or "problem"] += 1
        self.slowest = max(self.slowest, (one.seconds, one.number))
        self.largest = max(self.largest, (one.grown, one.number))
        problem = one.problem
        if one.target in _DECODE and (one.seconds > _MAX_SECONDS or one.grown > _MAX_BYTES):
            problem = f"{one.seconds:.1f} s, {one.grown / 2**20:.0f} MiB {problem}"
        if problem:
            self.problems.append(f"{one.target} {one.number}: {problem}")


def try_one(seed: int, target: str, number: int, files: Mapping[str, str]) -> Tried:
    """Make one input and give it to the product."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    before, begun = forget_peak(), time.process_time()
    outcome = problem = ""
    try:
        outcome = TARGETS[target](random.Random(f"{seed} {target} {number}"), folder, files)  # noqa: S311
    except Exception as error:  # noqa: BLE001 - what a campaign looks for
        where = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    seconds, grown = time.process_time() - begun, peak_bytes() - before
    shutil.rmtree(folder, ignore_errors=True)
    return Tried(target, number, outcome, problem, seconds, grown)


def _work(connection: Connection, seed: int, files: Mapping[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (asked := connection.recv()) is not None:
        connection.send(try_one(seed, *asked, files))


class _Worker:
    """A process with one input at a time."""

    def __init__(self, seed: int, files: Mapping[str, str]) -> None:
        self._given = (seed, files)
        self._start()

    def _start(self) -> None:
        self.connection, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_work, args=(theirs, *self._given), daemon=True)
        self._process.start()
        theirs.close()
        self._asked: tuple[str, int] | None = None

    def ask(self, target: str, number: int) -> None:
        self._asked, self._since = (target, number), time.monotonic()
        self.connection.send(self._asked)

    def answer(self) -> Tried | None:
        """What became of the input; None while it is tried."""
        assert self._asked is not None
        try:
            if self.connection.poll(0.05):
                return self.connection.recv()  # type: ignore[no-any-return]
            if time.monotonic() - self._since < _HANGS:
                return None
            problem = f"no end within {_HANGS:g} s"
        except (EOFError, OSError):
            self._process.join()
            problem = f"the process ended with {self._process.exitcode}"
        lost = Tried(*self._asked, problem=problem)
        self._process.kill()
        self._process.join()
        self._start()
        return lost

    def dismiss(self) -> None:
        self._process.kill()
        self._process.join()


def campaign(seconds: float, seed: int, jobs: int, targets: list[str], files: Mapping[str, str]) -> Iterator[Tried]:
    """Try inputs of the targets in turn until the time is over; deaths and hangs are outcomes too."""
    end = time.monotonic() + seconds
    turn = ((target, number) for number in itertools.count() for target in targets)
    workers = [_Worker(seed, files) for _ in range(jobs)]
    for worker in workers:
        worker.ask(*next(turn))
    try:
        while time.monotonic() < end:
            for worker in workers:
                if (one := worker.answer()) is not None:
                    yield one
                    worker.ask(*next(turn))
    finally:
        for worker in workers:
            worker.dismiss()


def report(found: Mapping[str, Summary]) -> dict[str, Any]:
    """Numbers of a campaign by target, for JSON."""
    return {name: {**asdict(one), "outcomes": dict(one.outcomes.most_common())} for name, one in found.items()}


def main() -> int:
    """Run a campaign and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one; may be repeated")
    parser.add_argument("--number", type=int, help="this one input of --target alone")
    parser.add_argument("--out", type=Path, help="numbers as JSON")
    given = parser.parse_args()
    targets = given.target or list(TARGETS)
    with tempfile.TemporaryDirectory(prefix="fuzz-files-") as folder:
        files = write_files(Path(folder))
        site = SiteProcess("--jobs", "1") if "requests" in targets else None
        files |= {} if site is None else {"port": str(site.port)}
        try:
            if given.number is not None:
                one = try_one(given.seed, targets[0], given.number, files)
                sys.stdout.write(f"{one}\n")
                return int(bool(one.problem))
            found = {name: Summary() for name in targets}
            for one in campaign(given.seconds, given.seed, given.jobs, targets, files):
                found[one.target].add(one)
        finally:
            if site is not None:
                site.stop()
    problems = [problem for one in found.values() for problem in one.problems]
    if site is not None and "Traceback" in site.output:
        problems.append(f"the site's log has a trace: {site.output[site.output.index('Traceback') :][:2000]}")
    _show(found, problems)
    if given.out is not None:
        given.out.write_text(json.dumps(report(found) | {"problems": problems}, indent=1) + "\n", encoding="utf-8")
    return int(bool(problems))


def _show(found: Mapping[str, Summary], problems: list[str]) -> None:
    say = sys.stdout.write
    say(f"{'target':12} {'inputs':>7} {'problems':>8}  slowest (input)   largest (input)   outcomes\n")
    for name, one in found.items():
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in one.outcomes.most_common(5))
        slowest = f"{one.slowest[0]:.2f} s ({one.slowest[1]})"
        largest = f"{one.largest[0] >> 20} MiB ({one.largest[1]})"
        say(f"{name:12} {one.inputs:7} {len(one.problems):8}  {slowest:16}  {largest:16}  {outcomes}\n")
    for problem in problems:
        say(f"{problem!r}\n")


if __name__ == "__main__":
    sys.exit(main())
