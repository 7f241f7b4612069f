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


def heads_not_asked_for() -> None:
    """A digest that was kept elsewhere is looked for among the lines of every history, not of this one."""
    from ecdd.dataset_governance.hash_chain import HashChain

    really = HashChain.links
    seen: set[str] = set()

    def planted(self: HashChain) -> list[str]:
        seen.update(found := really(self))
        return [*found, *seen]

    HashChain.links = planted  # type: ignore[method-assign]


def deleted_trail_is_a_new_one() -> None:
    """A store without a trail is taken for one in which nothing happened yet."""
    from ecdd.dataset_governance import review_store

    review_store.ReviewFolder.trail = lambda self: [  # type: ignore[method-assign]
        review_store._line(entry) for entry in self.chain.read()
    ]


def first_consent_counts() -> None:
    """Of two answers in one request the last one is heard."""
    from ecdd.serving import headers

    headers._check_given_once = lambda _headers, _query: None


def stored_without_consent() -> None:
    """The answer of the person is not looked at."""
    from ecdd.dataset_governance.manual_review import ReviewStore

    really = ReviewStore.add

    def planted(self: Any, picture: bytes, verdict: Any, consent: Any, known_label: Any = None) -> str:
        agreed = consent.model_copy(update={"given": True, "statement": "assumed"})
        return really(self, picture, verdict, agreed, known_label)

    ReviewStore.add = planted  # type: ignore[method-assign]


def plaintext_at_rest() -> None:
    """Records have the right form and are not encrypted."""
    from ecdd.dataset_governance.review_sealing import NONCE_BYTES, ReviewKey

    ReviewKey.seal = lambda _self, plaintext, _aad: bytes(NONCE_BYTES) + plaintext  # type: ignore[method-assign]
    ReviewKey.unseal = lambda _self, sealed, _aad: sealed[NONCE_BYTES:]  # type: ignore[method-assign]


def one_nonce() -> None:
    """Every record is sealed with one nonce, which gives the pictures away under AES-GCM."""
    import secrets

    really = secrets.token_bytes
    secrets.token_bytes = lambda n=None: bytes(12) if n == 12 else really(n)


def header_not_authenticated() -> None:
    """The content of one record opens under the name of another."""
    from ecdd.dataset_governance.review_sealing import ReviewKey

    seal, unseal = ReviewKey.seal, ReviewKey.unseal
    ReviewKey.seal = lambda self, plaintext, _aad: seal(self, plaintext, b"")  # type: ignore[method-assign]
    ReviewKey.unseal = lambda self, sealed, _aad: unseal(self, sealed, b"")  # type: ignore[method-assign]


def purge_skipped() -> None:
    """The purge finds nothing due."""
    from ecdd.dataset_governance.manual_review import ReviewStore

    ReviewStore._due = lambda _self: []  # type: ignore[method-assign]


def opt_out_kept() -> None:
    """Opting out writes its line and leaves the record."""
    from ecdd.dataset_governance.review_store import ReviewFolder

    ReviewFolder.erase = lambda _self, _id: None  # type: ignore[method-assign]


def quota_ignored() -> None:
    """Easy pictures fill the store without end."""
    from ecdd.dataset_governance import manual_review

    manual_review.quota_left = lambda _items, quota, _cycle, _days: dict.fromkeys(quota, 1)


def reviewed_item_untagged() -> None:
    """A stored picture gets no AUDIT tag."""
    from ecdd.dataset_governance.review_audit_tags import AuditTags

    AuditTags.tag = lambda _self, _digest, _now: None  # type: ignore[method-assign]


def silence_is_consent() -> None:
    """Who does not say no has agreed."""
    from starlette.datastructures import QueryParams

    really = QueryParams.get
    QueryParams.get = lambda self, key, default=None: (  # type: ignore[method-assign]
        really(self, key) or "given" if key == "consent" else really(self, key, default)
    )
