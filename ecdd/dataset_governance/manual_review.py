"""Manual review (E8.2): pictures that people agreed to show, sealed, labelled by reviewers, and deleted in time.

Nothing is stored without consent. Stored pictures are AUDIT from the first moment and never become anything else.
A store fills by stratum up to the contract's quota a cycle, so that reviewers see errors and abstentions, not a crowd
of easy pictures; whoever opts out is deleted at once, and everything is purged after the contract's retention.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.hash_chain import HashChain
from ecdd.dataset_governance.lineage_tags import LineageTag
from ecdd.dataset_governance.review_audit_tags import AuditTags
from ecdd.dataset_governance.review_error import ReviewError
from ecdd.dataset_governance.review_quota import ReviewStatus, cycle_of, most_needed, quota_left, within_quota
from ecdd.dataset_governance.review_record import (
    Consent,
    Label,
    ReviewForm,
    ReviewItem,
    Stratum,
    checked_form,
    stratum_of,
)
from ecdd.dataset_governance.review_sealing import Header, ReviewKey, open_record, read_header, seal_record
from ecdd.dataset_governance.review_store import ReviewFolder, disk_error
from ecdd.verdict import Verdict

__all__ = ["Consent", "ReviewError", "ReviewForm", "ReviewItem", "ReviewKey", "ReviewStatus", "ReviewStore"]

HISTORY_NAME = "lineage.jsonl"


def utc_now() -> datetime.datetime:
    """The clock, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class ReviewStore:
    """The pictures under review; see `open`."""

    def __init__(
        self,
        folder: ReviewFolder,
        key: ReviewKey | None,
        contract: LoadedContract,
        history: Path,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._folder, self._key, self._clock = folder, key, clock
        self._audit = AuditTags(history)
        self._rules = contract.policy.dataset_governance
        self._max_bytes = contract.policy.pixel_pipeline.max_bytes

    @classmethod
    def open(
        cls,
        folder: Path,
        key: ReviewKey | None,
        contract: LoadedContract,
        history: Path | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> ReviewStore:
        """Open a store; nothing is written or made by this.

        Parameters
        ----------
        folder : Path
            The store; made, for its owner alone, when the first picture is stored.
        key : ReviewKey or None
            Opting out and purging need none.
        contract : LoadedContract
            Quotas, cycle, retention, failure reasons, largest file.
        history : Path, optional
            Lineage history that gets the AUDIT tags; by default ``lineage.jsonl`` in the folder. Give it to
            `ecdd govern check --history`.
        clock : callable
            Gives the present time, UTC.
        """
        return cls(ReviewFolder(folder), key, contract, history or folder / HISTORY_NAME, clock)

    def add(self, picture: bytes, verdict: Verdict, consent: Consent, known_label: Label | None = None) -> str:
        """Store a picture for review, sealed.

        Parameters
        ----------
        picture : bytes
            The file as it was judged.
        verdict : Verdict
            The verdict on it; the file's name is not kept.
        consent : Consent
            The person's answer. Without one that is given and names its text, nothing is written at all.
        known_label : {"real", "fake"}, optional
            The truth as the person said it: how a false positive or negative is known before a reviewer has looked.

        Returns
        -------
        str
            Item id: the person's receipt, needed for opting out.

        Raises
        ------
        ReviewError
            ``no_consent``, ``bad_item``, ``not_reviewable`` (rejected file), ``already_stored``,
            ``known_to_the_data``, ``quota_full``, ``disk``, ``trail_broken``; then no picture was stored.
        """
        if not consent.given or not consent.statement.strip():
            raise ReviewError("no_consent", "consent was not given, or names no text; nothing was stored")
        self._needed_key()
        digest = self._checked(picture, verdict)
        stratum = stratum_of(verdict.label, known_label)
        with self._folder.locked(make=True):
            now = self._stamp()
            items, _ = self._items()
            if reason := self._why_not(digest, stratum, items, now):
                self._folder.note(now, "refused", why=reason.code)
                raise reason
            item = ReviewItem(
                id=secrets.token_hex(16),
                stored=now,
                sha256=digest,
                verdict=verdict.model_copy(update={"path": ""}),
                consent=consent,
                known_label=known_label,
            )
            self._audit.tag(digest, now)
            self._write(item, picture)
            try:
                self._folder.note(now, "stored", [item.id])
            except ReviewError:
                self._folder.erase(item.id)
                raise
        return item.id

    def _checked(self, picture: bytes, verdict: Verdict) -> str:
        if not 0 < len(picture) <= self._max_bytes:
            raise ReviewError("bad_item", f"picture: {len(picture)} bytes, allowed are 1 to {self._max_bytes}")
        digest = hashlib.sha256(picture).hexdigest()
        if verdict.file_sha256 != digest:
            raise ReviewError("bad_item", "the verdict is not of this picture: give the bytes that were judged")
        if verdict.outcome not in ("judged", "abstained"):
            raise ReviewError("not_reviewable", f"the picture was {verdict.outcome}: there is nothing to look at")
        return digest

    def _why_not(
        self, digest: str, stratum: Stratum, items: list[ReviewItem], now: datetime.datetime
    ) -> ReviewError | None:
        if any(item.sha256 == digest for item in items):
            return ReviewError("already_stored", "this picture is under review already; it was not stored again")
        standing = self._audit.standing(digest)
        if standing is not None and standing is not LineageTag.AUDIT:
            return ReviewError("known_to_the_data", f"this picture is {standing} of the data; it was not stored")
        days = self._rules.review_cycle_days
        left = quota_left(items, self._rules.review_quota, cycle_of(now, days), days)
        if left[stratum] <= 0:
            limit = self._rules.review_quota[stratum]
            return ReviewError(
                "quota_full", f"{stratum}: {limit} of {limit} of this cycle of {days} days; it was not stored"
            )
        return None

    def items(self) -> list[ReviewItem]:
        """Every item that can be opened, oldest first; without pictures."""
        with self._folder.locked():
            return self._items()[0]

    def picture(self, item_id: str) -> bytes:
        """The picture of an item, as it was stored."""
        with self._folder.locked():
            return open_record(self._needed_key(), self._folder.record(item_id), with_picture=True)[2]

    def damaged(self) -> list[str]:
        """What is wrong with each record that cannot be opened."""
        with self._folder.locked():
            return self._items()[1]

    @property
    def chains(self) -> tuple[HashChain, HashChain]:
        """Audit trail, and the history that has the AUDIT tags."""
        return self._folder.chain, HashChain(self._audit.history)

    def next(self, skip: Collection[str] = ()) -> ReviewItem | None:
        """The item that a reviewer should look at next.

        Parameters
        ----------
        skip : collection of str
            Ids that a reviewer passed over.

        Returns
        -------
        ReviewItem or None
            The oldest of the stratum that was looked at least in its cycle, by its quota; None where nothing waits.
        """
        return most_needed(self.items(), self._rules, skip)

    def label(
        self, item_id: str, label: Label, failure_reason: str | None, reviewer: str, *, again: bool = False
    ) -> ReviewItem:
        """Fill in the form of an item: its two labels.

        Parameters
        ----------
        item_id : str
            The item.
        label : {"real", "fake"}
            What the picture is.
        failure_reason : str or None
            Why the verdict failed, of the contract's ``review_failure_reasons``; None only where it is right.
        reviewer : str
            Who looked.
        again : bool
            Add a second opinion, which then counts; the first form is kept.

        Returns
        -------
        ReviewItem
            As stored now; its stratum follows the label.

        Raises
        ------
        ReviewError
            ``bad_form`` naming the key and what is allowed, ``unknown_item``, ``wrong_key``, ``damaged``, ``disk``.
        """
        with self._folder.locked():
            now = self._stamp()
            item, picture = self._opened(item_id)
            if item.forms and not again:
                raise ReviewError("bad_form", f"{item_id}: labelled already; give --again for a second opinion")
            form = checked_form(item, label, failure_reason, reviewer, now, self._rules.review_failure_reasons)
            item = item.model_copy(update={"forms": (*item.forms, form)})
            self._audit.tag(item.sha256, now)
            self._write(item, picture)
            self._folder.note(now, "labelled", [item_id])
        return item

    def reviewed(self) -> tuple[list[ReviewItem], int]:
        """Labelled items up to the quota of each stratum and cycle, and how many are beyond; see `within_quota`."""
        return within_quota(self.items(), self._rules)

    def opt_out(self, item_id: str) -> bool:
        """Delete an item at once, because the person asked for it; no key is needed.

        Returns
        -------
        bool
            False where nothing is stored under this id (any more). The trail keeps a line without content.
        """
        path = self._folder.record(item_id)
        with self._folder.locked():
            if not path.is_file():
                return False
            self._folder.note(self._stamp(), "opt_out", [item_id])
            self._folder.erase(item_id)
        return True

    def purge(self) -> list[str]:
        """Delete every item that is older than the contract's retention; no key is needed.

        Ages are by the audit trail, whose times never run backwards: a clock that was set back purges later, never
        earlier (`status` says so).

        Returns
        -------
        list of str
            Ids that were deleted; each has a line in the trail.
        """
        with self._folder.locked():
            due = self._due()
            if due:
                self._folder.note(self._stamp(), "purged", due, f"after {self._rules.review_retention_days} days")
            for item_id in due:
                self._folder.erase(item_id)
        return due

    def _due(self) -> list[str]:
        limit = datetime.timedelta(days=self._rules.review_retention_days)
        now, stored = self._clock(), self._folder.stored_at()
        return [item_id for item_id in self._folder.ids() if now - stored[item_id] >= limit]

    def rekey(self, new: ReviewKey) -> tuple[int, list[str]]:
        """Seal every record anew with another key; when it was stopped, run it again with the same two keys.

        Returns
        -------
        tuple of (int, list of str)
            How many records were sealed anew, and what is wrong with those that cannot be opened; they stay as they
            are.
        """
        key, damaged, changed = self._needed_key(), [], 0
        with self._folder.locked():
            for item_id in self._folder.ids():
                path = self._folder.record(item_id)
                try:
                    if read_header(path).key_id == new.id:
                        continue
                    header, form, picture = open_record(key, path, with_picture=True)
                except ReviewError as error:
                    damaged.append(str(error))
                    continue
                renewed = header.model_copy(update={"key_id": new.id})
                self._folder.write(item_id, seal_record(new, renewed, form, picture))
                changed += 1
            self._folder.note(self._stamp(), "rekeyed", why=f"{key.id} to {new.id}: {changed} records")
        self._key = new
        return changed, damaged

    def status(self) -> ReviewStatus:
        """Where the store stands."""
        days, quota = self._rules.review_cycle_days, self._rules.review_quota
        with self._folder.locked():
            items, damaged = self._items()
            trail, now, due = self._folder.trail(), self._clock(), self._due()
        cycle = cycle_of(now, days)
        here = [item for item in items if cycle_of(item.stored, days) == cycle]
        stored = Counter(item.stratum for item in here)
        done = Counter(item.stratum for item in here if item.forms)
        newest = max((line.when for line in trail), default=now)
        return ReviewStatus(
            cycle=cycle,
            strata={name: (stored[name], done[name], limit) for name, limit in quota.items()},
            waiting=sum(not item.forms for item in items),
            reviewed=sum(bool(item.forms) for item in items),
            due=len(due),
            refused=dict(sorted(Counter(line.why for line in trail if line.event == "refused").items())),
            damaged=tuple(damaged),
            clock_behind=max(newest - now, datetime.timedelta()),
        )

    def _needed_key(self) -> ReviewKey:
        if self._key is None:
            raise ReviewError("bad_key", "this step opens records: give the key")
        return self._key

    def _stamp(self) -> datetime.datetime:
        """The present time, never before the newest line of the trail: a clock set back cannot age an item."""
        return max([self._clock(), *(line.when for line in self._folder.trail()[-1:])])

    def _items(self) -> tuple[list[ReviewItem], list[str]]:
        items, damaged = [], []
        for item_id in self._folder.ids():
            try:
                items.append(self._opened(item_id, with_picture=False)[0])
            except ReviewError as error:
                if error.code != "damaged":
                    raise
                damaged.append(str(error))
        return sorted(items, key=lambda item: (item.stored, item.id)), damaged

    def _opened(self, item_id: str, *, with_picture: bool = True) -> tuple[ReviewItem, bytes]:
        path = self._folder.record(item_id)
        header, form, picture = open_record(self._needed_key(), path, with_picture=with_picture)
        item = ReviewItem.model_validate_json(form)
        if item.id != header.id:
            raise ReviewError("damaged", f"{item_id}: holds the form of another record")
        return item, picture

    def _write(self, item: ReviewItem, picture: bytes) -> None:
        key = self._needed_key()
        header = Header(id=item.id, key_id=key.id, stored=item.stored)
        try:
            self._folder.write(item.id, seal_record(key, header, item.model_dump_json().encode(), picture))
        except OSError as error:
            raise disk_error(error) from error
