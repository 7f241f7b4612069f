"""Face mesh, piecewise-affine warp and swap, against what geometry says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecdd.pipeline.face import DetectorError
from ecdd.training.forgeries.forgery import FacePicture, ForgeryRefused
from gates.support.drawn_people import person

pytest.importorskip("cv2", reason="the warp needs the extra 'train'")
pytest.importorskip("scipy", reason="the triangulation needs the extra 'train'")

from ecdd.training.forgeries import face_swap as fs
from ecdd.training.forgeries import mesh_warp as mw
from ecdd.training.forgeries.face_mesh import FaceMesh, load_face_mesh

# points of the mesh by their fixed index: outer eye corners, nose tip, chin
EYE_LEFT, EYE_RIGHT, NOSE, CHIN = 33, 263, 1, 152


@pytest.fixture(scope="module")
def source(policy: Any) -> FacePicture:
    return person(5, policy)


def test_mesh_lies_on_the_face(source: FacePicture) -> None:
    mesh = load_face_mesh().find(source)
    left, right, nose = (np.array(source.face.landmarks[k]) for k in (0, 1, 2))
    unit = float(np.linalg.norm(right - left))
    assert mesh.points.shape == (468, 2)
    assert np.linalg.norm(mesh.points[EYE_LEFT] - left) < 0.35 * unit
    assert np.linalg.norm(mesh.points[EYE_RIGHT] - right) < 0.35 * unit
    assert np.linalg.norm(mesh.points[NOSE] - nose) < 0.35 * unit
    assert mesh.points[CHIN, 1] > source.face.landmarks[3][1]
    assert mesh.presence > 0.9
    assert abs(mesh.yaw) < math.radians(20)


def test_mesh_follows_a_mirror(source: FacePicture) -> None:
    mesh, other = (load_face_mesh().find(s) for s in (source, fs.mirrored(source)))
    width, unit = source.size[0], source.face.side
    assert other.yaw == pytest.approx(-mesh.yaw, abs=math.radians(5))
    assert abs(width - other.points[EYE_LEFT, 0] - mesh.points[EYE_RIGHT, 0]) < 0.03 * unit
    again = fs.mirrored(fs.mirrored(source))
    assert np.allclose(again.face.landmarks, source.face.landmarks)
    assert np.array_equal(again.picture, source.picture)


@pytest.mark.parametrize("angle", [-30, 20])
def test_mesh_follows_a_turn_of_the_picture(source: FacePicture, angle: int, policy: Any) -> None:
    from ecdd.pipeline.face_detectors import load_detector

    image = Image.fromarray(source.picture)
    turned = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    face = max(load_detector(policy.face_detector).detect(turned), key=lambda found: found.side)
    here = load_face_mesh().find(source).points
    there = load_face_mesh().find(FacePicture(np.asarray(turned), face)).points
    a = math.radians(angle)
    middle = np.array(source.size) / 2
    back = (there - middle) @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) + middle
    assert np.linalg.norm(back - here, axis=1).mean() < 0.04 * source.face.side


def test_no_face_is_refused(source: FacePicture) -> None:
    noise = np.random.default_rng(0).integers(0, 256, source.picture.shape, dtype=np.uint8)
    with pytest.raises(ForgeryRefused, match="no face for the mesh"):
        load_face_mesh().find(FacePicture(noise, source.face))


def test_another_weight_file_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "face_mesh.tflite"
    wrong.write_bytes(b"TFL3")
    with pytest.raises(DetectorError, match="second_look_sha256 is"):
        FaceMesh(weights=wrong)


def test_packing_halves_the_constants_and_keeps_the_answer(source: FacePicture) -> None:
    """The packaged file is float16 inside; packing it again finds nothing to halve."""
    from ecdd.pipeline.face_mesh import WEIGHTS
    from ecdd.pipeline.pack_face_mesh import halved

    content = WEIGHTS.read_bytes()
    assert len(content) < 1_500_000
    assert abs(len(halved(content)) - len(content)) < 2000


def test_only_constants_of_some_length_are_halved() -> None:
    """Float32 constants below 16 numbers stay: slopes are exact; longer ones are float16 and widened when read."""
    from ai_edge_litert import schema_py_generated as schema

    from ecdd.bundle.loading import load_bundle
    from ecdd.pipeline.pack_face_mesh import FEWEST, halved

    def constants(content: bytes) -> dict[bytes, tuple[int, int]]:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        found = {one.name: (one.type, model.buffers[one.buffer].data) for one in model.subgraphs[0].tensors}
        return {name: (kind, len(data)) for name, (kind, data) in found.items() if data is not None and len(data)}

    content = load_bundle("tiny").read("model.tflite")
    whole = schema.TensorType.FLOAT32
    before, after = constants(content), constants(halved(content))
    floats = {name: length for name, (kind, length) in before.items() if kind == whole}
    assert {length >= 4 * FEWEST for length in floats.values()} == {True, False}
    for name, length in floats.items():
        kept = (whole, length) if length < 4 * FEWEST else (schema.TensorType.FLOAT16, length // 2)
        assert after[name] == kept, name


points_strategy = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(5, 95, (40, 2)))


@settings(max_examples=25, deadline=None)
@given(points=points_strategy)
def test_triangles_tile_the_hull(points: np.ndarray) -> None:
    triangles = mw.triangulate(points)
    areas = mw.doubled_areas(points, triangles.corners)
    x, y = points[triangles.hull].T
    hull = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(hull, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(points=points_strategy)
def test_folding_is_measured(points: np.ndarray) -> None:
    triangles = mw.triangulate(points)
    assert mw.folded_share(triangles, points, points) == 0
    assert mw.folded_share(triangles, points * [-1, 1], points) == 1
    assert mw.folded_share(triangles, points * [1, 0], points) == 1


def test_points_on_a_line_are_refused() -> None:
    with pytest.raises(ForgeryRefused, match="degenerate mesh"):
        mw.triangulate(np.stack([np.arange(9.0), np.arange(9.0)], axis=1))


@pytest.mark.parametrize("kernel", sorted(mw.KERNELS))
def test_warp_onto_itself_changes_nothing(source: FacePicture, kernel: str) -> None:
    points = load_face_mesh().find(source).points
    laid, hull, _ = mw.warped(source.picture, points, points, source.size, kernel)
    inside = hull > 0
    assert 0.05 < inside.mean() < 0.6
    assert np.abs(laid[inside].astype(int) - source.picture[inside]).max() <= 1
    assert laid[~inside].max() == 0


def test_warp_is_affine_where_the_points_are() -> None:
    """A ramp of x and y, moved by an affine map, shows at each pixel where it came from."""
    rng = np.random.default_rng(3)
    destination = rng.uniform(20, 180, (60, 2))
    linear, shift = np.array([[0.8, 0.1], [-0.15, 0.9]]), np.array([12.0, 30.0])
    triangles = mw.triangulate(destination)
    x, y = mw.sampling_maps(triangles, destination @ linear.T + shift, destination, (200, 200))
    rows, columns = np.nonzero(x != -1)
    centres = np.stack([columns + 0.5, rows + 0.5], axis=1)
    want = centres @ linear.T + shift - 0.5
    assert len(rows) > 10_000
    assert np.abs(x[rows, columns] - want[:, 0]).max() < 0.01
    assert np.abs(y[rows, columns] - want[:, 1]).max() < 0.01


def test_seamless_clone_of_a_picture_onto_itself_changes_nothing(source: FacePicture) -> None:
    """Also proves that the clone is not shifted: OpenCV wants the centre of the mask's box."""
    mask = np.zeros(source.picture.shape[:2], np.float32)
    mask[60:201, 71:190] = 1
    cloned = fs._seamless(source.picture, source.picture, mask)
    assert np.abs(cloned.astype(int) - source.picture).max() <= 2


