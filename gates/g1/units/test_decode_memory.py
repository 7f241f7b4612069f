"""Peak memory of the largest pictures that are decoded, and of pictures of all shapes, in processes of their own.

One process decodes the largest of all kinds: before each it gives back what is free and begins to measure anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gates.support.made_pictures import exif_with_orientation
from gates.support.pixel_policies import PIXELS

# The rest of a predicting process (interpreter, numpy, LiteRT, two models) measured 71 MiB; 100 MiB are left for it.
REST_BYTES = 100 * 2**20
MEASURE = """
import json, sys
from gates.support.pixel_policies import PIXELS
from gates.support.fresh_peak import forget_peak, peak_bytes
from ecdd.pipeline.decode import decode, read_file
grown = {}
for kind, (small, large) in json.load(sys.stdin).items():
    decode(read_file(small, PIXELS), PIXELS)
    before = forget_peak()
    decode(read_file(large, PIXELS), PIXELS)
    grown[kind] = peak_bytes() - before
print(json.dumps(grown))
"""
KINDS: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    "turned JPEG": ("RGB", 4980, "JPEG", {"exif": exif_with_orientation(6)}),
    "CMYK JPEG": ("CMYK", 4900, "JPEG", {}),
    "progressive JPEG": ("RGB", 4980, "JPEG", {"progressive": True}),
    "progressive JPEG 4:4:4": ("RGB", 4550, "JPEG", {"progressive": True, "subsampling": 0}),
    "PNG with alpha": ("RGBA", 4900, "PNG", {"compress_level": 1}),
    "turned grey PNG": ("L", 4980, "PNG", {"compress_level": 1, "exif": exif_with_orientation(6)}),
    "16-bit grey PNG": ("I;16", 4980, "PNG", {"compress_level": 1}),
    "lossy WebP": ("RGB", 3780, "WEBP", {"method": 0}),
    "lossless WebP": ("RGB", 3640, "WEBP", {"method": 0, "lossless": True, "quality": 0}),
    "turned WebP with alpha": ("RGBA", 3780, "WEBP", {"method": 0, "exif": exif_with_orientation(6)}),
}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Bytes that the peak of a process grew by while it decoded the largest picture of each kind."""
    folder, paths = tmp_path_factory.mktemp("largest"), {}
    for number, (kind, (mode, side, image_format, options)) in enumerate(KINDS.items()):
        small, large = folder / f"small{number}", folder / f"large{number}"
        Image.linear_gradient("L").convert("RGB").save(small, image_format)
        gradient = Image.linear_gradient("L").resize((side, side)).convert("RGB" if mode != "I;16" else "L")
        gradient.convert(mode).save(large, image_format, **options)
        paths[kind] = (small.as_posix(), large.as_posix())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(paths),
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_largest_picture_of_a_kind_stays_within_memory(kind: str, grown: dict[str, int]) -> None:
    # far below the limit the case would not be the largest of its kind, and the test would show nothing
    least = PIXELS.max_decode_bytes * (0.5 if kind == "turned grey PNG" else 0.7)
    assert least < grown[kind] <= 300 * 2**20 - REST_BYTES, f"{kind}: {grown[kind] / 2**20:.0f} MiB"


SHAPES = """
import json, random, sys, time
from gates.support.fresh_peak import forget_peak, peak_bytes
from gates.support.odd_shapes import draw_picture, png_of_one_level
from gates.support.pixel_policies import PIXELS
from ecdd.pipeline.decode import MAX_SIDE, decode, s1_digest
from ecdd.pipeline.reason_codes import Rejected

def corners():
    for width, height in ((1, MAX_SIDE), (MAX_SIDE, 1), (MAX_SIDE, 381), (381, MAX_SIDE), (16, 1_500_000)):
        for depth, colour in ((1, 3), (8, 2), (8, 6), (16, 0), (16, 4)):
            name = f"{width}x{height} PNG, {depth} bits, colour type {colour}"
            yield name, png_of_one_level(width, height, depth, colour)

def drawn():
    rng = random.Random(22)
    for _ in range(16):
        yield draw_picture(rng, PIXELS.max_pixels, MAX_SIDE + 1)

for make in (corners, drawn):
    for name, data in make():
        before = forget_peak()
        begun = time.process_time()
        codes, decoded = [], None
        try:
            decoded = decode(data, PIXELS)
        except Rejected as rejected:
            codes = [str(code) for code in rejected.codes]
        seconds = time.process_time() - begun
        grown = peak_bytes() - before
        if decoded is not None:
            s1_digest(decoded.image)
        print(json.dumps([name, codes, seconds, grown, peak_bytes() - before]))
"""


def test_every_shape_that_is_accepted_stays_within_memory_and_time() -> None:
    """25 million rows of one pixel needed 660 MiB and 10 s, a single row of strips 400 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", SHAPES],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 41
    assert {tuple(codes) for _, codes, *_ in rows} == {(), ("IO-004",)}
    judged = [row for row in rows if not row[1]]
    assert len(judged) >= 20
    assert any(grown > 50 * 2**20 for _, _, _, grown, _ in judged), "memory is measured"
    assert [row for row in rows if row[2] > 3.0] == []
    assert [row for row in rows if max(row[3:]) > 300 * 2**20 - REST_BYTES] == []
    assert [row for row in rows if row[1] and row[3] > 10 * 2**20] == [], "refused by their header"
