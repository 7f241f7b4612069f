"""What a run may be quoted for: the claims of the contract, and what the specification asks beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ecdd.contract.loading import LoadedContract
from ecdd.evidence.applicability import not_ruled_out
from ecdd.evidence.records import ExperimentRecord

# every experiment of the specification, so that one that nobody wrote yet is named too
SPECIFIED: Final[Mapping[str, str]] = {
    "E1.1": "upload invariance",
    "E1.2": "format allowlist",
    "E1.3": "one decode path",
    "E1.4": "EXIF orientation",
    "E1.5": "RGB, dtype and range",
    "E1.6": "gamma and ICC",
    "E1.7": "alpha",
    "E1.8": "resize",
    "E1.9": "normalisation",
    "E2.1": "face detector pin",
    "E2.2": "no-face abstain",
    "E2.3": "face-confidence sweep",
    "E2.4": "crop determinism",
    "E2.5": "multi-face policies",
    "E2.6": "minimum face size",
    "E2.7": "blur",
    "E2.8": "compression",
    "E3.1": "grid shape",
    "E3.2": "cell to pixel mapping",
    "E3.3": "pooling rules",
    "E3.4": "top-k ratio",
    "E3.5": "attention pooling",
    "E3.6": "locality",
    "E4.1": "calibration-set contract",
    "E4.2": "temperature scaling",
    "E4.3": "Platt scaling",
    "E4.4": "operating point",
    "E4.5": "abstain band",
    "E4.6": "low-quality policy",
    "E5.1": "probability parity",
    "E5.2": "patch-map parity",
    "E5.3": "pooled-logit parity",
    "E5.4": "post-quantisation recalibration",
    "E5.5": "runtime invariance",
    "E6.1": "source splits",
    "E6.2": "time split",
    "E6.3": "transform suite",
    "E6.4": "claims hygiene",
    "E7.1": "privacy-preserving log",
    "E7.2": "drift triggers",
    "E7.3": "release and rollback rehearsal",
    "E8.1": "near-duplicate scan",
    "E8.2": "manual review",
    "E8.3": "lineage tags",
}


# what no experiment of this specification can promise: there is nothing on a build machine to run it on
NEVER_CLAIMED: Final = (
    "NNAPI delegate: not tested, no such device in any run",
    "GPU delegate: not tested, no such device in any run",
)
_SPLITS: Final = ("source", "device", "platform", "compression", "time")


@dataclass(frozen=True)
class Claims:
    """Claims of a contract against the records of a run.

    Attributes
    ----------
    supported : tuple of str
        Claimed, complete and passing.
    unsupported : tuple of str
        Claimed, and not complete and passing: no release can rest on this run alone.
    not_applicable : tuple of str
        Claimed, and ruled out by the contract itself.
    not_claimed : tuple of str
        What nobody claims: experiments of the specification with their titles, splits, delegates.
    """

    supported: tuple[str, ...]
    unsupported: tuple[str, ...]
    not_applicable: tuple[str, ...]
    not_claimed: tuple[str, ...]


def compare_claims(contract: LoadedContract, records: Mapping[str, ExperimentRecord]) -> Claims:
    """Hold the contract's claims against what a run measured.

    Parameters
    ----------
    contract : LoadedContract
        That the run judged by.
    records : mapping of str to ExperimentRecord
        Complete records of the same bundle and contract, by id.

    Returns
    -------
    Claims
        Each claim in one of them.
    """
    claims = contract.policy.release.claims
    sound = {key: record.verdict for key, record in records.items() if not not_ruled_out(record, contract.values)}
    return Claims(
        supported=tuple(claim for claim in claims if sound.get(claim) == "pass"),
        unsupported=tuple(claim for claim in claims if sound.get(claim) not in {"pass", "not_applicable"}),
        not_applicable=tuple(claim for claim in claims if sound.get(claim) == "not_applicable"),
        not_claimed=not_claimed(claims, contract.policy.evaluation.splits),
    )


def not_claimed(claims: Sequence[str], splits: Sequence[str]) -> tuple[str, ...]:
    """What a contract does not promise, for page one: experiments with their titles, splits, delegates.

    Parameters
    ----------
    claims, splits : sequence of str
        ``release.claims`` and ``evaluation.splits`` of the contract.

    Returns
    -------
    tuple of str
        Never empty: some delegates cannot be had on any build machine.
    """
    return (
        *(f"{key} {title}" for key, title in SPECIFIED.items() if key not in claims),
        *(f"{split} split" for split in _SPLITS if split not in splits),
        *NEVER_CLAIMED,
    )
