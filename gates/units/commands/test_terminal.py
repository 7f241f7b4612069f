"""What is said about the work: progress that a person watches, lines in a log, and a library's own words."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from ecdd.commands import terminal
from gates.support.command_calls import ROOT


def test_other_words_of_a_library_reach_standard_error() -> None:
    code = (
        "import os\n"
        "from ecdd.runtimes.litert_messages import without_information\n"
        "with without_information():\n"
        "    os.write(2, b'INFO: made a delegate\\nWARNING: slow\\n')\n"
        "os.write(2, b'INFO: later\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == "WARNING: slow\nINFO: later\n"


class Terminal(io.StringIO):
    """A standard error that a person watches."""

    def isatty(self) -> bool:
        return True


def test_progress_appears_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, screen, file = [0.0], Terminal(), io.StringIO()
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", screen)
    terminal.speak("normal")
    with terminal.progress("judging", 10) as bar:
        bar.advance()
        assert screen.getvalue() == ""
        now[0] = 1.1
        bar.advance()
        assert "judging" in screen.getvalue()
    shown = len(screen.getvalue())
    terminal.speak("quiet")
    try:
        with terminal.progress("judging", 10) as bar:
            now[0] = 99
            bar.advance()
    finally:
        terminal.speak("normal")
    assert len(screen.getvalue()) == shown
    monkeypatch.setattr(sys, "stderr", file)
    said: list[str] = []
    monkeypatch.setattr(terminal, "note", said.append)
    for _ in terminal.watched(iter(range(3)), 3, "hashing"):
        now[0] += 20
    assert said == ["hashing: 2 of 3"], "where nobody watches, a line every half minute"
