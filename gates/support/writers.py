"""Processes that write one log at the same time; one of them is killed in the middle.

``python -m gates.support.writers URL NUMBER BATCHES`` writes batches of `BATCH` events and says so after each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ecdd.monitoring.logger import EventLog
from gates.support.field_log import event

BATCH, BATCHES, WRITERS = 20, 25, 8
ROOT = Path(__file__).resolve().parents[2]


def digest_of(number: int) -> str:
    """Every writer is a bundle of its own, so that its events can be told apart."""
    return f"{number:064x}"


def write(url: str, number: int, batches: int) -> None:
    """Append batches and say so after each."""
    with EventLog(url, create=True) as log:
        for _ in range(batches):
            log.append([event(bundle_digest=digest_of(number)) for _ in range(BATCH)])
            print("committed", flush=True)  # noqa: T201 - read by the parent


def run_and_kill_one(url: str) -> tuple[dict[int, int], set[int]]:
    """Start all writers, kill -9 the last one after its third batch; batches that each said were committed."""
    command = [sys.executable, "-m", "gates.support.writers", url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([*command, str(i), str(10**6 if i == WRITERS - 1 else BATCHES)], stdout=subprocess.PIPE,
                         text=True, cwd=ROOT, env=environment)
        for i in range(WRITERS)
    ]  # fmt: skip
    victim = running[-1]
    assert victim.stdout is not None
    said = [victim.stdout.readline() for _ in range(3)]
    victim.send_signal(signal.SIGKILL)
    rest, _ = victim.communicate()
    committed = {WRITERS - 1: len([line for line in said if line]) + rest.count("committed\n")}
    for number, process in enumerate(running[:-1]):
        text, _ = process.communicate()
        assert process.returncode == 0
        committed[number] = text.count("committed\n")
    return committed, {WRITERS - 1}


def problems(found: dict[str, dict[str, int]], committed: dict[int, int], killed: set[int]) -> Sequence[str]:
    """What was lost or half-written, by the counts of a report's ``bundles``."""
    wrong = []
    for number, batches in committed.items():
        stored = sum(found.get(digest_of(number), {}).values())
        # a killed writer may have committed one batch more than it could say
        allowed = {batches * BATCH, (batches + 1) * BATCH} if number in killed else {batches * BATCH}
        if stored not in allowed:
            wrong.append(f"writer {number}: {stored} events stored, {batches * BATCH} committed")
    return wrong


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
