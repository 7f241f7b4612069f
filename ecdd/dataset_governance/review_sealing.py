"""Encryption at rest of reviewed pictures and forms: AES-256-GCM through `cryptography`, keys, and the sealed record.

A record is one file: a header line in the clear, then the sealed form and the sealed picture, each with a random 96-bit
nonce of its own. The header (format, schema version, record id, key id, time of storing) is authenticated with both, so
that a record cannot take another's place, version, key or age. At 2**32 records a key the chance of a nonce met twice
reaches 2**-33, the limit of NIST SP 800-38D: change the key (`ecdd govern review rekey`) long before.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecdd.dataset_governance.review_error import ReviewError
from ecdd.files import write_bytes

KEY_VARIABLE: Final = "ECDD_REVIEW_KEY"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SCHEMA_VERSION: Final = 1
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 1024
_MAX_FORM_BYTES: Final = 2**24

RecordId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class ReviewKey:
    """A 256-bit key and the id that records cite; the id is a digest and does not give the key away."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ReviewError("bad_key", f"a review key has {KEY_BYTES} bytes, this one {len(secret)}")
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(secret)
        self.id = hashlib.sha256(b"ecdd review key\0" + secret).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"ReviewKey({self.id})"

    @classmethod
    def read(cls, path: Path | None = None) -> ReviewKey:
        """Read a key from a file that only its owner can read, or from the variable ``ECDD_REVIEW_KEY``.

        Parameters
        ----------
        path : Path, optional
            File with 32 bytes as base64; the variable holds the same text.

        Raises
        ------
        ReviewError
            No key, no base64 of 32 bytes, or a file that others can read.
        """
        if path is None:
            text = os.environ.get(KEY_VARIABLE)
            if not text:
                raise ReviewError("bad_key", f"no key: give --review-key FILE, or set {KEY_VARIABLE}")
            return cls(_decoded(text, KEY_VARIABLE))
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ReviewError("bad_key", f"{path.name}: no key can be read from it") from error
        if mode & 0o077:
            raise ReviewError("bad_key", f"{path.name}: mode {mode:o}, others can read it; chmod 600 {path.name}")
        return cls(_decoded(text, path.name))

    @classmethod
    def make(cls, path: Path) -> ReviewKey:
        """Write a new key to a file of mode 0600; an existing file is never replaced."""
        if path.exists():
            raise ReviewError("bad_key", f"{path.name}: exists; a key that is overwritten loses every record under it")
        secret = secrets.token_bytes(KEY_BYTES)
        try:
            write_bytes(path, base64.b64encode(secret) + b"\n", mode=0o600, durable=True)
        except OSError as error:
            raise ReviewError("disk", f"{path.name}: cannot be written ({error.strerror})") from error
        return cls(secret)

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plaintext, aad)

    def unseal(self, sealed: bytes, aad: bytes) -> bytes | None:
        """Plaintext, or None where key, content or ``aad`` is not what was sealed."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
        except (InvalidTag, ValueError):
            return None


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReviewError("bad_key", f"{name}: a key is {KEY_BYTES} bytes as base64") from error


class Header(BaseModel):
    """What a record says in the clear: enough to purge it without a key, nothing of the picture or the verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["ecdd review record"] = "ecdd review record"
    schema_version: Literal[1] = SCHEMA_VERSION
    id: RecordId
    key_id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    stored: datetime.datetime


def seal_record(key: ReviewKey, header: Header, form: bytes, picture: bytes) -> bytes:
    """One record file: header line, length of the sealed form, sealed form, sealed picture."""
    line = header.model_dump_json().encode() + b"\n"
    sealed = key.seal(form, line + b"form")
    return line + len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed + key.seal(picture, line + b"picture")


def read_header(path: Path) -> Header:
    """Header of a record file.

    Raises
    ------
    ReviewError
        ``unknown_item`` where there is no such file, ``damaged`` for anything that is not the record of this name.
    """
    return _header(path, _read(path, with_picture=False)[0])


def _read(path: Path, *, with_picture: bool) -> tuple[bytes, bytes, bytes]:
    """Header line, sealed form and sealed picture."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(_MAX_HEADER_BYTES)
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
            return line, stream.read(min(length, _MAX_FORM_BYTES)), stream.read() if with_picture else b""
    except FileNotFoundError as error:
        raise ReviewError("unknown_item", f"{path.stem}: nothing is stored under this id") from error
    except OSError as error:
        raise ReviewError("damaged", f"{path.stem}: cannot be read ({error.strerror})") from error


def _header(path: Path, line: bytes) -> Header:
    try:
        header = Header.model_validate_json(line)
    except ValidationError as error:
        raise ReviewError("damaged", f"{path.stem}: no review record of schema version {SCHEMA_VERSION}") from error
    if header.id != path.stem:
        raise ReviewError("damaged", f"{path.stem}: holds the record {header.id}; records were swapped or renamed")
    return header


def open_record(key: ReviewKey, path: Path, *, with_picture: bool) -> tuple[Header, bytes, bytes]:
    """Open a record.

    Parameters
    ----------
    key : ReviewKey
        The key it was sealed with.
    path : Path
        File, named by the record's id.
    with_picture : bool
        Open the picture too; otherwise it is empty.

    Returns
    -------
    tuple of (Header, bytes, bytes)
        Header, form and picture.

    Raises
    ------
    ReviewError
        ``wrong_key`` naming both key ids, ``damaged`` where any byte is not as it was sealed, ``unknown_item``.
    """
    line, sealed_form, sealed_picture = _read(path, with_picture=with_picture)
    header = _header(path, line)
    if header.key_id != key.id:
        raise ReviewError(
            "wrong_key",
            f"{path.stem}: sealed with key {header.key_id}, given was {key.id}; "
            "after a key change that was stopped run `ecdd govern review rekey` again",
        )
    form = key.unseal(sealed_form, line + b"form")
    picture = key.unseal(sealed_picture, line + b"picture") if with_picture else b""
    if form is None or picture is None:
        raise ReviewError("damaged", f"{path.stem}: was changed after it was sealed; nothing of it is shown")
    return header, form, picture
