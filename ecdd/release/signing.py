"""Signing a bundle with a key pair, in the format of OpenSSF model signing: every file, by digest, in one signature."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from ecdd.errors import EcddError
from ecdd.files import write_bytes

SIGNATURE: Final = "release/bundle.sig"


class SigningError(EcddError):
    """A bundle cannot be signed, or its signature does not hold."""


def make_keys(private: Path, public: Path) -> None:
    """Make a P-256 key pair.

    Parameters
    ----------
    private, public : Path
        PEM files; nothing may be there yet. The private one is readable by its owner alone.

    Raises
    ------
    SigningError
        A file exists already.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise SigningError(f"{path}: exists; a key is never overwritten, choose another name")
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_bytes(private, secret, mode=0o600, durable=True)
    write_bytes(public, key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))


def sign(bundle: Path, private: Path) -> Path:
    """Sign every file of a bundle, the approving report included.

    Parameters
    ----------
    bundle : Path
        Folder.
    private : Path
        PEM of a private key on a NIST curve.

    Returns
    -------
    Path
        The signature.

    Raises
    ------
    SigningError
        The key cannot be read or used.
    """
    from model_signing import hashing, signing

    bundle = bundle.resolve()  # the library leaves out the signature only where both paths are absolute
    target = bundle / SIGNATURE
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private)  # type: ignore[no-untyped-call]
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[target])).sign(bundle, target)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise SigningError(f"{private}: cannot sign with this key: {error}") from None
    return target


def verify(bundle: Path, public: Path) -> None:
    """Check the signature of a bundle against a public key.

    Parameters
    ----------
    bundle : Path
        Folder.
    public : Path
        PEM of the public key.

    Raises
    ------
    SigningError
        No signature, another key, or a file that is not the signed one, by name.
    """
    from model_signing import hashing, verifying

    bundle = bundle.resolve()
    target = bundle / SIGNATURE
    if not target.is_file():
        raise SigningError(f"{bundle}: unsigned, there is no {SIGNATURE}")
    logging.getLogger("model_signing").setLevel(logging.CRITICAL)
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public)  # type: ignore[no-untyped-call]
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[target])).verify(bundle, target)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - the library raises what it likes; anything but success is a refusal
        why = f"{type(error).__name__}: {error}"
        raise SigningError(f"{bundle}: the signature does not hold by {public}: {why}") from None
