"""The mask goes exactly where the picture goes, and cells count exactly the pixels that they see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.bundle import load_bundle
from ecdd.contract.model_sections import PatchGrid
from ecdd.inference.patch_grid import PixelBox, cell_box, cells_seeing
from ecdd.pipeline.decode import decode
from ecdd.pipeline.face import Face
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.stages import prepare_face
from ecdd.training.forgeries.forged_cells import cell_labels, cell_shares, mask_in_s3
from ecdd.training.forgeries.forging import as_png
from gates.support.drawn_people import drawn_face

FACES = {
    "inside": Face((90.0, 70.0, 250.0, 260.0), 0.9, ((130.0, 120.0), (210.0, 130.0))),
    "at the edge": Face((-30.0, -20.0, 120.0, 150.0), 0.9, ((30.0, 40.0), (80.0, 44.0))),
    "larger than S3": Face((60.0, 40.0, 460.0, 450.0), 0.9, ((160.0, 180.0), (360.0, 172.0))),
}


@pytest.fixture(scope="module")
def policy() -> Any:
    """Of a network whose cells each see a part of the face: a mask can be told from cell to cell."""
    return load_bundle("tiny").contract.policy


@pytest.mark.parametrize("where", sorted(FACES))
@pytest.mark.parametrize("overflow", ["shift_then_shrink", "replicate"])
@pytest.mark.parametrize("alignment", ["axis_aligned", "eye_line"])
def test_mask_takes_the_picture_s_way(where: str, overflow: str, alignment: str, policy: Any) -> None:
    """A picture that *is* the mask gives an S3 that is the mask in S3, but for rounding to 255 levels."""
    face_policy = policy.face_detector.model_copy(update={"crop_overflow": overflow, "crop_alignment": alignment})
    changed = policy.model_copy(update={"face_detector": face_policy})
    rng = np.random.default_rng(4)
    levels = np.repeat(np.repeat(rng.integers(0, 256, (32, 30)), 16, axis=0), 16, axis=1).astype(np.uint8)
    decoded = decode(as_png(np.repeat(levels[..., None], 3, axis=2)), changed.pixel_pipeline)
    face = prepare_face(decoded, FACES[where], changed, dict.fromkeys(("crop_resize", "quality"), 0.0))
    mask = mask_in_s3(levels.astype(np.float32) / np.float32(255), face, changed)
    assert mask.shape == face.s3.shape[:2]
    # Pillow rounds bytes to whole levels after each of the two passes of a resize, and cuts them off after a turn;
    # a mask displaced by a tenth of a pixel would differ by 25 levels at a block's edge
    limit = 1.01 if alignment == "axis_aligned" else 2.01
    assert np.abs(mask * 255 - face.s3[..., 0]).max() <= limit


def test_mask_of_everything_and_of_nothing(policy: Any) -> None:
    picture = drawn_face(5)
    decoded = decode(as_png(picture), policy.pixel_pipeline)
    face = load_detector(policy.face_detector).detect(decoded.image)[0]
    prepared = prepare_face(decoded, face, policy, dict.fromkeys(("crop_resize", "quality"), 0.0))
    for value in (0.0, 1.0):
        mask = mask_in_s3(np.full(picture.shape[:2], value, np.float32), prepared, policy)
        assert mask == pytest.approx(value, abs=1e-6)
        assert cell_shares(mask, policy.patch_grid) == pytest.approx(value, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(ends=st.tuples(*(st.integers(0, 256) for _ in range(4))))
def test_shares_are_areas_of_overlap(ends: tuple[int, int, int, int], policy: Any) -> None:
    grid: PatchGrid = policy.patch_grid
    y0, y1 = sorted(ends[:2])
    x0, x1 = sorted(ends[2:])
    mask = np.zeros((256, 256), np.float32)
    mask[y0:y1, x0:x1] = 1
    shares = cell_shares(mask, grid)
    rows, columns = cells_seeing(PixelBox(y0, x0, y1, x1), grid)
    seen = np.zeros(shares.shape, bool)
    seen[rows.start : rows.stop, columns.start : columns.stop] = y1 > y0 and x1 > x0
    assert shares.shape == (grid.rows, grid.cols)
    assert np.array_equal(shares > 0, seen)
    for i, j in ((0, 0), (3, 17), (30, 30), (15, 15)):
        box = cell_box(i, j, grid)
        height = max(min(box.y1, y1) - max(box.y0, y0), 0)
        width = max(min(box.x1, x1) - max(box.x0, x0), 0)
        assert shares[i, j] == pytest.approx(height * width / grid.receptive_field**2, abs=1e-6)


def test_the_strip_that_no_cell_sees_counts_nowhere(policy: Any) -> None:
    mask = np.zeros((256, 256), np.float32)
    mask[249:], mask[:, 249:] = 1, 1
    assert cell_shares(mask, policy.patch_grid).max() == 0


def test_padding_is_never_forged(policy: Any) -> None:
    grid = policy.patch_grid.model_copy(update={"padding": 4, "rows": 32, "cols": 32})
    shares = cell_shares(np.ones((256, 256), np.float32), grid)
    assert shares[0, 0] == pytest.approx(25 / 81)
    assert shares[5, 5] == 1
    with pytest.raises(ValueError, match="its cells need a mask of"):
        cell_shares(np.ones((200, 256), np.float32), grid)


def test_labels_leave_the_border_undecided() -> None:
    shares = np.array([[0.0, 1e-6, 0.49, 0.5, 1.0]], np.float32)
    assert cell_labels(shares).tolist() == [[0, -1, -1, 1, 1]]
    assert cell_labels(shares, forged_from=1.0).tolist() == [[0, -1, -1, -1, 1]]


def test_cutting_a_plane_equals_cutting_a_picture(policy: Any) -> None:
    from ecdd.pipeline.preprocess import CropBox, cut

    replicate = policy.face_detector.model_copy(update={"crop_overflow": "replicate"})
    levels = np.arange(40 * 30, dtype=np.float32).reshape(40, 30) % 251
    picture = np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)
    box = CropBox(-7, 20, 25, 52)
    plane = cut(Image.fromarray(levels), box, replicate)
    assert np.array_equal(np.asarray(plane), np.asarray(cut(Image.fromarray(picture), box, replicate))[..., 1])
