"""The malformed corpus and fuzzed files: a picture or a reason code, nothing else, within time and memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecdd.pipeline.reason_codes import ReasonCode
from gates.support.malformed_corpus import build_corpus
from gates.support.malformed_files import valid_files
from gates.support.pixel_policies import outcome

MAX_SECONDS = 3.0
MAX_BYTES = 300 * 2**20
VALID = valid_files()
CODES = {str(code) for code in ReasonCode}
FUZZ = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What happened to every file of the corpus, decoded in one process of its own."""
    command = [sys.executable, "-W", "error", "-m", "gates.support.run_corpus", str(tmp_path_factory.mktemp("corpus"))]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_corpus_is_large_and_mostly_determined(rows: list[dict[str, Any]]) -> None:
    assert len(rows) >= 300
    assert sum(not row["open"] for row in rows) >= 300
    assert {code for row in rows for code in row["codes"]} >= {f"IO-{n:03d}" for n in (1, 2, 3, 4, 5, 6, 8, 9, 10)}


def test_nothing_but_a_picture_or_a_code(rows: list[dict[str, Any]]) -> None:
    assert [(row["name"], row["error"]) for row in rows if row["error"]] == []
    assert [(row["name"], row["codes"]) for row in rows if not set(row["codes"]) <= CODES] == []


def test_outcomes_are_the_right_ones(rows: list[dict[str, Any]]) -> None:
    assert [(row["name"], row["codes"]) for row in rows if not row["allowed"]] == []


def test_time_and_memory(rows: list[dict[str, Any]]) -> None:
    slowest = max(rows, key=lambda row: float(row["seconds"]))
    assert slowest["seconds"] <= MAX_SECONDS, f"{slowest['name']} took {slowest['seconds']:.2f} s of one processor"
    over = [f"{row['name']}: {row['peak'] / 2**20:.0f} MiB" for row in rows if row["peak"] > MAX_BYTES]
    assert over == [], over[0]


def test_corpus_is_the_same_on_every_call(tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        files = [file for file in build_corpus(folder) if file.path.name not in ("huge.jpg", "forbidden.jpg")]
        contents = [(file.name, _digest(file.path)) for file in files]
        digests.append(contents)
    assert digests[0] == digests[1]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except (OSError, ValueError):
        return "not readable"


@FUZZ
@given(st.sampled_from(sorted(VALID)), st.data())
def test_mutated_files(name: str, data: st.DataObject) -> None:
    content = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 6), label="mutations")):
        position = data.draw(st.integers(0, max(len(content) - 1, 0)), label="position")
        kind = data.draw(st.sampled_from(("set", "insert", "delete", "copy")), label="kind")
        length = data.draw(st.integers(1, 24), label="length")
        if kind == "set":
            content[position : position + length] = data.draw(st.binary(min_size=1, max_size=8), label="bytes")
        elif kind == "insert":
            content[position:position] = data.draw(st.binary(min_size=1, max_size=24), label="bytes")
        elif kind == "delete":
            del content[position : position + length]
        else:
            content[position:position] = content[:length]
    assert set(outcome(bytes(content), name=name)) <= CODES


@FUZZ
@given(st.sampled_from(sorted(VALID)), st.integers(0, 199), st.integers(0, 255))
def test_every_header_byte_may_have_any_value(name: str, position: int, value: int) -> None:
    content = bytearray(VALID[name])
    content[position % len(content)] = value
    assert set(outcome(bytes(content))) <= CODES


@FUZZ
@given(
    st.sampled_from((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ")), st.binary(max_size=300)
)
def test_arbitrary_bytes_are_rejected_with_a_code(prefix: bytes, rest: bytes) -> None:
    codes = outcome(prefix + rest)
    assert codes
    assert set(codes) <= CODES
