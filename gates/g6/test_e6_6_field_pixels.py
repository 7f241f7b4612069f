"""E6.6 field pixels: video range misread, BT.709 read as 601, grey, mirrored, RGB-565, turned without a tag, dithered,
palettes, strong contrast and screenshots change few decisions, none from fake to real beyond the contract's limit.

Players, phones and messengers make these mistakes every day, and a forger can make them on purpose. Fails when one of
them turns more fakes into real than the contract allows, or when a transform is not the mistake that its name says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.contract.loading import LoadedContract
from ecdd.evaluation import field_pixels
from ecdd.evaluation.field_changes import FieldChanges, TwiceJudged, changes, twice_judged
from ecdd.evaluation.manifest_stream import Selection
from ecdd.evaluation.score_table import read_table
from ecdd.evaluation.scoring import Request, score
from ecdd.evaluation.transforms import FIELD_SUITE_FILE, UNTOUCHED, apply, load_suite
from ecdd.pipeline.decode import read_file
from gates.support.fixtures import Bundle, Detector, Evidence, GoldenSet, NotTested, PolicyContract
from gates.support.portraits import Portrait, data_portraits, golden_portraits, split_of
from gates.support.score_tables import HELD_OUT

NAMES = tuple(one.name for one in load_suite(FIELD_SUITE_FILE).transforms if one.name != UNTOUCHED)
# steps whose result on single colours follows from the standards by hand: step, value, colour, expected
KNOWN = (
    ("range", "video_as_full", (0, 128, 255), (16, 126, 235)),
    ("range", "full_as_video", (16, 126, 235), (0, 128, 255)),
    ("range", "full_as_video", (0, 255, 16), (0, 255, 0)),
    ("matrix", "709_as_601", (128, 128, 128), (128, 128, 128)),
    ("matrix", "709_as_601", (255, 0, 0), (232, 0, 3)),  # Y 54, Cb 99, Cr 255; R = 54 + 1.402 * 127
    ("matrix", "601_as_709", (200, 0, 0), (217, 20, 0)),  # Y 60, Cb 94, Cr 228; R = 60 + 1.5748 * 100
    ("grey", True, (255, 0, 0), (76, 76, 76)),
    ("rgb565", True, (7, 3, 248), (0, 0, 255)),
    ("rgb565", True, (132, 130, 132), (132, 130, 132)),
    ("contrast", 2.5, (128, 100, 200), (129, 59, 255)),
)


@pytest.mark.experiment("E6.6")
def test_transforms_are_the_mistakes_that_they_are_named_after(evidence: Evidence) -> None:
    """Colours whose result was worked out by hand; counted tones; pixels that only move."""
    wrong = []
    for step, value, colour, expected in KNOWN:
        made = field_pixels.FIELD_STEPS[step](Image.new("RGB", (8, 8), colour), value).getpixel((3, 3))
        if made != expected:
            wrong.append(f"{step} {value} of {colour}: {made}, not {expected}")
    evidence.none("colours_differing", wrong, n=len(KNOWN), unit="colour")
    noise = np.random.default_rng(66).integers(0, 2**8, (24, 32, 3), np.uint8)
    picture = Image.fromarray(noise, "RGB")
    moved = {
        "mirror": (field_pixels.mirrored(picture, True), noise[:, ::-1]),
        "turn 90": (field_pixels.turned(picture, 90), np.rot90(noise)),
        "turn 180": (field_pixels.turned(picture, 180), np.rot90(noise, 2)),
        "turn 270": (field_pixels.turned(picture, 270), np.rot90(noise, 3)),
    }
    astray = [name for name, (made, pixels) in moved.items() if not np.array_equal(np.asarray(made), pixels)]
    evidence.none("pixels_astray", astray, n=len(moved), unit="transform")
    dithered = set(np.unique(np.asarray(field_pixels.dithered(picture, True))).tolist())
    evidence.check("levels_of_dithered", len(dithered - {0, 255}), limit=0, op="==", unit="level", n=1)
    colours = len(np.unique(np.asarray(field_pixels.palette(picture, 8)).reshape(-1, 3), axis=0))
    evidence.check("colours_of_palette", colours, limit=8, op="==", unit="colour", n=1)


@pytest.fixture(scope="module")
def untouched(policy: PolicyContract, golden: GoldenSet, detector: Detector) -> list[tuple[Portrait, bytes, str]]:
    """Golden faces with a label, their bytes, and their verdict as they are."""
    found = []
    for portrait in golden_portraits(golden):
        if portrait.label is not None:
            data = read_file(portrait.path, policy.pixel_pipeline)
            found.append((portrait, data, detector.predict(data, portrait.path.name).label))
    return found


@pytest.mark.experiment("E6.6")
@pytest.mark.parametrize("name", NAMES)
def test_golden_fakes_do_not_become_real(
    evidence: Evidence, policy: PolicyContract, untouched: list[Any], detector: Detector, name: str
) -> None:
    """Every golden face of both classes, judged now, as it is and transformed."""
    transform, judged, reasons = load_suite(FIELD_SUITE_FILE).named(name), [], set[str]()
    for portrait, data, before in untouched:
        after = detector.predict(*apply(transform, data, portrait.path.name, policy.pixel_pipeline))
        judged.append(TwiceJudged(portrait.name, portrait.label, before, after.label))
        reasons |= {str(code) for code in after.reason_codes}
    found = changes(judged)
    _hold(evidence, policy, f"golden_{name}", found)
    evidence.measure(f"golden_{name}_reasons", ", ".join(sorted(reasons)))


@pytest.mark.experiment("E6.6")
def test_held_out_fakes_do_not_become_real(
    evidence: Evidence,
    policy: PolicyContract,
    bundle: Bundle,
    contract: LoadedContract,
    data_root: Path | None,
    tmp_path: Path,
) -> None:
    """The same over the held-out pictures of ``--data``."""
    if data_root is None or not data_portraits(data_root, "face", (HELD_OUT,)):
        raise NotTested("field pixels on held-out pictures", f"needs --data with portraits tagged {HELD_OUT}")
    from ecdd.dataset_governance.lineage_tags import load_split

    tags = {key: row.lineage.value for key, row in load_split(split_of(data_root)).rows.items()}
    wanted = Selection(tags, frozenset({HELD_OUT}))
    request = Request(data_root, bundle, contract, transforms=True, selection=wanted, suite=FIELD_SUITE_FILE)
    score(request, tmp_path / "field.parquet", jobs=2)
    table = read_table(tmp_path / "field.parquet")
    rows = []
    for name in NAMES:
        found = changes(twice_judged(table, name))
        _hold(evidence, policy, f"held_out_{name}", found)
        rows.append({"transform": name, "reals": found.reals, "fakes": found.fakes, "changed": len(found.changed)})
    evidence.table("held_out_changes", rows)


def _hold(evidence: Evidence, policy: PolicyContract, name: str, found: FieldChanges) -> None:
    limit, n = policy.evaluation.max_field_fake_to_real, found.fakes
    worst = [one.text for one in found.fake_to_real[:3]]
    evidence.check(f"{name}_fake_to_real", found.fake_to_real_rate, limit=limit, unit="rate", worst=worst, n=n,
                   clause="evaluation.max_field_fake_to_real")  # fmt: skip
    evidence.measure(f"{name}_real_to_fake", found.real_to_fake_rate, "rate")
    evidence.measure(f"{name}_changed", len(found.changed), "picture")