def test_a_swap_shows_the_donor_in_the_target(policy: Any) -> None:
    """A donor whose mouth is painted blue gives the target a blue mouth, in place."""
    target, donor = person(5, policy), person(6, policy)
    mouth = donor.face.landmarks[3]
    painted = donor.picture.copy()
    y, x = np.mgrid[: painted.shape[0], : painted.shape[1]]
    painted[np.hypot(x + 0.5 - mouth[0], y + 0.5 - mouth[1]) < 0.06 * donor.face.side] = (20, 40, 230)
    forgery = fs.swap_face(target, 3, FacePicture(painted, donor.face))
    # the colour transfer draws blue towards skin: what is left of it is more blue than green
    excess = [p[..., 2].astype(int) - p[..., 1] for p in (target.picture, forgery.picture)]
    rows, columns = np.nonzero((excess[1] > 60) & (excess[0] < 30))
    assert len(rows) > 20
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    assert np.linalg.norm(middle - target.face.landmarks[3]) < 0.15 * target.face.side
    assert forgery.mask[int(middle[1]), int(middle[0])] == 1


def test_what_cannot_be_swapped_is_refused_by_name(policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target, donor = person(5, policy), person(6, policy)
    with pytest.raises(ForgeryRefused, match="donor's face too small"):
        fs.swap_face(target, 1, person(6, policy, side=100))
    limits = {
        "MAX_FOLDED": "donor hides a part",
        "MAX_YAW": "target turned too far",
        "MAX_YAW_DIFFERENCE": "heads turned differently",
    }
    for limit, reason in limits.items():
        with monkeypatch.context() as patch:
            patch.setattr(fs, limit, -1.0)
            with pytest.raises(ForgeryRefused, match=reason):
                fs.swap_face(target, 1, donor)


def test_an_open_mouth_is_not_covered_by_a_closed_one(policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target, donor = person(5, policy), person(6, policy)
    middle = load_face_mesh().find(target).points[[13, 14]].mean(axis=0).astype(int)
    kept, covered = [], []
    for seed in range(4):
        for openings, masks in (((0.4, 0.0), kept), ((0.0, 0.4), covered)):
            answers = iter(openings)
            monkeypatch.setattr(fs, "_opening", lambda _, given=answers: next(given))
            forgery = fs.swap_face(target, seed, donor)
            masks.append(float(forgery.mask[middle[1], middle[0]]))
            assert forgery.parameters["target_keeps_mouth"] == int(masks is kept)
    assert max(kept) < 0.5
    assert min(covered) == 1


def test_the_opening_is_measured_in_widths_of_the_mouth() -> None:
    points = np.zeros((468, 2))
    points[[78, 308, 13, 14]] = [(10, 20), (50, 20), (30, 14), (30, 24)]
    assert fs._opening(points) == pytest.approx(0.25)
    assert fs._opening(3 * points + 7) == pytest.approx(0.25)


def test_a_face_at_the_edge_is_swapped(policy: Any) -> None:
    """Half of the hull's border lies beyond the picture: the window goes on, the picture does not."""
    whole, donor = person(5, policy), person(6, policy)
    x0, y0 = int(whole.face.box[0]), int(whole.face.box[1])
    points = tuple((x - x0, y - y0) for x, y in whole.face.landmarks)
    box = (0.0, 0.0, whole.face.box[2] - x0, whole.face.box[3] - y0)
    cut = FacePicture(whole.picture[y0:, x0:], replace(whole.face, box=box, landmarks=points))
    for seed in range(4):
        forgery = fs.swap_face(cut, seed, donor)
        outside = forgery.mask == 0
        assert forgery.picture.shape == cut.picture.shape
        assert np.array_equal(forgery.picture[outside], cut.picture[outside])
        assert forgery.mask.max() == 1
