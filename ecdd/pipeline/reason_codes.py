"""Reason codes: why a picture was rejected or not decided, and what a person can do about it."""

from __future__ import annotations

from enum import StrEnum

from ecdd.errors import EcddError


class ReasonCode(StrEnum):
    """Codes that a verdict may carry. Names are the keys of the contract's ``reason_codes.codes``.

    Attributes
    ----------
    meaning : str
        For a log, a report or a terminal: a clause without a full stop.
    sentence : str
        What happened, for the person who sent the picture.
    advice : str
        What that person can do.
    """

    meaning: str
    sentence: str
    advice: str

    def __new__(cls, code: str, meaning: str = "", sentence: str = "", advice: str = "") -> ReasonCode:
        """One code with its texts; the string is the code alone."""
        made = str.__new__(cls, code)
        made._value_ = code
        made.meaning, made.sentence, made.advice = meaning, sentence, advice
        return made

    NO_FACE = (
        "GR-001",
        "no face found",
        "No face was found in the picture.",
        "Use a photograph that shows a human face from the front.",
    )
    LOW_FACE_CONFIDENCE = (
        "GR-002",
        "a face may be there, but the detector is not sure enough",
        "Something may be a face, but not surely enough.",
        "Use a picture where the face is turned to the camera, well lit and not covered.",
    )
    FACE_TOO_SMALL = (
        "GR-003",
        "the face is too small",
        "The face is too small to be judged.",
        "Use the original picture, or one taken closer; enlarging this one does not help.",
    )
    TOO_BLURRY = (
        "GR-004",
        "the face is too blurry",
        "The face is too blurry to be judged.",
        "Use a sharper picture; sharpening this one does not help.",
    )
    COMPRESSION_TOO_HEAVY = (
        "GR-005",
        "the picture is compressed too heavily",
        "The picture was compressed too heavily; the traces that would be judged are gone.",
        "Use the original file, not a copy from a messenger or a screenshot.",
    )
    RESOLUTION_TOO_LOW = (
        "GR-006",
        "the picture is too small",
        "The whole picture is too small.",
        "Use the original file in its full size, not a thumbnail.",
    )
    TOO_MANY_FACES = (
        "GR-007",
        "too many faces",
        "There are too many faces.",
        "Use a picture with fewer people, or cut it into several without scaling.",
    )
    FEW_TONAL_VALUES = (
        "GR-008",
        "the face has few tonal values",
        "The face is made of only a few shades, as in a dithered, posterised or two-colour picture.",
        "Use the original photograph, before it was reduced to few colours.",
    )
    FACE_TURNED = (
        "GR-009",
        "the face is turned too far from upright",
        "The face lies on its side or upside down.",
        "Turn the picture upright, without scaling it, and send it again.",
    )
    LOW_MODEL_CONFIDENCE = (
        "MD-001",
        "the model is not sure: the probability lies in the abstain band",
        "The model is not sure: the probability lies between the two limits.",
        "Try another picture of the same person, or have a person look at this one.",
    )
    MODEL_OUTPUT_INVALID = (
        "MD-002",
        "the model's output is not finite or has the wrong shape",
        "The model gave no usable number.",
        "This is a fault of the detector, not of your picture. Report it with the record below.",
    )
    CORRUPT_FILE = (
        "IO-001",
        "the file is corrupt",
        "The file is damaged.",
        "Get the file again from where it came from; do not repair it.",
    )
    UNSUPPORTED_FORMAT = (
        "IO-002",
        "the file's format is not supported",
        "This kind of file is not supported.",
        "Use a JPEG, PNG or WebP file, as the camera or site made it; a HEIC photo as JPEG, a frame of a video.",
    )
    FILE_TOO_LARGE = (
        "IO-003",
        "the file has too many bytes",
        "The file has too many bytes.",
        "Use a smaller file from the same source; saving it smaller yourself changes what is judged.",
    )
    TOO_MANY_PIXELS = (
        "IO-004",
        "the picture has too many pixels",
        "The picture has too many pixels.",
        "Cut out the part with the face without scaling it.",
    )
    ANIMATED = (
        "IO-005",
        "the picture is animated",
        "The picture is animated.",
        "Use a single photograph.",
    )
    DISGUISED = (
        "IO-006",
        "the content is of another format than the file's extension says",
        "The file's content is of another kind than its name says.",
        "Check where the file comes from. If you trust it, give it the right ending.",
    )
    ALPHA_REJECTED = (
        "IO-007",
        "the picture is transparent",
        "The picture is transparent.",
        "Use the version without transparency.",
    )
    TRUNCATED = (
        "IO-008",
        "the file ends too early",
        "The file ends too early.",
        "Transfer it again: the download or copy was cut off.",
    )
    METADATA_TOO_LARGE = (
        "IO-009",
        "the metadata is too large",
        "The file carries too much metadata.",
        "Use a file without large embedded data.",
    )
    UNREADABLE = (
        "IO-010",
        "the file cannot be read",
        "The file cannot be read.",
        "Check that it still exists and that you may open it.",
    )
    SIXTEEN_BIT_REJECTED = (
        "IO-011",
        "the picture has 16 bits a channel",
        "The picture has 16 bits a channel.",
        "Use a version with 8 bits a channel.",
    )
    CMYK_REJECTED = (
        "IO-012",
        "the picture is in CMYK",
        "The picture is in CMYK, the colours of print.",
        "Use the RGB version.",
    )
    TRAILING_DATA_REJECTED = (
        "IO-013",
        "bytes follow the end of the picture",
        "Other data follows the end of the picture.",
        "Use the file as the camera or site made it.",
    )
    PIXEL_INVARIANT = (
        "PX-001",
        "a pixel invariant is broken at the model's boundary",
        "The picture did not reach the model as it must.",
        "This is a fault of the detector, not of your picture. Report it with the record below.",
    )
    INTERNAL_ERROR = (
        "SY-001",
        "an internal error; the picture was not judged",
        "Something failed inside the detector.",
        "Try again. If it fails again, report it with the record below.",
    )


class Rejected(EcddError):  # noqa: N818 - an outcome of decoding, not a programming error
    """Raised where a picture cannot be judged; carries the codes, most general first.

    A truncated file carries ``(CORRUPT_FILE, TRUNCATED)``: the first code is the class, the second the cause.
    """

    def __init__(self, codes: tuple[ReasonCode, ...], detail: str) -> None:
        super().__init__(f"{', '.join(codes)}: {detail}")
        self.codes = codes
        self.detail = detail
