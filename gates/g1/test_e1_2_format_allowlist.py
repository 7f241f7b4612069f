"""E1.2 format allowlist: JPEG, PNG and WebP are accepted; truncated, corrupt, disguised (wrong magic for the
extension), animated and oversized files (bytes, pixels), decompression bombs and unsupported formats are rejected,
each with its own reason code, none with a stack trace.

Decoders repair, guess and crash; a verdict on a half-read picture is a verdict on nothing. Fails when a file of the
lists gets another code than its own, when a truncation at any offset is not noticed, or when a malformed file ends in
anything but a code.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from gates.support.fixtures import Detector, Evidence, GoldenSet, PolicyContract
from gates.support.made_pictures import asymmetric, encode, png_chunk, raw_png
from gates.support.malformed_corpus import build_corpus

JPEG, PNG = encode(asymmetric(), "JPEG", quality=90), encode(asymmetric(), "PNG")
WEBP = encode(asymmetric(), "WEBP", lossless=True)


def _bomb(width: int, height: int) -> bytes:
    return raw_png(width, height, 8, 2, b"\0" * 64)


def _text_bomb() -> bytes:
    chunk = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2**26, 9))
    return raw_png(1, 1, 8, 2, b"\0\1\2\3", extra=chunk)


def _animated(image_format: str) -> bytes:
    frames = [asymmetric(), asymmetric().transpose(Image.Transpose.ROTATE_180)]
    return encode(frames[0], image_format, save_all=True, append_images=frames[1:])


def _corrupt_checksum() -> bytes:
    damaged = bytearray(PNG)
    damaged[PNG.index(b"IHDR") + 5] ^= 1
    return bytes(damaged)


def _flipped_size() -> bytes:
    damaged = bytearray(JPEG)
    damaged[JPEG.index(b"\xff\xda") + 4] = 0x77  # a scan header that names components the frame does not have
    return bytes(damaged)


def rejections(policy: PolicyContract) -> list[tuple[str, bytes, tuple[str, ...]]]:
    """Kind and file name, content, and the codes that it must get."""
    too_many_bytes = JPEG + b"\0" * policy.pixel_pipeline.max_bytes
    side = int(policy.pixel_pipeline.max_pixels**0.5) + 1
    return [
        ("truncated.jpg", JPEG[: len(JPEG) // 2], ("IO-001", "IO-008")),
        ("truncated_before_end.jpg", JPEG[:-2], ("IO-001", "IO-008")),
        ("truncated.png", PNG[: len(PNG) // 2], ("IO-001", "IO-008")),
        ("truncated_before_end.png", PNG[:-12], ("IO-001", "IO-008")),
        ("truncated.webp", WEBP[: len(WEBP) // 2], ("IO-001", "IO-008")),
        ("empty.jpg", b"", ("IO-001", "IO-008")),
        ("corrupt_checksum.png", _corrupt_checksum(), ("IO-001",)),
        ("corrupt_scan_header.jpg", _flipped_size(), ("IO-001",)),
        ("garbage.jpg", struct.pack(">64I", *range(7, 71)), ("IO-001",)),
        ("disguised_png.jpg", PNG, ("IO-006",)),
        ("disguised_jpeg.png", JPEG, ("IO-006",)),
        ("disguised_gif.jpg", encode(asymmetric(), "GIF"), ("IO-006",)),
        ("animated.png", _animated("PNG"), ("IO-005",)),
        ("animated.webp", _animated("WEBP"), ("IO-005",)),
        ("too_many_bytes.jpg", too_many_bytes, ("IO-003",)),
        ("too_many_pixels.png", _bomb(side, side), ("IO-004",)),
        ("too_many_rows.png", _bomb(1, 65536), ("IO-004",)),
        ("too_many_columns.png", _bomb(65536, 1), ("IO-004",)),
        ("pixel_bomb.png", _bomb(60000, 60000), ("IO-004",)),
        ("metadata_bomb.png", _text_bomb(), ("IO-009",)),
        ("still.gif", encode(asymmetric(), "GIF"), ("IO-002",)),
        ("picture.bmp", encode(asymmetric(), "BMP"), ("IO-002",)),
        ("picture.tiff", encode(asymmetric(), "TIFF"), ("IO-002",)),
        ("picture.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", ("IO-002",)),
        ("picture.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ("IO-002",)),
        ("page.pdf", b"%PDF-1.7\n%", ("IO-002",)),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", ("IO-002",)),
    ]


@pytest.mark.experiment("E1.2")
def test_accepted_formats(evidence: Evidence, detector: Detector, golden: GoldenSet) -> None:
    accepted = {"picture.jpg": JPEG, "picture.jpeg": JPEG, "picture.png": PNG, "picture.webp": WEBP, "upload": JPEG}
    rejected = [name for name, data in accepted.items() if detector.predict(data, name=name).outcome == "rejected"]
    evidence.none("accepted_formats_rejected", rejected, n=len(accepted), unit="file")
    items = [item for item in golden.items if item.expected.outcome != "rejected"]
    refused = [item.id for item in items if detector.predict(Path(item.path)).outcome in ("rejected", "error")]
    evidence.none("golden_pictures_rejected", refused, n=len(items))


@pytest.mark.experiment("E1.2")
def test_rejections_have_their_own_code(evidence: Evidence, detector: Detector, policy: PolicyContract) -> None:
    calls = detector.model_calls
    rows = []
    for name, data, expected in rejections(policy):
        verdict = detector.predict(data, name=name)
        right = verdict.outcome == "rejected" and tuple(verdict.reason_codes) == expected
        rows.append({"file": name, "expected": " ".join(expected), "got": " ".join(verdict.reason_codes), "ok": right})
    wrong = [row["file"] for row in rows if not row["ok"]]
    evidence.table("rejections", rows)
    evidence.none("wrong_reason_codes", wrong, n=len(rows), unit="file")
    evidence.check("model_calls_on_rejected", detector.model_calls - calls, limit=0, op="==", unit="call", n=len(rows))


@pytest.mark.experiment("E1.2")
def test_truncation_is_noticed_at_every_offset(evidence: Evidence, detector: Detector) -> None:
    """Half a picture must never be judged, also when a library in the process allowed truncated files."""
    ImageFile.LOAD_TRUNCATED_IMAGES, before = True, ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        accepted, n = [], 0
        for name, data in (("cut.jpg", JPEG), ("cut.png", PNG), ("cut.webp", WEBP)):
            for offset in range(0, len(data), max(1, len(data) // 60)):
                n += 1
                codes = detector.predict(data[:offset], name=name).reason_codes
                if "IO-001" not in codes:
                    accepted.append(f"{name} at byte {offset} of {len(data)}: {codes}")
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    evidence.none("truncated_without_IO-001", accepted, n=n, unit="file")


@pytest.mark.experiment("E1.2")
def test_malformed_corpus_ends_in_a_code(evidence: Evidence, detector: Detector, tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path)
    errors, silent, wrong = [], [], []
    for file in corpus:
        verdict = detector.predict(file.path)
        if verdict.outcome == "error":
            errors.append(file.name)
        if verdict.label == "abstain" and not verdict.reason_codes:
            silent.append(file.name)
        if not file.allows(tuple(verdict.reason_codes) if verdict.outcome == "rejected" else ()):
            wrong.append(f"{file.name}: {verdict.reason_codes}")
    evidence.check("corpus_files", len(corpus), limit=300, op=">=", unit="file", n=len(corpus))
    evidence.none("internal_errors", errors, n=len(corpus), unit="file")
    evidence.none("wrong_outcomes", wrong, n=len(corpus), unit="file")
    evidence.none("without_reason_code", silent, n=len(corpus), unit="file")
