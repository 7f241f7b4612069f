"""AUDIT tags of reviewed pictures, in a lineage history."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from ecdd.dataset_governance.lineage_history import Change, LineageHistory, append_changes, read_history
from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag
from ecdd.dataset_governance.review_store import ReviewFolder, chain_error


def untagged(store: Path, histories: Sequence[LineageHistory]) -> list[str]:
    """Whether a review store holds more pictures than histories have AUDIT lines for: lines were lost.

    Parameters
    ----------
    store : Path
        Folder of the store; no key is needed.
    histories : sequence of LineageHistory
        Its own, and the split's.

    Returns
    -------
    list of str
        One finding or none.
    """
    audited = {
        key for history in histories for key, standing in history.standing.items() if standing.tag is LineageTag.AUDIT
    }
    count = len(ReviewFolder(store).ids())
    if count <= len(audited):
        return []
    return [f"{store}: {count} pictures, {len(audited)} lines that tag one AUDIT; restore the history from a copy"]


class AuditTags:
    """The history that reviewed pictures are tagged in.

    Parameters
    ----------
    history : Path
        Its file.
    """

    def __init__(self, history: Path) -> None:
        self.history = history

    def standing(self, digest: str) -> LineageTag | None:
        """The tag that a picture has; None where the history does not know it."""
        try:
            standing = read_history(self.history).standing.get(digest)
        except LineageError as error:
            raise chain_error(error) from error
        return None if standing is None else standing.tag

    def tag(self, digest: str, now: datetime.datetime) -> None:
        """Tag a picture AUDIT, before it is stored: at no moment is there an untagged picture in the store."""
        if self.standing(digest) is LineageTag.AUDIT:
            return
        day = now.replace(hour=0, minute=0, second=0)  # to the day: no line of the trail can be matched to a digest
        who, reason = "manual review", "consented to review"
        try:
            append_changes(
                self.history, [Change(when=day, who=who, reason=reason, what=(digest,), to_tag=LineageTag.AUDIT)]
            )
        except LineageError as error:
            raise chain_error(error) from error
