"""Near-duplicates of reviewed pictures in a data set: they are AUDIT too, whatever their bytes.

The pictures of a store are opened in memory alone, and scanned together with the data's. A picture that was purged can
only be recognised by its digest.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.leakage_scan import scan
from ecdd.dataset_governance.lineage_tags import DataSplit, LineageTag
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.manual_review import ReviewStore
from ecdd.dataset_governance.review_sealing import ReviewKey


def reviewed_copies(
    folder: Path, key: Path, rows: Sequence[ManifestRow], split: DataSplit, contract: LoadedContract
) -> list[str]:
    """Pictures of the data that are near-duplicates of reviewed ones and are not AUDIT.

    Parameters
    ----------
    folder : Path
        Review store.
    key : Path
        Its key file.
    rows : sequence of ManifestRow
        The data.
    split : DataSplit
        Its tags.
    contract : LoadedContract
        Decoding and near-duplicate policy.

    Returns
    -------
    list of str
        Both ends of every crossing.

    Raises
    ------
    ReviewError
        The store cannot be opened.
    UnreadableError
        A picture cannot be decoded.
    """
    store = ReviewStore.open(folder, ReviewKey.read(key), contract)
    reviewed = {item.sha256: item.id for item in store.items()}
    policy, names = contract.policy, {row.sha256: row.name for row in rows}
    with contextlib.ExitStack() as held:
        files = [(row.sha256, row.path) for row in rows]
        for digest, item_id in sorted(reviewed.items()):
            if digest not in names:
                files.append((digest, _in_memory(store.picture(item_id), held)))
        groups = scan(files, policy.pixel_pipeline, policy.dataset_governance).groups
    members: dict[str, list[str]] = defaultdict(list)
    for digest, group in groups.items():
        members[group].append(digest)
    found = []
    for digest, item_id in sorted(reviewed.items()):
        for other in sorted(members[groups[digest]]):
            row = split.rows.get(other)
            if other != digest and row is not None and row.lineage is not LineageTag.AUDIT:
                found.append(
                    f"{names.get(other, other[:12])} ({other[:12]}) is {row.lineage}, and a near-duplicate of "
                    f"{digest[:12]}, which is AUDIT as review item {item_id}"
                )
    return found


def _in_memory(picture: bytes, held: contextlib.ExitStack) -> Path:
    """A file that never reaches a disk."""
    handle = os.memfd_create("picture")
    held.callback(os.close, handle)
    with os.fdopen(os.dup(handle), "wb") as stream:
        stream.write(picture)
    return Path(f"/proc/{os.getpid()}/fd/{handle}")
