"""AUDIT tags of reviewed pictures, in a lineage history."""

from __future__ import annotations

import datetime
from pathlib import Path

from ecdd.dataset_governance.lineage_history import Change, append_changes, read_history
from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag
from ecdd.dataset_governance.review_store import chain_error


class AuditTags:
    """The history that reviewed pictures are tagged in.

    Parameters
    ----------
    history : Path
        Its file.
    """

    def __init__(self, history: Path) -> None:
        self._history = history

    def standing(self, digest: str) -> LineageTag | None:
        """The tag that a picture has; None where the history does not know it."""
        try:
            standing = read_history(self._history).standing.get(digest)
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
                self._history, [Change(when=day, who=who, reason=reason, what=(digest,), to_tag=LineageTag.AUDIT)]
            )
        except LineageError as error:
            raise chain_error(error) from error
