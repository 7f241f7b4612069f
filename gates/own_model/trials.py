"""A TFLite file from elsewhere is tried in a process of its own each time; tests of one file need one such trial."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ecdd.export import onboarding
from ecdd.runtimes import tflite_file

_really = tflite_file.try_in_own_process
_ENDED_WELL: dict[tuple[str, tuple[tuple[str, object], ...]], int] = {}


def _once(file: str, content: bytes, **how: Any) -> int:
    key = (hashlib.sha256(content).hexdigest(), tuple(sorted(how.items())))
    if key not in _ENDED_WELL:  # a file that is refused is tried, and refused, again
        _ENDED_WELL[key] = _really(file, content, **how)
    return _ENDED_WELL[key]


def try_each_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try no file again that passed its trial in this process; the same bytes and options give the same end.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
        For as long as it lasts.
    """
    for module in (tflite_file, onboarding):
        monkeypatch.setattr(module, "try_in_own_process", _once)
