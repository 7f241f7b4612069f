"""What a review record holds: consent, verdict, what is known of the truth, and the reviewers' forms."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ecdd.dataset_governance.review_error import ReviewError
from ecdd.files import spreadsheet_cell, write_output
from ecdd.verdict import Verdict

Label = Literal["real", "fake"]
Stratum = Literal["false_positive", "false_negative", "abstain", "correct"]
_MAX_NAME: Final = 200


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Consent(_Part):
    """A person's answer to being asked whether a picture may be kept for review.

    Attributes
    ----------
    given : bool
        False, or no consent at all: nothing is stored.
    statement : str
        Which text the person agreed to: its name and version.
    at : datetime
        When, UTC.
    """

    given: bool
    statement: Annotated[str, Field(max_length=200)] = ""
    at: datetime.datetime


class ReviewForm(_Part):
    """The two labels of one review: what the picture is, and why the verdict failed.

    Attributes
    ----------
    label : {"real", "fake"}
        The truth, by the reviewer.
    failure_reason : str or None
        One of the contract's ``review_failure_reasons``; None only where the verdict is right.
    reviewer : str
        Who.
    at : datetime
        When, UTC.
    """

    label: Label
    failure_reason: str | None
    reviewer: Annotated[str, Field(min_length=1, max_length=_MAX_NAME)]
    at: datetime.datetime


class ReviewItem(_Part):
    """Everything of a record but the picture.

    Attributes
    ----------
    id : str
        Record id: the person's receipt, needed for opting out. Random, so it says nothing of the picture.
    stored : datetime
        UTC; retention and review cycle count from here.
    sha256 : str
        Digest of the file.
    verdict : Verdict
        Without the file's name.
    consent : Consent
        Given.
    known_label : {"real", "fake"} or None
        The truth as the person said it, where they did.
    forms : tuple of ReviewForm
        Oldest first; the last one counts.
    """

    id: str
    stored: datetime.datetime
    sha256: str
    verdict: Verdict
    consent: Consent
    known_label: Label | None
    forms: tuple[ReviewForm, ...] = ()

    @property
    def label(self) -> Label | None:
        """The truth: a reviewer's before the person's; None while nobody said."""
        return self.forms[-1].label if self.forms else self.known_label

    @property
    def stratum(self) -> Stratum:
        """Where the item counts; it may move when a reviewer says what the picture is."""
        return stratum_of(self.verdict.label, self.label)

    @property
    def stored_as(self) -> Stratum:
        """Where the item counted before any reviewer looked."""
        return stratum_of(self.verdict.label, self.known_label)


def stratum_of(verdict: str, label: Label | None) -> Stratum:
    """Stratum of a verdict.

    Parameters
    ----------
    verdict : {"real", "fake", "abstain"}
        What the detector said.
    label : {"real", "fake"} or None
        The truth: the person's correction, or the reviewer's label. A verdict cannot know that it is wrong: without
        either it counts as ``correct`` (not contested) until a reviewer has looked.

    Returns
    -------
    Stratum
        An abstention is one whatever the truth.
    """
    if verdict == "abstain":
        return "abstain"
    if label is None or label == verdict:
        return "correct"
    return "false_positive" if verdict == "fake" else "false_negative"


def checked_form(
    item: ReviewItem, label: str, reason: str | None, reviewer: str, at: datetime.datetime, reasons: Collection[str]
) -> ReviewForm:
    """A form whose two labels fit the verdict and each other.

    Parameters
    ----------
    item : ReviewItem
        What was looked at.
    label, reason, reviewer : str
        As the reviewer gave them.
    at : datetime
        UTC.
    reasons : collection of str
        The contract's ``review_failure_reasons``.

    Returns
    -------
    ReviewForm
        Valid.

    Raises
    ------
    ReviewError
        ``bad_form``, naming the key, its value and what is allowed.
    """
    verdict = item.verdict.label
    if label not in ("real", "fake"):
        raise ReviewError("bad_form", f"label {label!r}, allowed are real and fake; pass over what nobody can tell")
    if not 0 < len(reviewer.strip()) <= _MAX_NAME:
        raise ReviewError("bad_form", f"reviewer: give a name of 1 to {_MAX_NAME} characters")
    if reason is None and verdict != label:
        raise ReviewError("bad_form", f"the verdict was {verdict}: say why it failed, one of {', '.join(reasons)}")
    if reason is not None and verdict == label:
        raise ReviewError("bad_form", f"the verdict {verdict} is right: no failure reason")
    if reason is not None and reason not in reasons:
        raise ReviewError("bad_form", f"failure reason {reason!r}, allowed are {', '.join(reasons)}")
    return ReviewForm(
        label="real" if label == "real" else "fake", failure_reason=reason, reviewer=reviewer.strip(), at=at
    )


_FORM_COLUMNS: Final = ("id", "stored", "stratum", "verdict", "probability", "reason_codes", "known_label", "label",
                        "failure_reason", "reviewers", "bundle_digest", "contract_digest")  # fmt: skip


def write_forms(items: Iterable[ReviewItem], path: Path, store: Path) -> None:
    """Write the forms of reviewed items as CSV, in their order: no picture, no digest of one, no consent.

    Parameters
    ----------
    items : iterable of ReviewItem
        Each with at least one form.
    path : Path
        Target, readable by its owner alone.
    store : Path
        The store's folder, in which nothing is overwritten.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _FORM_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for item in items:
        last = item.forms[-1]
        row = {
            "id": item.id,
            "stored": item.stored.date().isoformat(),
            "stratum": item.stratum,
            "verdict": item.verdict.label,
            "probability": item.verdict.probability,
            "reason_codes": " ".join(item.verdict.reason_codes),
            "known_label": item.known_label,
            "label": last.label,
            "failure_reason": last.failure_reason,
            "reviewers": "; ".join(form.reviewer for form in item.forms),
            "bundle_digest": item.verdict.bundle_digest,
            "contract_digest": item.verdict.contract_digest,
        }
        writer.writerow({name: spreadsheet_cell(value) for name, value in row.items()})
    write_output(path, text.getvalue().encode(), inputs=[store], mode=0o600)
