"""What the tests of models that are not ours share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gates.own_model.trials import try_each_file_once


@pytest.fixture(autouse=True, scope="module")
def each_file_is_tried_once() -> Iterator[None]:
    """Before the fixtures of a module: they build bundles of the same files as its tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        try_each_file_once(monkeypatch)
        yield
