"""Ways in which made evidence can lie, for `gates.support.made_evidence`: each an edit of a folder of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from gates.support.made_evidence import rehash


def _renamed_unit(folder: Path) -> None:
    """The same word changed in a line and in its record, and the head made anew: only the chain of lines shows it."""
    names = ("evidence.jsonl", "phase1_results/E1.7.json", "phase1_results/E1.9.json")
    for path in (folder / name for name in names):
        _replace(path, '"unit": ""', '"unit": "level"')
    rehash(folder)


# how evidence can lie about E1.9, whose made metric must be at most 1 and is 2
LIES: Final[dict[str, Callable[[Path], None]]] = {
    "record": lambda f: _replace(f / "phase1_results" / "E1.9.json", '"value": 2.0', '"value": 0.5'),
    "verdict": lambda f: _replace(f / "phase1_results" / "E1.9.json", '"verdict": "fail"', '"verdict": "pass"'),
    "line": lambda f: _replace(f / "evidence.jsonl", '"outcome": "failed"', '"outcome": "passed"'),
    "words of a line": lambda f: _replace(f / "evidence.jsonl", '"failure": ""', '"failure": "a wrong disk"'),
    "junit": lambda f: _replace(f / "junit.xml", "<failure/>", ""),
    "record gone": lambda f: (f / "phase1_results" / "E1.9.json").unlink(),
    "chain gone": lambda f: (f / "evidence.jsonl").unlink(),
    "line and record": _renamed_unit,
}


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} has no {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")
