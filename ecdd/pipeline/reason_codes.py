"""Reason codes: why a picture was rejected or not decided."""

from __future__ import annotations

from enum import StrEnum

from ecdd.errors import EcddError


class ReasonCode(StrEnum):
    """Codes that a verdict may carry. Names are the keys of the contract's ``reason_codes.codes``."""

    NO_FACE = "GR-001"
    LOW_FACE_CONFIDENCE = "GR-002"
    FACE_TOO_SMALL = "GR-003"
    TOO_BLURRY = "GR-004"
    COMPRESSION_TOO_HEAVY = "GR-005"
    RESOLUTION_TOO_LOW = "GR-006"
    TOO_MANY_FACES = "GR-007"
    LOW_MODEL_CONFIDENCE = "MD-001"
    MODEL_OUTPUT_INVALID = "MD-002"
    CORRUPT_FILE = "IO-001"
    UNSUPPORTED_FORMAT = "IO-002"
    FILE_TOO_LARGE = "IO-003"
    TOO_MANY_PIXELS = "IO-004"
    ANIMATED = "IO-005"
    DISGUISED = "IO-006"
    ALPHA_REJECTED = "IO-007"
    TRUNCATED = "IO-008"
    METADATA_TOO_LARGE = "IO-009"
    UNREADABLE = "IO-010"
    SIXTEEN_BIT_REJECTED = "IO-011"
    CMYK_REJECTED = "IO-012"
    TRAILING_DATA_REJECTED = "IO-013"
    PIXEL_INVARIANT = "PX-001"
    INTERNAL_ERROR = "SY-001"


MEANINGS: dict[ReasonCode, str] = {
    ReasonCode.NO_FACE: "no face found",
    ReasonCode.LOW_FACE_CONFIDENCE: "a face may be there, but the detector is not sure enough",
    ReasonCode.FACE_TOO_SMALL: "the face is too small",
    ReasonCode.TOO_BLURRY: "the face is too blurry",
    ReasonCode.COMPRESSION_TOO_HEAVY: "the picture is compressed too heavily",
    ReasonCode.RESOLUTION_TOO_LOW: "the picture is too small",
    ReasonCode.TOO_MANY_FACES: "too many faces",
    ReasonCode.LOW_MODEL_CONFIDENCE: "the model is not sure: the probability lies in the abstain band",
    ReasonCode.MODEL_OUTPUT_INVALID: "the model's output is not finite or has the wrong shape",
    ReasonCode.CORRUPT_FILE: "the file is corrupt",
    ReasonCode.UNSUPPORTED_FORMAT: "the file's format is not supported",
    ReasonCode.FILE_TOO_LARGE: "the file has too many bytes",
    ReasonCode.TOO_MANY_PIXELS: "the picture has too many pixels",
    ReasonCode.ANIMATED: "the picture is animated",
    ReasonCode.DISGUISED: "the content is of another format than the file's extension says",
    ReasonCode.ALPHA_REJECTED: "the picture is transparent",
    ReasonCode.TRUNCATED: "the file ends too early",
    ReasonCode.METADATA_TOO_LARGE: "the metadata is too large",
    ReasonCode.UNREADABLE: "the file cannot be read",
    ReasonCode.SIXTEEN_BIT_REJECTED: "the picture has 16 bits a channel",
    ReasonCode.CMYK_REJECTED: "the picture is in CMYK",
    ReasonCode.TRAILING_DATA_REJECTED: "bytes follow the end of the picture",
    ReasonCode.PIXEL_INVARIANT: "a pixel invariant is broken at the model's boundary",
    ReasonCode.INTERNAL_ERROR: "an internal error; the picture was not judged",
}


class Rejected(EcddError):  # noqa: N818 - an outcome of decoding, not a programming error
    """Raised where a picture cannot be judged; carries the codes, most general first.

    A truncated file carries ``(CORRUPT_FILE, TRUNCATED)``: the first code is the class, the second the cause.
    """

    def __init__(self, codes: tuple[ReasonCode, ...], detail: str) -> None:
        super().__init__(f"{', '.join(codes)}: {detail}")
        self.codes = codes
        self.detail = detail
