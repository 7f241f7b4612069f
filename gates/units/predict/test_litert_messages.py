"""What LiteRT says unasked is left out; everything else reaches standard error, also what comes afterwards."""

from __future__ import annotations

import os

import pytest

from ecdd.runtimes import litert_messages


def test_standard_error_is_itself_again(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_messages, "_HEARD", [])
    with litert_messages.without_information():
        os.write(2, b"INFO: made a delegate\nWARNING: a tensor is unused\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "WARNING: a tensor is unused\nafterwards\n"
