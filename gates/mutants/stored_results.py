"""Results that take most of a run's time and that some defects cannot change: the first run that needs one stores it.

Only what a mutant's own defect cannot change may be taken from here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecdd.dataset_governance.photograph_match import LocalFeatures

FOLDER = "ECDD_MUTANTS_STORE"  # environment variable: folder of the session; without it nothing is stored
Points = dict[tuple[int, int], int]


def folder() -> Path | None:
    """Folder of this session's results, where there is one."""
    return Path(os.environ[FOLDER]) if FOLDER in os.environ else None


def answers_of_the_rehearsal() -> None:
    """Take the answers that a canary compares from the session: for defects of comparing alone."""
    from gates.support import rehearsal_stream

    really, store = rehearsal_stream.Rehearsal.__init__, folder()
    if store is not None:
        rehearsal_stream.Rehearsal.__init__ = (  # type: ignore[method-assign]
            lambda self, golden, bundle, contract, _own: really(self, golden, bundle, contract, store / "e7-3")
        )


def points_that_pictures_share() -> None:
    """Match local features of one set of pictures once: for defects of a scan's other parts."""
    from ecdd.dataset_governance import leakage_scan
    from ecdd.files import write_text

    really, store = leakage_scan.shared_points, folder()

    def planted(pictures: Sequence[LocalFeatures]) -> Points:
        assert store is not None
        store.mkdir(parents=True, exist_ok=True)
        path = store / f"shared-points-{_digest(pictures)}.json"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                write_text(path, json.dumps([[*pair, count] for pair, count in really(pictures).items()]))
        return {(first, second): count for first, second, count in json.loads(path.read_text())}

    if store is not None:
        leakage_scan.shared_points = planted


def _digest(pictures: Sequence[LocalFeatures]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.key.encode())
        for part in (picture.points, picture.descriptors, picture.mirrored_points, picture.mirrored_descriptors):
            digest.update(str(part.shape).encode() + part.tobytes())
    return digest.hexdigest()
