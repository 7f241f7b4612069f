"""Defects of dataset governance: tags that come back, groups that are not looked at, histories that may be cut."""

from __future__ import annotations

from typing import Any


def audit_in_train() -> None:
    """A reviewed item may be used for training again."""
    from ecdd.dataset_governance import lineage_history
    from ecdd.dataset_governance.lineage_tags import LineageTag

    allowed = dict(lineage_history.ALLOWED_CHANGES) | {LineageTag.AUDIT: frozenset(LineageTag)}
    lineage_history.ALLOWED_CHANGES = allowed  # type: ignore[misc]


def group_crossing_ignored() -> None:
    """Only the very same picture counts as a crossing, not its near-duplicate."""
    from ecdd.dataset_governance import validate_lineage

    really = validate_lineage._crossings

    def planted(rows: Any, attribute: str, unknown: str) -> list[str]:
        return [] if attribute == "near_duplicate_group" else really(rows, attribute, unknown)

    validate_lineage._crossings = planted


def reviewed_copy_ignored() -> None:
    """A copy of a reviewed picture is taken for another picture, since its bytes differ."""
    from ecdd.dataset_governance import lineage_history

    lineage_history._group_crossings = lambda _split, _history: []


def split_edited_past_the_history() -> None:
    """The split is believed, whatever the history says."""
    from ecdd.dataset_governance import validate_lineage

    validate_lineage.contradictions = lambda *_given, **_options: []


def history_truncated() -> None:
    """A history that lost its last lines is taken for a shorter one."""
    from ecdd.dataset_governance.hash_chain import HashChain

    HashChain._read_head = lambda _self: (0, "")  # type: ignore[method-assign]
