"""The word of whoever ran the gates: an in-toto statement on the head of a folder of evidence, signed (DSSE).

The predicate is in-toto's own for test results. The subjects are the head, ``index.json``, which holds the digests of
all evidence, and the payload that was judged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ecdd.errors import EcddError
from ecdd.evidence.chain import EVIDENCE_FILE
from ecdd.evidence.edits import examine
from ecdd.evidence.head import HEAD_FILE, Head
from ecdd.files import parse_json, read_json, write_bytes

if TYPE_CHECKING:
    from securesystemslib.signer._crypto_signer import CryptoSigner
    from securesystemslib.signer._key import SSlibKey

ATTESTATION_FILE: Final = "attestation.dsse.json"
_PREDICATE: Final = "https://in-toto.io/attestation/test-result/v0.1"
_PAYLOAD: Final = "application/vnd.in-toto+json"
_MOST_BYTES: Final = 2**20


class AttestationError(EcddError):
    """Evidence cannot be attested, or its attestation does not hold."""


def check_fresh(folder: Path) -> None:
    """Refuse a folder that holds evidence already: a runner signs what it ran, and nothing that lay there.

    Raises
    ------
    AttestationError
        Something is there.
    """
    if any((folder / name).exists() for name in (HEAD_FILE, EVIDENCE_FILE)) or list(folder.glob("phase*_results")):
        msg = f"{folder}: holds evidence already, which this run would sign too; name a new folder with --out"
        raise AttestationError(msg)


def attest(folder: Path, private: Path) -> Path:
    """Sign the head of a folder of evidence.

    Parameters
    ----------
    folder : Path
        Of the run that has just ended.
    private : Path
        PEM of the runner's private key.

    Returns
    -------
    Path
        The envelope.

    Raises
    ------
    AttestationError
        The key cannot be used, or the evidence is not as the run wrote it.
    """
    from google.protobuf.json_format import MessageToJson
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope

    signer = load_signer(private)
    found = examine(folder)
    if found.edits or found.head is None or len(found.head.runs) != 1:
        why = found.edits[0] if found.edits else "more than one run wrote here"
        raise AttestationError(f"{folder}: not attested, not as one run wrote it: {why}")
    subjects = {HEAD_FILE: found.head_digest, "payload": found.head.runs[0].identity.payload_digest}
    statement = Statement(
        subjects=[ResourceDescriptor(name=name, digest={"sha256": value}).pb for name, value in subjects.items()],
        predicate_type=_PREDICATE,
        predicate=_predicate(found.head),
    )
    statement.validate()
    envelope = Envelope(MessageToJson(statement.pb, sort_keys=True).encode(), _PAYLOAD, {})
    envelope.sign(signer)
    write_bytes(folder / ATTESTATION_FILE, (json.dumps(envelope.to_dict(), indent=1) + "\n").encode())
    return folder / ATTESTATION_FILE


def _predicate(head: Head) -> dict[str, Any]:
    """Outcome and configuration, for a reader; what binds is the digest of the head."""
    identity = head.runs[0].identity
    named = {
        "contract": identity.contract_digest,
        "golden set": identity.golden_digest,
        "golden stages": identity.stages_digest,
        "declarations": identity.declared_digest,
        "gates' code": identity.gates_digest,
        "data": identity.data_digest,
    }
    failed = [entry.id for entry in head.records if entry.verdict == "fail"]
    return {
        "result": "FAILED" if failed or head.runs[0].unclean() else "PASSED",
        "configuration": [{"name": name, "digest": {"sha256": value}} for name, value in named.items() if value],
        "passedTests": [entry.id for entry in head.records if entry.verdict == "pass"],
        "failedTests": failed,
    }


def check_attestation(folder: Path, public: Path, head_digest: str) -> list[str]:
    """Hold the attestation of a folder against a runner's public key and the head that lies there.

    Parameters
    ----------
    folder : Path
        Of a run.
    public : Path
        PEM of the runner's public key.
    head_digest : str
        SHA-256 of the head that was read.

    Returns
    -------
    list of str
        Why the evidence does not count as attested by that key; empty where it does.

    Raises
    ------
    AttestationError
        The key cannot be read.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    key, path = load_public(public), folder / ATTESTATION_FILE
    if not path.is_file():
        return [f"not attested: there is no {ATTESTATION_FILE}; the runner makes it with ecdd gates --attest KEY"]
    try:
        if path.stat().st_size > _MOST_BYTES:
            return [f"{ATTESTATION_FILE}: larger than {_MOST_BYTES} bytes"]
        envelope = Envelope.from_dict(read_json(path))
        envelope.verify([key], 1)
        if envelope.payload_type != _PAYLOAD:
            return [f"{ATTESTATION_FILE}: holds {envelope.payload_type}, must be {_PAYLOAD}"]
        statement = parse_json(envelope.payload, path)
        said = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
        kind, signed = statement["predicateType"], said[HEAD_FILE]
    except VerificationError:
        return [f"{ATTESTATION_FILE}: not signed by {public.name}"]
    except (EcddError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"{ATTESTATION_FILE}: not a signed in-toto statement"]
    if kind != _PREDICATE or signed != head_digest:
        return [f"{ATTESTATION_FILE}: was signed for other evidence than this {HEAD_FILE}"]
    return []


def load_signer(private: Path) -> CryptoSigner:
    """Read a private key.

    Raises
    ------
    AttestationError
        It cannot be read, or cannot sign.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer._crypto_signer import CryptoSigner

    try:
        return CryptoSigner(load_pem_private_key(private.read_bytes(), password=None))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithmError) as error:
        raise AttestationError(f"{private}: no private key that signs: {error}; see ecdd release --make-keys") from None


def load_public(public: Path) -> SSlibKey:
    """Read a public key.

    Raises
    ------
    AttestationError
        It is none.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer._key import SSlibKey

    try:
        return SSlibKey.from_crypto(load_pem_public_key(public.read_bytes()))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithmError) as error:
        raise AttestationError(f"{public}: no public key: {error}; see ecdd release --make-keys") from None


def same_key(private: Path, public: Path) -> bool:
    """Whether a private and a public key are one pair: then whoever releases attests their own evidence."""
    return bool(load_signer(private).public_key.keyid == load_public(public).keyid)
