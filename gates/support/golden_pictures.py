"""The golden set for the gates: checked against its manifest, with paths that can be opened from anywhere."""

from __future__ import annotations

from pathlib import Path

from ecdd.golden.golden_sets import GoldenSet, load_golden


def load_checked(root: Path) -> GoldenSet:
    """Load a golden set, compare every file with the manifest, and make the paths absolute.

    Parameters
    ----------
    root : Path
        Folder with ``manifest.yaml``.

    Returns
    -------
    GoldenSet
        Its items' ``path`` is absolute.

    Raises
    ------
    GoldenError
        A file is extra, missing, changed or too large.
    """
    golden = load_golden(root)
    golden.verify()
    items = [item.model_copy(update={"path": str((golden.root / item.path).absolute())}) for item in golden.items]
    return GoldenSet(golden.root, golden.manifest.model_copy(update={"items": items}))
