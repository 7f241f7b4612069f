"""The default face detector: letterbox, decoding, suppression, determinism."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.pipeline.blazeface import (
    INPUT_SIDE,
    WEIGHTS,
    BlazeFace,
    Letterbox,
    anchors,
    decode_boxes,
    letterbox,
    overlap,
    scores_of,
    suppress,
)
from ecdd.pipeline.face import DetectorError
from ecdd.pipeline.face_detectors import load_detector
from gates.support.drawn_faces import scene

pytestmark = pytest.mark.experiment("E2.1", rules=True)

POLICY = load_contract(Path(__file__).parents[3] / "contracts" / "policy_contract.yaml").policy.face_detector
THREE = [(50, 50, 350), (420, 60, 350), (800, 70, 350)]


@pytest.fixture(scope="module")
def detector() -> BlazeFace:
    return BlazeFace(POLICY)


@settings(deadline=None)
@given(
    width=st.integers(1, 8000),
    height=st.integers(1, 8000),
    u=st.floats(0, 1),
    v=st.floats(0, 1),
)
def test_letterbox_maps_there_and_back_within_a_pixel(width: int, height: int, u: float, v: float) -> None:
    geometry = Letterbox.of((width, height), INPUT_SIDE)
    point = np.array([u * width, v * height])
    there = geometry.to_square(point)
    assert np.all(there >= -1e-9)
    assert np.all(there <= INPUT_SIDE + 1e-9)
    assert np.abs(geometry.to_picture(there) - point).max() < 1e-6 * max(width, height)
    assert max(geometry.inner) == INPUT_SIDE
    assert min(geometry.inner) >= 1


@pytest.mark.parametrize(("longer", "reduced"), [(3 * INPUT_SIDE, 3), (2 * INPUT_SIDE, 2), (2 * INPUT_SIDE - 1, 1)])
def test_large_pictures_are_averaged_over_blocks_first(longer: int, reduced: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (longer, longer, 3), dtype=np.uint8)
    image, bilinear = Image.fromarray(noise), Image.Resampling.BILINEAR
    once = np.asarray(image.resize((INPUT_SIDE, INPUT_SIDE), bilinear))
    blocks = once if reduced == 1 else np.asarray(image.reduce(reduced).resize((INPUT_SIDE, INPUT_SIDE), bilinear))
    assert np.array_equal(letterbox(image, INPUT_SIDE, "bilinear")[0], once)
    assert np.array_equal(letterbox(image, INPUT_SIDE, "reduce_then_bilinear")[0], blocks)
    assert np.array_equal(once, blocks) == (reduced == 1)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(100, 1400), height=st.integers(100, 1400), data=st.data())
@pytest.mark.parametrize("downscale", ["reduce_then_bilinear", "bilinear"])
def test_a_mark_in_the_picture_lands_where_the_geometry_says(
    downscale: str, width: int, height: int, data: st.DataObject
) -> None:
    """A white square in a black picture: the centroid found in the letterbox maps back within a pixel."""
    side = max(max(width, height) // 8, 8)
    x = data.draw(st.integers(0, max(width - side, 0)))
    y = data.draw(st.integers(0, max(height - side, 0)))
    levels = np.zeros((height, width, 3), np.uint8)
    levels[y : y + side, x : x + side] = 255
    rows, cols = np.nonzero(levels[..., 0])
    square, geometry = letterbox(Image.fromarray(levels), INPUT_SIDE, downscale)
    weight = square[..., 0].astype(np.float64)
    grid_y, grid_x = np.mgrid[:INPUT_SIDE, :INPUT_SIDE] + 0.5
    centroid = np.array([(weight * grid_x).sum(), (weight * grid_y).sum()]) / weight.sum()
    expected = geometry.to_square(np.array([cols.mean() + 0.5, rows.mean() + 0.5]))
    assert np.abs(centroid - expected).max() < 0.5


def test_anchors_are_the_cell_centres_row_by_row() -> None:
    centres = anchors()
    assert centres.shape == (2304, 2)
    assert centres[0].tolist() == [2, 2]
    assert centres[1].tolist() == [6, 2]
    assert centres[48].tolist() == [2, 6]
    assert centres[-1].tolist() == [190, 190]


def test_scores_never_overflow_and_keep_their_order() -> None:
    with np.errstate(over="raise"):
        scores = scores_of(np.array([-3e38, -200, -100, -1, 0, 1, 100, 3e38], np.float32))
    assert np.all((scores >= 0) & (scores <= 1))
    assert np.all(np.diff(scores) >= 0)
    assert scores[4] == 0.5


def test_decoding_adds_the_cell_centre_to_box_and_landmarks() -> None:
    raw = np.arange(16, dtype=np.float32)[None]
    boxes, marks = decode_boxes(raw, np.array([[100.0, 50.0]]))
    assert boxes.tolist() == [[99.0, 49.5, 101.0, 52.5]]
    assert marks[0].tolist() == [[104 + 2 * k, 55 + 2 * k] for k in range(6)]


def test_overlap_of_known_boxes() -> None:
    box = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [1, 1, 1, 1]], np.float64)
    np.testing.assert_allclose(overlap(box, others), [1, 1 / 3, 0, 0])
    assert overlap(np.zeros(4), np.zeros((1, 4))).tolist() == [0.0]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40))
def test_suppression_does_not_depend_on_the_order_of_its_input(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1)
    marks = rng.uniform(0, 100, (count, 6, 2))
    scores = np.round(rng.uniform(0.1, 1, count), 1)  # many equal scores: the tie-break decides
    order = rng.permutation(count)
    first = suppress(boxes, marks, scores, 0.3)
    second = suppress(boxes[order], marks[order], scores[order], 0.3)
    assert [(box.tolist(), points.tolist(), score) for box, points, score in first] == [
        (box.tolist(), points.tolist(), score) for box, points, score in second
    ]
    assert [score for _, _, score in first] == sorted((score for _, _, score in first), reverse=True)


def test_merged_box_is_the_weighted_mean_of_the_strong_members() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 1, 10, 11], [50, 50, 60, 60]], np.float64)
    scores = np.array([0.9, 0.6, 0.3, 0.5])
    found = suppress(boxes, np.zeros((4, 6, 2)), scores, 0.3)
    assert [score for _, _, score in found] == [0.9, 0.5]
    # 0.3 is below half of 0.9: absorbed, but without a vote
    np.testing.assert_allclose(found[0][0], (0.9 * boxes[0] + 0.6 * boxes[1]) / 1.5)


def test_boxes_that_share_exactly_the_limit_are_two_faces() -> None:
    boxes, marks = np.array([[0.0, 0, 3, 1], [1, 0, 4, 1]]), np.zeros((2, 1, 2))
    assert overlap(boxes[0], boxes[1:])[0] == 0.5
    assert len(suppress(boxes, marks, np.array([0.9, 0.8]), 0.5)) == 2
    assert len(suppress(boxes, marks, np.array([0.9, 0.8]), np.nextafter(0.5, 0))) == 1


def test_a_box_of_exactly_half_the_best_score_is_averaged_and_one_below_is_not() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0]])
    marks = np.zeros((2, 6, 2))
    for score, left in ((0.4, 2 * 0.4 / 1.2), (np.nextafter(0.4, 0), 0.0)):
        ((box, _, best),) = suppress(boxes, marks, np.array([0.8, score]), 0.3)
        assert best == 0.8
        assert box[0] == pytest.approx(left, abs=1e-12)


def test_drawn_faces_are_found_where_they_were_drawn(detector: BlazeFace) -> None:
    faces = detector.detect(scene((1200, 500), THREE))
    assert len(faces) == 3
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
    for face, (left, top, side) in zip(sorted(faces, key=lambda f: f.box), THREE, strict=True):
        middle = ((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2)
        assert middle == pytest.approx((left + 0.5 * side, top + 0.6 * side), abs=0.05 * side)
        eyes = np.array(sorted(face.landmarks[:2]))
        drawn = [[left + 0.38 * side, top + 0.48 * side], [left + 0.62 * side, top + 0.48 * side]]
        assert np.abs(eyes - drawn).max() < 0.06 * side


def test_larger_picture_gives_the_same_boxes_scaled(detector: BlazeFace) -> None:
    small = scene((600, 450), [(150, 80, 300)])
    large = small.resize((2400, 1800), Image.Resampling.NEAREST)
    one, four = detector.detect(small)[0], detector.detect(large)[0]
    np.testing.assert_allclose(np.array(four.box) / 4, one.box, atol=0.75)
    assert four.score == pytest.approx(one.score, abs=0.02)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (120, 130, 140)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (640, 480)])
def test_nothing_is_found_in_an_empty_picture(
    detector: BlazeFace, colour: tuple[int, int, int], size: tuple[int, int]
) -> None:
    assert [face for face in detector.detect(Image.new("RGB", size, colour)) if face.score >= 0.5] == []


def test_bits_do_not_depend_on_threads_or_repeats(detector: BlazeFace) -> None:
    picture = scene((1200, 500), THREE, noise=6)
    expected = detector.detect(picture)
    for threads in (1, 2, 4):
        other = BlazeFace(POLICY, threads=threads)
        assert all(other.detect(picture) == expected for _ in range(3))
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(detector.detect, [picture] * 12))


def test_a_lower_candidate_threshold_adds_faces_and_changes_none() -> None:
    picture = scene((1200, 500), THREE)
    low = BlazeFace(POLICY.model_copy(update={"candidate_threshold": 0.05}))
    high = BlazeFace(POLICY.model_copy(update={"candidate_threshold": 0.9}))
    every = low.detect(picture)
    assert high.detect(picture) == [face for face in every if face.score >= 0.9]
    assert len(every) > len(high.detect(picture))


def test_identity_is_the_contract_s(detector: BlazeFace) -> None:
    identity = detector.identity()
    assert identity.name == POLICY.name
    assert identity.version == POLICY.version
    assert identity.weights_sha256 == POLICY.weights_sha256
    assert (identity.score_threshold, identity.detection_size) == (POLICY.score_threshold, 192)


def test_other_weights_are_refused_by_hash(tmp_path: Path) -> None:
    content = bytearray(WEIGHTS.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(bytes(content))
    with pytest.raises(DetectorError, match=r"weights_sha256.*changed\.tflite"):
        load_detector(POLICY, weights=changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "another 1.0"}, "face_detector.version"),
        ({"weights_sha256": "0" * 64}, "weights_sha256"),
        ({"detection_size": 256}, "detection_size"),
    ],
)
def test_a_contract_that_names_another_detector_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        load_detector(POLICY.model_copy(update=change))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"gone\.tflite"):
        load_detector(POLICY, weights=tmp_path / "gone.tflite")
