"""The error of a bundle that must not be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ecdd.errors import EcddError


class BundleError(EcddError):
    """A bundle that is incomplete, changed or contradicts itself.

    Attributes
    ----------
    path : Path
        The bundle's directory.
    extra, missing, mismatched : tuple of str
        Files that the manifest does not list, files that it lists and that are not there, and files whose content
        is not the listed one; relative names, sorted.
    """

    def __init__(
        self,
        path: Path,
        text: str = "",
        *,
        extra: Sequence[str] = (),
        missing: Sequence[str] = (),
        mismatched: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.extra = tuple(sorted(extra))
        self.missing = tuple(sorted(missing))
        self.mismatched = tuple(sorted(mismatched))
        lines = [f"{path}: {line}" for line in text.splitlines()]
        for title, names in (("extra", self.extra), ("missing", self.missing), ("mismatched", self.mismatched)):
            if names:
                lines.append(f"{path}: {title} files: {', '.join(names)}")
        super().__init__("\n".join(lines))
