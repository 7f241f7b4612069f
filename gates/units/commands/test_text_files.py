"""What is printed, read and written as text: no terminal obeys it, no spreadsheet computes it, no depth breaks it."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

import ecdd
from ecdd.bundle.loading import default_bundle_path, load_bundle
from ecdd.calibration.calibration_set_contract import ScoredPicture, read_scores, scores_csv
from ecdd.commands import parity
from ecdd.commands.terminal import echo, plain
from ecdd.dataset_governance.lineage_tags import load_split, split_digest, write_split
from ecdd.errors import EcddError
from ecdd.files import plain_cell, read_json, read_yaml, spreadsheet_cell
from ecdd.monitoring.logger import EventLog
from ecdd.monitoring.tables import EVENTS
from ecdd.parity.parity_metric import ParityMetric
from ecdd.specification import CONFIGS, EXPECTED, GATES, GOLDEN
from gates.support.command_calls import call
from gates.support.field_log import DAY, event

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "'=1",
    "''@x",
    "-",
    "it's",
    "'",
    "",
    "-1.5",
    "a=b",
]


def test_a_terminal_obeys_nothing_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    echo("red \x1b[31m title \x1b]0;t\x07 clear \x9b2J\nback\r\tturned \u202e\n")
    assert capsys.readouterr().out == ("red \\x1b[31m title \\x1b]0;t\\x07 clear \\x9b2J\nback\\r\\tturned \\u202e\n\n")
    echo("\x1b[2J", err=True, nl=False)
    assert capsys.readouterr().err == "\\x1b[2J"


def test_one_place_prints() -> None:
    prints = re.compile(
        r"typer\.s?echo\(|(?<![\w.>])print\(|sys\.std(out|err)\.write|console\.print\((?!table\)|plain\()"
    )
    found = {
        path.relative_to(Path(ecdd.__file__).parent).as_posix()
        for path in Path(ecdd.__file__).parent.rglob("*.py")
        if any(prints.search(line) for line in path.read_text(encoding="utf-8").split("\n") if ">>>" not in line)
    }
    # programs of their own, called by others, whose words come from no file
    others = {"export/rebundle.py", "runtimes/tflite_trial.py", "evidence/declare.py"}
    assert found - others == {"commands/terminal.py"}


def test_a_table_obeys_no_markup_and_no_escape(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of tensors and pictures stand in tables; a bracket that closes nothing ended in a trace."""
    worst = ParityMetric("m", 0.5, "", worst="\x1b[2J [/red] [bold]name")
    table = Table()
    table.add_row(*parity._row(worst))
    table.add_row(plain("\x1b]0;title\x07 [/]"))
    Console(width=120).print(table)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[2J [/red] [bold]name" in said
    assert "\\x1b]0;title\\x07 [/]" in said


@given(st.one_of(st.sampled_from(FORMULAS), st.text(), st.text("'=+-@\t\r1.e", max_size=6)))
def test_a_cell_is_no_formula_and_gives_its_text_back(text: str) -> None:
    cell = spreadsheet_cell(text)
    assert plain_cell(cell) == text
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        float(cell)  # a number, or this fails


def test_tables_hold_no_formula_and_are_read_back_equal(tmp_path: Path) -> None:
    path, formulas = tmp_path / "table.csv", [text for text in FORMULAS if text]
    split = load_split(GOLDEN / "data_split.csv")
    rows = [replace(row, source=text, identity=text) for row, text in zip(split.rows.values(), formulas, strict=False)]
    write_split(rows, path)
    _no_formula(path.read_text(encoding="utf-8"))
    again = load_split(path)
    assert set(again.rows.values()) == set(rows)
    assert again.digest == split_digest(rows)
    pictures = [ScoredPicture(f"{k:064x}", text, text, k % 2, "judged", -0.5) for k, text in enumerate(formulas)]
    path.write_text(scores_csv(pictures), encoding="utf-8")
    _no_formula(path.read_text(encoding="utf-8"))
    assert read_scores(path) == pictures


def _no_formula(text: str) -> None:
    for cell in (cell for row in csv.reader(io.StringIO(text)) for cell in row):
        assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
        assert not cell.startswith("-") or float(cell) < 0, cell


@pytest.mark.parametrize("content", [b"[" * 9000, b"\xff{}", b"{", b"\x00", b"9" * 9000])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(EcddError, match=re.escape(f"{tmp_path / 'file'}: ")):
        read_json(tmp_path / "file")


@pytest.mark.parametrize("libyaml", [True, False])
@pytest.mark.parametrize(
    "content",
    [b"[" * 9000, b"- " * 9000, b"\xff", b"{", b"!!bool x", b"!!int ''", b"a: 2026-13-99", b"\x00", b"[&a [1], *a]"],
)
def test_a_file_that_is_no_yaml_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, libyaml: bool
) -> None:
    if not libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader")
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(EcddError, match=re.escape(f"{tmp_path / 'file'}: ")):
        read_yaml(tmp_path / "file")


