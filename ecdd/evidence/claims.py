"""What a run may be quoted for: the claims of the contract, and what the specification asks beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.contract.loading import LoadedContract
from ecdd.errors import EcddError
from ecdd.evidence.applicability import not_ruled_out
from ecdd.evidence.declarations import Declared
from ecdd.evidence.records import ExperimentRecord
from ecdd.files import read_json
from ecdd.pipeline.decode import frozen_decoder, other_libraries

# E1.3 says under this name what its own golden set differs in; release and report read it
DECODER_DIFFERENCES: Final = "decoder_differences"
# what no experiment of this specification can promise: there is nothing on a build machine to run it on
NEVER_CLAIMED: Final = (
    "NNAPI delegate: not tested, no such device in any run",
    "Core ML delegate: not tested, no such device in any run",
    "GPU delegate: not tested, no such device in any run",
    "NPU delegate: not tested, no such device in any run",
    "real phones: not tested beyond the devices that E5.6 has dumps of",
)
TRAINING_RECORD: Final = "training_record.json"
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
    other_decoders : tuple of str
        Decoders that records were measured with and that did not freeze the golden stages, one line each.
    """

    supported: tuple[str, ...]
    unsupported: tuple[str, ...]
    not_applicable: tuple[str, ...]
    not_claimed: tuple[str, ...]
    other_decoders: tuple[str, ...]


def compare_claims(
    contract: LoadedContract, records: Mapping[str, ExperimentRecord], declared: Mapping[str, Declared]
) -> Claims:
    """Hold the contract's claims against what a run measured.

    Parameters
    ----------
    contract : LoadedContract
        That the run judged by.
    records : mapping of str to ExperimentRecord
        Complete records of the same bundle and contract, by id.
    declared : mapping of str to Declared
        The experiments of the specification.

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
        not_claimed=not_claimed(claims, contract.policy.evaluation.splits, declared),
        other_decoders=other_decoders(records, contract.policy.pixel_pipeline.decoder_version),
    )


def other_decoders(records: Mapping[str, ExperimentRecord], decoder_version: str) -> tuple[str, ...]:
    """Decoders that records were measured with and that did not freeze the golden stages.

    Parameters
    ----------
    records : mapping of str to ExperimentRecord
        By id.
    decoder_version : str
        ``pixel_pipeline.decoder_version`` of the contract.

    Returns
    -------
    tuple of str
        One line a decoder, with the experiments measured with it.
    """
    found: dict[str, list[str]] = {}
    for key, record in records.items():
        said = [str(m.value) for m in record.measurements if m.name == DECODER_DIFFERENCES and m.value]
        others = other_libraries(record.identity.versions, frozen_decoder(decoder_version)) or "; ".join(said)
        if others:
            found.setdefault(others, []).append(key)
    return tuple(
        f"Measured with a decoder that no evidence covers ({others}): {', '.join(keys)}; "
        f"run the gates with the decoder of the golden stages"
        for others, keys in found.items()
    )


def not_claimed(claims: Sequence[str], splits: Sequence[str], declared: Mapping[str, Declared]) -> tuple[str, ...]:
    """What a contract does not promise, for page one: experiments with their titles, splits, delegates.

    Parameters
    ----------
    claims, splits : sequence of str
        ``release.claims`` and ``evaluation.splits`` of the contract.
    declared : mapping of str to Declared
        The experiments of the specification.

    Returns
    -------
    tuple of str
        Never empty: some delegates cannot be had on any build machine.
    """
    return (
        *(f"{key} {about.title}" for key, about in declared.items() if key not in claims),
        *(f"{split} split" for split in _SPLITS if split not in splits),
        *NEVER_CLAIMED,
    )


def never_tested_on(bundle: Path) -> tuple[str, ...]:
    """What a bundle's model was never tested on, by its own training record, for page one.

    Parameters
    ----------
    bundle : Path
        Folder of a bundle.

    Returns
    -------
    tuple of str
        Never empty: a bundle that does not say so is told of.
    """
    path = bundle / TRAINING_RECORD
    try:
        said = read_json(path).get("not_tested_on") if path.is_file() else None
    except (OSError, EcddError, AttributeError):
        said = None
    listed = [text for text in said if isinstance(text, str)] if isinstance(said, list) else []
    return tuple(listed) or ("anything: the bundle has no training record that names it",)
