"""What became of each mutant, and the rates that are asked of the parts that decide."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ecdd.evidence.session import file_digest
from ecdd.files import write_output
from gates.mutants.forked import ROOT

ANY_TEST: Final = 0.95  # share that any test must kill
EXPERIMENT: Final = 0.70  # share that an experiment must kill, in the parts below
BY_EXPERIMENT: Final = frozenset({"pipeline", "inference", "calibration", "evaluation", "evidence", "release"})
EQUIVALENT: Final = Path(__file__).with_name("equivalent.json")
_FOLDERS: Final = re.compile(r"(?<![\w.])/+(?:[\w.@+-]+/)+")  # of a machine, in what a test said: nobody else has them
MISSED: Final = Path(__file__).with_name("missed.json")  # by part: why it misses its bar

Verdict = Literal["experiment", "test", "survived", "no_program"]


class Result(BaseModel):
    """One mutant.

    Attributes
    ----------
    name : str
        ``path:operator:occurrence``.
    line : int
        In the module, from 1.
    verdict : {"experiment", "test", "survived", "no_program"}
        What killed it; ``no_program`` where the change does not compile.
    said : str
        First failing line, or how many tests stayed green.
    seconds : float
        Wall clock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    line: int
    package: str
    operator: str
    verdict: Verdict
    said: str
    seconds: float


class PackageRates(BaseModel):
    """Rates of one part of the package; equivalent mutants and those that are no program do not count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    package: str
    mutants: int
    by_experiment: int
    by_test: int
    survived: int
    equivalent: int
    killed_share: float = Field(ge=0, le=1)
    experiment_share: float = Field(ge=0, le=1)
    met: bool


def read_results(path: Path) -> list[Result]:
    """All complete lines of a campaign; a line that was cut off while written is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Result.model_validate_json(line) for line in lines if line.endswith("}")]


def earlier_kills(table: Path) -> list[Result]:
    """Kills of an earlier table whose module is still the same; what survived is run again, against today's tests."""
    if not table.is_file():
        return []
    document = json.loads(table.read_text(encoding="utf-8"))
    same = {path for path, digest in document["modules"].items() if _digest(path) == digest}
    results = (Result(**entry, seconds=0.0) for entry in document["results"])
    return [one for one in results if one.verdict != "survived" and one.name.partition(":")[0] in same]


def _digest(path: str) -> str:
    return str(file_digest(ROOT / path))[:16]


def equivalent() -> dict[str, str]:
    """Mutants that compute the same, each with the argument why.

    An argument holds for a line of source: where that line is another by now, the mutant counts again.
    """
    entries = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {name: entry["why"] for name, entry in entries.items() if entry["code"] in _source(name)}


def reasons() -> dict[str, str]:
    """Why a part of the package misses its bar, by part; for the table that is committed."""
    found: dict[str, str] = json.loads(MISSED.read_text(encoding="utf-8"))
    return found


def _source(name: str) -> str:
    return (ROOT / name.partition(":")[0]).read_text(encoding="utf-8")


def rates(results: Iterable[Result]) -> list[PackageRates]:
    """Rates by part of the package, sorted by name."""
    by_package: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.verdict != "no_program":
            by_package[result.package].append(result)
    same, found = equivalent(), []
    for package, group in sorted(by_package.items()):
        counted = [one for one in group if not (one.verdict == "survived" and one.name in same)]
        experiments = sum(one.verdict == "experiment" for one in counted)
        tests = sum(one.verdict == "test" for one in counted)
        total = max(1, len(counted))
        killed, by_experiment = (experiments + tests) / total, experiments / total
        met = bool(counted) and killed >= ANY_TEST and (package not in BY_EXPERIMENT or by_experiment >= EXPERIMENT)
        row = PackageRates(
            package=package,
            mutants=len(counted),
            by_experiment=experiments,
            by_test=tests,
            survived=len(counted) - experiments - tests,
            equivalent=len(group) - len(counted),
            killed_share=round(killed, 4),
            experiment_share=round(by_experiment, 4),
            met=met,
        )
        found.append(row)
    return found


def write_table(out: Path, results: list[Result], *, drawn: int, seed: int) -> None:
    """Write rates and every survivor, as JSON and as Markdown with the same stem."""
    rows, ordered = rates(results), sorted(results, key=lambda one: one.name)
    document = {
        "seed": seed,
        "drawn": drawn,
        "run": len(results),
        "modules": {path: _digest(path) for path in sorted({one.name.partition(":")[0] for one in results})},
        "rates": [row.model_dump() for row in rows],
        "results": [
            result.model_dump(exclude={"seconds"}) | {"said": without_folders(result.said)} for result in ordered
        ],
    }
    write_output(out, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    write_output(out.with_suffix(".md"), _markdown(rows, ordered, drawn, seed).encode())


def without_folders(said: str) -> str:
    """What a test said, with files of a machine by their names alone."""
    return _FOLDERS.sub("", said)


def _markdown(rows: list[PackageRates], results: list[Result], drawn: int, seed: int) -> str:
    same, parts = equivalent(), ", ".join(sorted(BY_EXPERIMENT))
    lines = [
        "# Mutants that nobody chose",
        "",
        f"{len(results)} of {drawn} drawn mutants (seed {seed}) were shown to the tests that run their line, "
        "within a budget of seconds.",
        f"Asked: {ANY_TEST:.0%} killed by any test; by an experiment {EXPERIMENT:.0%} in {parts}.",
        "",
        "| part | mutants | by an experiment | by a unit test | survived | equivalent | killed | by experiment | bar |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = f"{row.killed_share:.0%} | {row.experiment_share:.0%} | {'met' if row.met else '**missed**'}"
        counts = f"{row.mutants} | {row.by_experiment} | {row.by_test} | {row.survived} | {row.equivalent}"
        lines.append(f"| {row.package} | {counts} | {shares} |")
    missed = {row.package: reasons().get(row.package, "no reason is given") for row in rows if not row.met}
    lines += ["", "## Why a part misses its bar", "", *(f"- **{part}**: {why}" for part, why in missed.items())]
    lines += ["", "## Survived", "", "| mutant | line | tests |", "|---|---|---|"]
    left = [one for one in results if one.verdict == "survived"]
    lines += [f"| `{one.name}` | {one.line} | {same.get(one.name, one.said)} |" for one in left]
    return "\n".join(lines) + "\n"
