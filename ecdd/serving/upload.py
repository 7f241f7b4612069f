"""Receiving a picture, raw or as multipart: into memory only, within the limit at every moment, digested on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from ecdd.errors import EcddError
from ecdd.serving.problems import ServingError, busy

_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_PART_NAME: Final = "file"
_MULTIPART_EXTRA: Final = 16 * 1024  # boundary, headers and end of one part
_RAW_TYPES: Final = re.compile(r"image/[\w.+-]+|application/octet-stream")
_ONE_FILE: Final = 'Send one part named "file", or the picture alone as the body.'


class FileTooLarge(EcddError):  # noqa: N818 - an outcome: it becomes a verdict with a reason code
    """The file is larger than ``pixel_pipeline.max_bytes``."""

    def __init__(self, received: int, announced: int | None = None) -> None:
        self.received, self.announced = received, announced
        super().__init__()


@dataclass
class Upload:
    """A file that arrived.

    Attributes
    ----------
    data : bytearray
        Its bytes.
    suffix : str
        Extension of its name, for example ``".jpg"``; empty when unknown.
    sha256 : str
        Of the bytes that arrived, hexadecimal.
    digest_checked : bool
        Whether the client sent the digest it had computed (and it was the same).
    """

    data: bytearray = field(default_factory=bytearray)
    suffix: str = ""
    sha256: str = ""
    digest_checked: bool = False


async def receive_upload(request: Request, max_bytes: int, may_hold: Callable[[int], bool]) -> Upload:
    """Receive the picture of a request.

    Parameters
    ----------
    request : Request
        Its body is a picture, or a form with one.
    max_bytes : int
        Contract: ``pixel_pipeline.max_bytes``.
    may_hold : callable
        Of `BodyMemory.body`.

    Returns
    -------
    Upload
        The file; its digest equals the client's where that was sent.

    Raises
    ------
    ServingError
        400, 409, 415 or 503.
    FileTooLarge
        Raised at the first byte over the limit, or at once when the length is announced.
    """
    expected = _expected_digest(request)
    suffix = _query_suffix(request)
    boundary = _boundary(request)
    upload, digest = Upload(suffix=suffix), hashlib.sha256()
    extra = _MULTIPART_EXTRA if boundary else 0
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > max_bytes + extra:
        raise FileTooLarge(0, int(announced))

    def keep(piece: bytes | memoryview) -> None:
        if len(upload.data) + len(piece) > max_bytes:
            raise FileTooLarge(len(upload.data))
        if not may_hold(len(piece)):
            raise busy("memory_full", "the site holds as many bytes of other uploads as it may")
        upload.data += piece
        digest.update(piece)

    form = _OneFileForm(boundary, upload, keep) if boundary else None
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > max_bytes + extra:
            raise FileTooLarge(len(upload.data))
        if form is None:
            keep(chunk)
        else:
            form.feed(chunk)
    if form is not None:
        form.finish()
    upload.sha256 = digest.hexdigest()
    if expected is not None and expected != upload.sha256:
        detail = f"{len(upload.data)} bytes arrived with SHA-256 {upload.sha256}, announced was {expected}"
        raise ServingError(409, "digest_mismatch", detail, "Send the file again; it was changed on the way.")
    upload.digest_checked = expected is not None
    return upload


def _expected_digest(request: Request) -> str | None:
    sent = request.headers.get("x-content-sha256")
    if sent is None:
        return None
    if not _SHA256.fullmatch(sent):
        detail = f"X-Content-SHA256 has {len(sent)} characters that are not 64 hexadecimal digits"
        raise ServingError(400, "bad_digest", detail, "Send the SHA-256 of the file as 64 hexadecimal digits.")
    return sent.lower()


def _query_suffix(request: Request) -> str:
    suffix = request.query_params.get("name_suffix", "")
    if suffix and not _SUFFIX.fullmatch(suffix):
        detail = "name_suffix is not a dot with 1 to 8 letters or digits"
        raise ServingError(400, "bad_query", detail, "Send the extension of the file's name, for example .jpg.")
    return suffix


def _boundary(request: Request) -> bytes | None:
    """Boundary of a form, or None where the body is the file itself."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ServingError(
            415, "content_encoding", "a body with Content-Encoding is not taken", "Send the file's bytes as they are."
        )
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise ServingError(400, "bad_multipart", "multipart/form-data without a boundary", _ONE_FILE)
        return boundary
    if not _RAW_TYPES.fullmatch(kind.decode("latin-1")):
        detail = "the Content-Type is none of image/*, application/octet-stream, multipart/form-data"
        raise ServingError(415, "content_type", detail, "Name one of them.")
    return None


class _OneFileForm:
    """A form with one part ``file``. Of its name only the extension is kept.

    Starlette's own form parser writes parts over 1 MB to a temporary file; this one hands every piece on.
    """

    def __init__(self, boundary: bytes, upload: Upload, keep: Callable[[memoryview], None]) -> None:
        self._upload, self._keep = upload, keep
        self._name, self._value = bytearray(), bytearray()
        self._disposition = ""
        self._parts, self._ended = 0, False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header,
                    "on_headers_finished": self._headers,
                    "on_part_data": lambda data, start, end: self._keep(memoryview(data)[start:end]),
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _bad_form("the boundary is too long") from error

    def feed(self, chunk: bytes) -> None:
        if not chunk:
            return
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _bad_form("the form is malformed") from error

    def finish(self) -> None:
        if not self._ended or self._parts != 1:
            raise _bad_form(f"the form has no end, or no part; parts begun: {self._parts}")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise _bad_form("the form has more than one part")

    def _header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            if self._disposition:
                raise _bad_form("the part has two names")
            self._disposition = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or options.get(b"name") != _PART_NAME.encode():
            raise _bad_form(f'the part is not named "{_PART_NAME}"')
        suffix = PurePath(options.get(b"filename", b"").decode("utf-8", "replace")).suffix
        if _SUFFIX.fullmatch(suffix):
            self._upload.suffix = suffix

    def _end(self) -> None:
        self._ended = True


def _bad_form(detail: str) -> ServingError:
    return ServingError(400, "bad_multipart", detail, _ONE_FILE)
