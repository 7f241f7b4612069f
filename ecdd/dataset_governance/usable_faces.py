"""Select the labelled faces that a use may read, and prove that no other is among them (E8.3)."""

from __future__ import annotations

from collections.abc import Iterable

from ecdd.dataset_governance.lineage_tags import DataSplit, LineageError, LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.validate_lineage import assert_lineage, join

TaggedRow = tuple[ManifestRow, SplitRow]


def usable_faces(manifest: Iterable[ManifestRow], split: DataSplit, tags: Iterable[LineageTag]) -> list[TaggedRow]:
    """Select labelled faces by lineage, for training or calibration.

    Parameters
    ----------
    manifest : iterable of ManifestRow
        Pictures at hand.
    split : DataSplit
        Lineage tags.
    tags : iterable of LineageTag
        What this use permits; never TEST-NEVER-TOUCH, which only gates read.

    Returns
    -------
    list of (ManifestRow, SplitRow)
        Sorted by SHA-256; every label is 0 or 1.

    Raises
    ------
    LineageError
        If TEST-NEVER-TOUCH is asked for, a picture has another tag, or nothing is left.
    """
    allowed = frozenset(tags)
    if LineageTag.TEST_NEVER_TOUCH in allowed:
        raise LineageError(["TEST-NEVER-TOUCH is read by gates only; training and calibration may not ask for it"])
    rows = [pair for pair in join(manifest, split) if pair[1].lineage in allowed and pair[0].scope == "face"]
    if not rows:
        raise LineageError([f"no face with lineage {', '.join(sorted(allowed))}; check --data and the split"])
    assert_lineage(split, [row.sha256 for row, _ in rows], allowed)
    return sorted(rows, key=lambda pair: pair[0].sha256)
