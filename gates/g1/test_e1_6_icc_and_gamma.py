"""E1.6 ICC profile and gamma: pictures with an ICC profile or a gamma tag follow the chosen policy; the deliberate
other policy gives a different S1.

Libraries convert, linearise or ignore colour as they please, and the two sides of a port rarely agree. Fails when a
tagged picture is decoded otherwise than the policy says, or when the other policy gives the same pixels, so that the
comparison could not have seen the difference.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ecdd.pipeline.decode import decode, read_file, s1_digest
from gates.support.fixtures import Evidence, FrozenStages, GoldenSet, PolicyContract
from gates.support.made_pictures import asymmetric, encode, grey_profile, png_chunk, raw_png, wide_gamut_profile


def _other(policy: PolicyContract) -> Any:
    other = "convert_to_srgb" if policy.pixel_pipeline.icc_policy == "assume_srgb" else "assume_srgb"
    return policy.pixel_pipeline.model_copy(update={"icc_policy": other})


@pytest.mark.experiment("E1.6")
def test_profile_follows_the_policy(evidence: Evidence, policy: PolicyContract) -> None:
    picture, profile = asymmetric(), wide_gamut_profile()
    plain = {kind: decode(encode(picture, kind, **options), policy.pixel_pipeline) for kind, options in FORMATS}
    tagged_bytes = {kind: encode(picture, kind, icc_profile=profile, **options) for kind, options in FORMATS}
    ignored = policy.pixel_pipeline.icc_policy == "assume_srgb"
    wrong, same_under_other = [], []
    for kind, data in tagged_bytes.items():
        tagged = decode(data, policy.pixel_pipeline)
        if (s1_digest(tagged.image) == s1_digest(plain[kind].image)) != ignored:
            wrong.append(kind)
        if s1_digest(decode(data, _other(policy)).image) == s1_digest(tagged.image):
            same_under_other.append(kind)
    n = len(FORMATS)
    evidence.none("formats_off_policy", wrong, n=n, unit="format")
    evidence.none("formats_blind_to_the_other_policy", same_under_other, n=n, unit="format")


GAMMA = 2.8  # of a grey profile, far from sRGB's own


def _grey_files(profile: bytes | None) -> dict[str, bytes]:
    """One grey picture in every depth and with every transparency that a file can have, with a profile or without."""
    grey = asymmetric().convert("L")
    alpha = grey.transpose(Image.Transpose.ROTATE_180)
    both = Image.merge("LA", (grey, alpha))
    levels = np.asarray(grey, np.uint16)
    deep = np.stack([levels * 257, np.asarray(alpha, np.uint16) * 257], axis=2)
    chunk = b"" if profile is None else png_chunk(b"iCCP", b"grey\0\0" + zlib.compress(profile))

    def sixteen(values: NDArray[np.uint16], kind: int) -> bytes:
        rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
        return raw_png(grey.width, grey.height, 16, kind, rows, chunk)

    return {
        "PNG": encode(grey, "PNG", icc_profile=profile),
        "JPEG": encode(grey, "JPEG", icc_profile=profile),
        "PNG with alpha": encode(both, "PNG", icc_profile=profile),
        "PNG with a transparent level": encode(grey, "PNG", icc_profile=profile, transparency=7),
        "PNG of 16 bits": sixteen(levels * 257, 0),
        "PNG of 16 bits with alpha": sixteen(deep, 4),
    }


def _by_the_curve(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Levels of a grey profile as sRGB levels, by the formulas of both and not by a library."""
    light = (levels / 255.0) ** GAMMA
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.experiment("E1.6")
def test_a_grey_profile_follows_both_policies(evidence: Evidence, policy: PolicyContract) -> None:
    """Grey of any depth, transparent or not: the profile's curve under one policy, the bare levels under the other."""
    allowed = {"alpha_policy": "composite", "sixteen_bit_policy": "high_byte"}
    pixels = {
        name: policy.pixel_pipeline.model_copy(update={**allowed, "icc_policy": name})
        for name in ("assume_srgb", "convert_to_srgb")
    }
    tagged, off = _grey_files(grey_profile(GAMMA)), {"assume_srgb": ("", 0.0), "convert_to_srgb": ("", 0.0)}
    for kind, data in _grey_files(None).items():
        plain = np.asarray(decode(data, pixels["assume_srgb"]).image)
        for name, expected in (("assume_srgb", plain.astype(np.float64)), ("convert_to_srgb", _by_the_curve(plain))):
            found = np.asarray(decode(tagged[kind], pixels[name]).image, np.float64)
            off[name] = max(off[name], (kind, float(np.abs(found - expected).max())), key=lambda pair: pair[1])
    for name, limit in (("assume_srgb", 0.0), ("convert_to_srgb", 1.0)):
        kind, most = off[name]
        evidence.check(f"grey_{name}_difference", most, limit=limit, unit="level", worst=[kind], n=len(tagged))


