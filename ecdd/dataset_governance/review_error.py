"""The one error of manual review."""

from __future__ import annotations

from typing import Literal

from ecdd.errors import EcddError

ReviewCode = Literal[
    "no_consent", "bad_item", "not_reviewable", "already_stored", "known_to_the_data", "quota_full", "unknown_item",
    "bad_form", "bad_key", "wrong_key", "damaged", "trail_broken", "disk",
]  # fmt: skip


class ReviewError(EcddError):
    """A review step that was refused; nothing was stored, lost or shown.

    Attributes
    ----------
    code : str
        Why, for programs and counts.
    """

    def __init__(self, code: ReviewCode, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
