"""E1.7 alpha: transparent pictures are composited deterministically over the contract's background, or rejected with
a reason code; the result equals the golden S1.

What stands behind a transparent pixel is chosen by each library: black, white, or the hidden colour. Fails when a
composite differs from the policy's by more than rounding to levels does, when another background gives the same
pixels, or when a reject has no code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.pipeline.decode import decode, read_file, s1_digest
from ecdd.pipeline.reason_codes import Rejected
from gates.support.fixtures import Evidence, FrozenStages, GoldenSet, PolicyContract
from gates.support.made_pictures import asymmetric, encode


def transparent_pictures() -> dict[str, Image.Image]:
    """One picture in each mode that can be transparent; hidden colours lie under alpha 0."""
    picture = asymmetric()
    y, x = np.mgrid[0 : picture.height, 0 : picture.width]
    alpha = Image.fromarray((x * 3 + y).astype(np.uint8))
    rgba = picture.copy()
    rgba.putalpha(alpha)
    grey = picture.convert("L")
    grey.putalpha(alpha)
    palette = picture.quantize(64)
    palette.info["transparency"] = 3
    return {"RGBA": rgba, "LA": grey, "P": palette}


def expected_composite(image: Image.Image, background: list[int]) -> np.ndarray[Any, Any]:
    """The composite in exact arithmetic: alpha x colour + (255 - alpha) x background, over 255."""
    rgba = np.asarray(image.convert("RGBA"), np.float64)
    share = rgba[..., 3:] / 255.0
    return rgba[..., :3] * share + np.asarray(background, np.float64) * (1 - share)


@pytest.mark.experiment("E1.7")
def test_composite_over_the_background(evidence: Evidence, policy: PolicyContract) -> None:
    worst, n = ("", 0.0), 0
    for background in (policy.pixel_pipeline.alpha_background, [0, 0, 0], [250, 7, 128]):
        pixels = policy.pixel_pipeline.model_copy(update={"alpha_policy": "composite", "alpha_background": background})
        for mode, image in transparent_pictures().items():
            for kind in ("PNG", "WEBP") if mode == "RGBA" else ("PNG",):
                options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
                data = encode(image, kind, **options)
                got = np.asarray(decode(data, pixels).image, np.float64)
                difference = float(np.abs(got - expected_composite(image, background)).max())
                name = f"{mode} {kind} over {background}"
                worst, n = max(worst, (name, difference), key=lambda pair: pair[1]), n + 1
    # rounding to the nearest level is all that a composite may add
    evidence.check("max_difference", worst[1], limit=0.5, op="<=", unit="level", worst=[worst[0]], n=n)


@pytest.mark.experiment("E1.7")
def test_background_matters(evidence: Evidence, policy: PolicyContract) -> None:
    """The same picture over another background gives another S1, so a wrong background cannot hide."""
    other = [255 - level for level in policy.pixel_pipeline.alpha_background]
    pixels = policy.pixel_pipeline.model_copy(update={"alpha_policy": "composite"})
    changed = pixels.model_copy(update={"alpha_background": other})
    blind = []
    for mode, image in transparent_pictures().items():
        data = encode(image, "PNG")
        if s1_digest(decode(data, pixels).image) == s1_digest(decode(data, changed).image):
            blind.append(mode)
    evidence.none("modes_blind_to_background", blind, n=3, unit="mode")


@pytest.mark.experiment("E1.7")
def test_reject_policy_has_a_code(evidence: Evidence, policy: PolicyContract) -> None:
    pixels = policy.pixel_pipeline.model_copy(update={"alpha_policy": "reject"})
    accepted = []
    for mode, image in transparent_pictures().items():
        try:
            decode(encode(image, "PNG"), pixels)
            accepted.append(mode)
        except Rejected as rejected:
            if tuple(rejected.codes) != ("IO-007",):
                accepted.append(f"{mode}: {rejected.codes}")
    evidence.none("transparent_accepted", accepted, n=3, unit="mode")


@pytest.mark.experiment("E1.7")
def test_golden_alpha_equals_s1(
    evidence: Evidence, policy: PolicyContract, golden: GoldenSet, frozen: FrozenStages
) -> None:
    items = [item for item in golden.items if "alpha" in item.id]
    differing = []
    for item in items:
        decoded = decode(read_file(Path(item.path), policy.pixel_pipeline), policy.pixel_pipeline)
        stored = frozen.picture(item.id)
        noted = "alpha_composited" in decoded.notes
        if stored is None or not noted or (frozen.same_decoder and stored.s1_digest != s1_digest(decoded.image)):
            differing.append(item.id)
    evidence.none("golden_differing", differing, n=len(items))
