"""``ecdd monitor`` and ``ecdd predict --log``: what they print, their exit codes, and that nothing is lost."""

from __future__ import annotations

import datetime
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ecdd.bundle.loading import Bundle, load_bundle
from ecdd.cli import app
from ecdd.monitoring.logger import EventLog
from ecdd.monitoring.summary import summarise
from gates.phase7.units.test_unit_drift import rows
from gates.support.field_log import DAY, event, events_of_rows

PICTURE = Path(__file__).resolve().parents[3] / "golden" / "out_of_scope" / "solids.jpg"


def monitor(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["monitor", *map(str, arguments)])


@pytest.fixture
def log(tmp_path: Path, bundle: Bundle) -> Path:
    """A week of quiet, then two days."""
    path = tmp_path / "log.db"
    with EventLog(str(path), create=True) as opened:
        for day in range(9):
            at = DAY + datetime.timedelta(days=day)
            opened.append(events_of_rows(rows(300), bundle.payload_digest, at))
    return path


def test_quiet_fires_once_and_cannot_judge(log: Path, tmp_path: Path, bundle: Bundle) -> None:
    reference = tmp_path / "reference.json"
    made = monitor("reference", log, "--days", "7", "--out", reference)
    assert made.exit_code == 0, made.output
    assert "2100 events" in made.stdout
    quiet = monitor("check", log, "--reference", reference)
    assert quiet.exit_code == 0, quiet.output
    assert quiet.stdout.count(" quiet ") == 5
    with EventLog(str(log)) as opened:
        opened.append(events_of_rows(rows(900, device_class="tablet"), bundle.payload_digest, DAY))
    fired = monitor("check", log, "--reference", reference, "--as-of", "2026-04-01")
    assert fired.exit_code == 1
    assert "device_shift         FIRES" in fired.stdout
    assert "recalibrate: collect a new calibration set" in fired.stdout
    again = monitor("check", log, "--reference", reference, "--json")
    assert again.exit_code == 0, "reported once"
    alarm = json.loads(again.stdout)["alarms"][0]
    assert (alarm["trigger"], alarm["new"], alarm["since"]) == ("device_shift", False, "2026-04-01T00:00:00+00:00")
    late = monitor("reference", log, "--days", "90", "--out", reference)
    assert late.exit_code == 0
    few = monitor("check", log, "--reference", reference)
    assert few.exit_code == 2, "nothing came after the reference"
    assert "needed are 500" in few.stdout


def test_another_log_may_be_the_reference(log: Path, tmp_path: Path, bundle: Bundle) -> None:
    now = tmp_path / "now.db"
    with EventLog(str(now), create=True) as opened:
        opened.append(events_of_rows(rows(900, compression_proxy=20.0), bundle.payload_digest, DAY))
    done = monitor("check", now, "--reference", f"sqlite:///{log}")
    assert done.exit_code == 1, done.output
    assert [line.split()[0] for line in done.stdout.splitlines() if "FIRES" in line] == ["compression_shift"]


def test_what_cannot_be_used_is_exit_code_2(log: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.json"
    monitor("reference", log, "--out", reference)
    other = json.loads(reference.read_text()) | {"bundle_digest": "a" * 64}
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(other))
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"nothing" * 5000)
    few = tmp_path / "few.db"
    with EventLog(str(few), create=True) as opened:
        opened.append([event(timestamp_minute=DAY, bundle_digest=load_bundle().payload_digest)] * 20)
    calls = {
        "there is no log": ("report", tmp_path / "none.db"),
        "no SQLite database": ("report", broken),
        "No such file": ("check", log, "--reference", tmp_path / "none.json"),
        "of bundle aaaaaaaaaaaaaaaa, checked is": ("check", log, "--reference", foreign),
        "cannot be read as a score table": ("reference", "--scores", broken, "--out", reference),
        "needs 500 events": ("reference", few, "--out", reference),
        "one of them": ("reference", "--out", reference),
    }
    for words, arguments in calls.items():
        done = monitor(*arguments)
        assert done.exit_code == 2, arguments
        assert words in " ".join(done.output.replace("│", "").split()), done.output
        assert "Traceback" not in done.output


def test_report_and_purge(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = monitor("report", log, "--out", out, "--json")
    assert done.exit_code == 0
    numbers = json.loads(done.stdout)
    assert numbers == json.loads((out / "monitoring.json").read_text())
    assert numbers["events"] == 2700
    page = (out / "monitoring.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("http-equiv", ""), "self-contained"
    purged = monitor("purge", log, "--as-of", "2026-06-05")
    assert (purged.exit_code, purged.stdout) == (0, "1500 events older than 90 days deleted, 1200 left\n")


def test_an_empty_log_has_a_page(tmp_path: Path) -> None:
    EventLog(str(tmp_path / "log.db"), create=True).close()
    assert monitor("report", tmp_path / "log.db", "--out", tmp_path).exit_code == 0
    assert "The log holds no event" in (tmp_path / "monitoring.html").read_text()


def test_predict_logs_every_picture_also_bad_ones(tmp_path: Path, bundle: Bundle) -> None:
    bad = tmp_path / "my holiday.jpg"
    bad.write_bytes(b"no picture")
    path, pipe = tmp_path / "log.db", tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    done = CliRunner().invoke(
        app,
        ["predict", str(PICTURE), str(bad), str(pipe), "--log", str(path), "--device-class", "tablet"],
    )
    assert done.exit_code == 0, done.output
    with EventLog(str(path)) as log:
        summary = summarise(log)
    assert summary.events == len(done.stdout.splitlines()) == 3
    assert summary.device["tablet"] == 3
    assert set(summary.reasons) >= {"GR-001", "IO-010"}
    assert set(summary.bundles) == {bundle.payload_digest}
    assert b"holiday" not in b"".join(file.read_bytes() for file in tmp_path.glob("log.db*"))


def test_predict_refuses_what_it_cannot_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"nothing" * 5000)
    done = CliRunner().invoke(app, ["predict", str(PICTURE), "--log", str(broken)])
    assert (done.exit_code, done.stdout) == (2, ""), "before any work"
    contract = Path(__file__).resolve().parents[3] / "contracts" / "policy_contract.yaml"
    done = CliRunner().invoke(app, ["predict", str(PICTURE), "--log", "x.db", "--contract", str(contract)])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, ["predict", str(PICTURE), "--log", "x.db", "--device-class", "Annas"])
    assert done.exit_code == 2


def test_a_quota_costs_no_verdict(tmp_path: Path) -> None:
    """The write-ahead log may not grow: every verdict is printed, and the end says how many events are not stored."""
    path = tmp_path / "log.db"
    EventLog(str(path), create=True).close()
    command = [sys.executable, "-m", "ecdd", "predict", *[str(PICTURE)] * 150, "--log", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)))  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) == 150
    assert "150 events wait and are not stored" in done.stderr
    assert "Traceback" not in done.stderr
    with EventLog(str(path)) as log:
        assert log.count() == 0, "nothing half-written"
