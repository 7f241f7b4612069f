"""The pair of E2.5's policy is one in which both faces are found, whichever portraits a model picks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from gates.g2 import test_e2_5_multi_face as clause


class Scripted:
    """Alone the large face is harmless and the small one suspicious; beside each other ``found`` faces are seen."""

    policy = None

    def __init__(self, found: list[int]) -> None:
        self.found, self.calls = iter(found), 0

    def predict(self, _data: bytes) -> Any:
        self.calls += 1
        large = SimpleNamespace(face_side=300.0, probability=0.1)
        alone = [[large], [SimpleNamespace(face_side=90.0, probability=0.9)]]
        faces = alone[self.calls % 3 - 1] if self.calls % 3 else [None] * next(self.found)
        return SimpleNamespace(faces=faces)


@pytest.mark.parametrize(("found", "wanted"), [([2], "c beside a"), ([1, 2], "c beside b"), ([1] * 9, None)])
def test_a_picture_that_lacks_a_face_is_left_out(
    found: list[int], wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    portraits = [(SimpleNamespace(name=name), p) for name, p in (("a", 0.1), ("b", 0.2), ("c", 0.9))]
    monkeypatch.setattr(clause, "judged_portraits", lambda *_: portraits)
    monkeypatch.setattr(clause, "open_portrait", lambda *_: Image.new("RGB", (40, 50)))
    pair = clause.small_suspicious_pair(None, Scripted(found))  # type: ignore[arg-type]
    assert (pair and pair[0]) == wanted