def test_yaml_reads_alike_with_and_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [GATES / "declared.yaml", EXPECTED, *sorted(CONFIGS.glob("*.yaml"))]
    fast = [read_yaml(path) for path in files]
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert [read_yaml(path) for path in files] == fast


@pytest.mark.parametrize("column", [c.name for c in EVENTS.columns if c.name not in ("id", "timestamp_minute")])
def test_a_value_that_no_event_has_is_one_line(tmp_path: Path, column: str) -> None:
    """SQLite keeps what was written into a file past the program: each is a line, and none is counted as another."""
    path = tmp_path / "log.db"
    with EventLog(str(path), create=True) as log:
        log.append([event(timestamp_minute=DAY) for _ in range(3)])
    for value in (2**62, -(2**62), 1e300, -1, "text", b"\xff", "\x1b[2J"):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA ignore_check_constraints = 1")
            database.execute(f"UPDATE ecdd_events SET {column} = ? WHERE id = 2", (value,))  # noqa: S608
        for name, words in (("monitor report", []), ("monitor reference", ["--out", str(tmp_path / "new")])):
            done = call(name, [str(path), *words])
            assert isinstance(done.exception, SystemExit | None), (name, value)
            assert done.exit_code in (0, 2), (name, value)
            assert "SY-001" not in done.stderr, (name, value)
            assert "\x1b" not in done.output + done.stderr, (name, value)
            if column in ("calibrated_probability", "face_confidence") and name == "monitor report":
                assert done.exit_code == 2, (name, value)


@pytest.mark.parametrize("column", ["calibrated_probability", "face_confidence", "compression_proxy"])
def test_a_text_among_the_numbers_of_a_long_log_is_one_line(tmp_path: Path, column: str) -> None:
    """Long enough for a reference, which reads every value."""
    path, bundle = tmp_path / "log.db", load_bundle(default_bundle_path())
    least, digest = bundle.contract.policy.monitoring.drift_min_samples, bundle.payload_digest
    with EventLog(str(path), create=True) as log:
        log.append([event(timestamp_minute=DAY, bundle_digest=digest) for _ in range(least)])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA ignore_check_constraints = 1")
        database.execute(f"UPDATE ecdd_events SET {column} = 'text' WHERE id = 2")  # noqa: S608
    done = call("monitor reference", [str(path), "--out", str(tmp_path / "new")])
    assert done.exit_code == 2
    assert done.stderr.startswith("ecdd: ecdd_events holds 'text' where a number belongs")


@pytest.mark.parametrize("value", [2**62, -(2**62), 10**12, "text", b"\xff", "\x1b[2J"])
def test_a_minute_that_no_calendar_has_is_one_line(tmp_path: Path, value: object) -> None:
    path = tmp_path / "log.db"
    with EventLog(str(path), create=True) as log:
        log.append([event(timestamp_minute=DAY) for _ in range(3)])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE ecdd_events SET timestamp_minute = ? WHERE id = 2", (value,))
    for name, words in (("monitor report", []), ("monitor reference", ["--out", str(tmp_path / "new")])):
        done = call(name, [str(path), *words])
        assert done.exit_code in (0, 2), name
        assert isinstance(done.exception, SystemExit | None)
        assert "SY-001" not in done.stderr
        assert "\x1b" not in done.output
    assert call("monitor report", [str(path)]).exit_code == 2 or not isinstance(value, int)
