"""Syrupy extensions for frozen stages: one readable file a picture, compared exactly or within the contract.

The files lie in a flat folder under the picture's id, so that a person can compare two versions of one picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from ecdd.files import parse_json

Comparison = Callable[[Any, Any], bool]


class _FlatFile(SingleFileSnapshotExtension):
    """A snapshot at ``<folder>/<name>.<extension>``, whatever test asks for it."""

    write_immediately: bool = True  # later tests of the same run read what was frozen
    folder: ClassVar[Path]
    comparison: ClassVar[Comparison]

    @classmethod
    def dirname(cls, *, test_location: Any) -> str:  # noqa: ANN401, ARG003 - syrupy's own signature
        return str(cls.folder)

    @classmethod
    def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:  # noqa: ANN401, ARG003
        return str(index)

    @classmethod
    def matches_test_location(cls, *, test_location: Any, snapshot_location: str) -> bool:  # noqa: ANN401, ARG003
        return False  # unused files are found by the gates, which know every golden picture

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:  # noqa: ANN401
        return type(self).comparison(serialized_data, snapshot_data)


def text_file(folder: Path, comparison: Comparison) -> type[SingleFileSnapshotExtension]:
    """Make an extension for JSON texts.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    comparison : callable
        From new and stored text to whether they match.

    Returns
    -------
    type
        Pass it as ``extension_class``.
    """
    members = {
        "folder": folder,
        "comparison": staticmethod(comparison),
        "file_extension": "json",
        "_write_mode": WriteMode.TEXT,
    }
    return type("FrozenText", (_FlatFile,), members)


def binary_file(folder: Path, extension: str, comparison: Comparison) -> type[SingleFileSnapshotExtension]:
    """Make an extension for binary files, as `text_file` does for texts."""
    members = {"folder": folder, "comparison": staticmethod(comparison), "file_extension": extension}
    return type("FrozenBinary", (_FlatFile,), members)


def numbers_close(new: Any, old: Any, tolerances: dict[str, float], key: str = "") -> bool:  # noqa: ANN401 - JSON
    """Compare two JSON values: words exactly, numbers within the tolerance of the nearest named key.

    Parameters
    ----------
    new, old : JSON value
        Parsed.
    tolerances : dict of str to float
        Largest absolute difference by key; keys not named are exact.
    key : str
        Key under which the values stand.

    Returns
    -------
    bool
        Whether they match.
    """
    if isinstance(new, dict) and isinstance(old, dict):
        same_keys = new.keys() == old.keys()
        return same_keys and all(numbers_close(new[k], old[k], tolerances, k) for k in new)
    if isinstance(new, list) and isinstance(old, list):
        pairs = zip(new, old, strict=False)
        return len(new) == len(old) and all(numbers_close(a, b, tolerances, key) for a, b in pairs)
    if key in tolerances and isinstance(new, int | float) and isinstance(old, int | float):
        return abs(new - old) <= tolerances[key]
    return bool(new == old)


def loads(text: str) -> dict[str, Any]:
    """Parse a stored text."""
    content: dict[str, Any] = parse_json(text, "a stored text")
    return content


def same(new: object, old: object) -> bool:
    """Exact comparison, used while freezing: what is within a tolerance is frozen again too."""
    return new == old