FORMATS = (("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}))


@pytest.mark.experiment("E1.6")
def test_golden_tagged_pictures(
    evidence: Evidence, policy: PolicyContract, golden: GoldenSet, frozen: FrozenStages
) -> None:
    items = [item for item in golden.items if "icc" in item.id or "display_p3" in item.id]
    differing, blind = [], []
    for item in items:
        data = read_file(Path(item.path), policy.pixel_pipeline)
        digest = s1_digest(decode(data, policy.pixel_pipeline).image)
        stored = frozen.picture(item.id)
        if stored is None or (frozen.same_decoder and stored.s1_digest != digest):
            differing.append(item.id)
        if s1_digest(decode(data, _other(policy)).image) == digest:
            blind.append(item.id)
    evidence.none("golden_differing", differing, n=len(items))
    evidence.none("golden_blind_to_policy", blind, n=len(items))


@pytest.mark.experiment("E1.6")
def test_gamma_is_ignored(evidence: Evidence, policy: PolicyContract) -> None:
    """GAMA 1.0 says that the numbers are linear light; the contract says that pixel numbers are sRGB, always."""
    plain = encode(asymmetric(), "PNG")
    end_of_header = plain.index(b"IHDR") + 4 + 13 + 4
    gamma = plain[:end_of_header] + png_chunk(b"gAMA", struct.pack(">I", 100000)) + plain[end_of_header:]
    same = decode(gamma, policy.pixel_pipeline).image.tobytes() == decode(plain, policy.pixel_pipeline).image.tobytes()
    evidence.check("gamma_applied", int(not same), limit=0, op="==", n=1)


@pytest.mark.experiment("E1.6")
def test_cmyk_follows_the_policy(evidence: Evidence, policy: PolicyContract) -> None:
    cmyk = asymmetric().convert("CMYK")
    decoded = decode(encode(cmyk, "JPEG", quality=95, subsampling=0), policy.pixel_pipeline)
    with_note = "cmyk" in decoded.notes and decoded.image.mode == "RGB"
    expected = np.asarray(cmyk.convert("RGB"), np.int32)
    mean = float(np.abs(np.asarray(decoded.image, np.int32) - expected).mean())
    inverted = float(np.abs(255 - np.asarray(decoded.image, np.int32) - expected).mean())
    evidence.check("cmyk_noted", int(with_note), limit=1, op="==", n=1)
    evidence.check("mean_difference", mean, limit=inverted / 4, op="<=", unit="level", n=1)


@pytest.mark.experiment("E1.6")
def test_broken_profile_is_srgb(evidence: Evidence, policy: PolicyContract) -> None:
    picture: Image.Image = asymmetric()
    data = encode(picture, "PNG", icc_profile=b"not a profile at all" * 20)
    both = [decode(data, pixels).image.tobytes() for pixels in (policy.pixel_pipeline, _other(policy))]
    wrong = sum(pixels != picture.tobytes() for pixels in both)
    evidence.check("broken_profile_changed_pixels", wrong, limit=0, op="==", unit="policy", n=2)
