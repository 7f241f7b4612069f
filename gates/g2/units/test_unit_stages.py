"""From bytes to prepared faces."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from ecdd.contract.loading import load_contract
from ecdd.contract.schema import PolicyContract
from ecdd.pipeline import preprocess
from ecdd.pipeline.face import Face, FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.quality import BLOCKINESS_WINDOW, blockiness_window
from ecdd.pipeline.reason_codes import ReasonCode, Rejected
from ecdd.pipeline.stages import crop_digest, prepare, prepare_given
from gates.support.drawn_faces import scene

SHIPPED = load_contract(Path(__file__).parents[3] / "contracts" / "policy_contract.yaml").policy


def contract(section: str = "quality_gates", **change: Any) -> PolicyContract:
    """The shipped contract with gates that a drawn face passes, and some knobs changed."""
    gates = SHIPPED.quality_gates.model_copy(
        update={"blur_threshold": 2.0, "min_jpeg_quality": 30, "max_blockiness": 1.4, "min_face_side": 64}
    )
    policy = SHIPPED.model_copy(update={"quality_gates": gates})
    return policy.model_copy(update={section: getattr(policy, section).model_copy(update=change)})


POLICY = contract()


@pytest.fixture(scope="module")
def detector() -> FaceBackend:
    return load_detector(SHIPPED.face_detector)


def encode(image: Image.Image, image_format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **({"quality": 95} | options if image_format == "JPEG" else options))
    return buffer.getvalue()


ONE = scene((512, 400), [(120, 70, 250)], noise=4)
THREE = scene((1200, 500), [(50, 50, 350), (420, 60, 350), (800, 70, 350)], noise=4)


def test_a_good_face_is_prepared_exactly_as_cut_and_resize_say(detector: FaceBackend) -> None:
    picture = prepare(encode(ONE), POLICY, detector)
    assert picture.reason_codes == ()
    assert picture.judgeable == (0,)
    (face,) = picture.faces
    assert face.reason_codes == ()
    crop = picture.decoded.image.crop(face.crop_box)
    np.testing.assert_array_equal(face.s3, np.asarray(crop.resize((256, 256), Image.Resampling.BILINEAR)))
    batch = picture.batch(POLICY.pixel_pipeline)
    assert batch.shape == (1, 256, 256, 3)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[0], preprocess.normalise(face.s3, POLICY.pixel_pipeline))
    np.testing.assert_array_equal(batch[0], face.s4(POLICY.pixel_pipeline))
    assert face.quality.jpeg_quality == 95
    assert face.quality.jpeg_quality_kind == "exact"
    assert face.quality.face_side == face.face.side
    assert set(picture.milliseconds) == {"decode", "detect", "crop_resize", "quality", "normalise"}
    assert all(value > 0 for value in picture.milliseconds.values())


def test_the_same_bytes_give_the_same_faces(detector: FaceBackend) -> None:
    data = encode(THREE)
    first, second = prepare(data, POLICY, detector), prepare(data, POLICY, load_detector(POLICY.face_detector, 2))
    assert [face.face for face in first.faces] == [face.face for face in second.faces]
    assert [face.quality for face in first.faces] == [face.quality for face in second.faces]
    for one, two in zip(first.faces, second.faces, strict=True):
        assert one.crop_box == two.crop_box
        np.testing.assert_array_equal(one.s3, two.s3)


def test_no_face_and_a_candidate_have_different_codes(detector: FaceBackend) -> None:
    empty = prepare(encode(Image.new("RGB", (300, 200), (30, 90, 60))), POLICY, detector)
    assert (empty.reason_codes, empty.faces, empty.candidates) == ((ReasonCode.NO_FACE,), (), 0)
    strict = contract("face_detector", score_threshold=0.99)
    doubtful = prepare(encode(ONE), strict, detector)
    assert doubtful.reason_codes == (ReasonCode.LOW_FACE_CONFIDENCE,)
    assert (doubtful.faces, doubtful.candidates, doubtful.judgeable) == ((), 1, ())
    assert doubtful.batch(strict.pixel_pipeline).shape == (0, 256, 256, 3)


def test_what_was_not_done_took_no_time(detector: FaceBackend) -> None:
    empty = Image.new("RGB", (300, 200), (30, 90, 60))
    for prepared in (prepare(encode(empty), POLICY, detector), prepare_given(empty, POLICY, detector)):
        assert {name for name, spent in prepared.milliseconds.items() if spent} == {"decode", "detect"}


class Unwanted:
    """A detector that must not be asked."""

    def detect(self, image: Image.Image) -> list[Face]:
        raise AssertionError(f"faces were searched in a picture of {image.size}")


def test_a_small_picture_is_refused_before_faces_are_searched() -> None:
    picture = prepare(encode(Image.new("RGB", (500, 63))), POLICY, Unwanted())  # type: ignore[arg-type]
    assert picture.reason_codes == (ReasonCode.RESOLUTION_TOO_LOW,)
    assert picture.judgeable == ()


def test_a_small_face_is_too_small_and_nothing_else(detector: FaceBackend) -> None:
    picture = prepare(encode(ONE.resize((160, 125)), quality=10), POLICY, detector)
    assert [face.reason_codes for face in picture.faces] == [(ReasonCode.FACE_TOO_SMALL,)]
    assert picture.judgeable == ()
    assert picture.reason_codes == ()


def test_blur_and_compression_have_their_own_codes(detector: FaceBackend) -> None:
    blurred = prepare(encode(ONE.filter(ImageFilter.GaussianBlur(6)), "PNG"), POLICY, detector)
    assert blurred.faces[0].reason_codes == (ReasonCode.TOO_BLURRY,)
    heavy = prepare(encode(ONE, quality=20), contract(blur_threshold=0.0), detector)
    assert heavy.faces[0].reason_codes == (ReasonCode.COMPRESSION_TOO_HEAVY,)
    assert heavy.judgeable == ()


def test_compression_is_noticed_in_a_lossless_copy(detector: FaceBackend) -> None:
    decoded = Image.open(io.BytesIO(encode(scene((512, 400), [(120, 70, 250)], noise=9), quality=6)))
    only_compression = contract(blur_threshold=0.0, min_tonal_levels=0.0, max_large_steps=1.0)
    picture = prepare(encode(decoded, "PNG"), only_compression, detector)
    assert picture.faces[0].quality.jpeg_quality_kind == "unknown"
    assert picture.faces[0].reason_codes == (ReasonCode.COMPRESSION_TOO_HEAVY,)


@pytest.mark.parametrize(
    ("change", "codes", "judged"),
    [
        ({"multi_face_policy": "max_p_fake"}, (), 3),
        ({"multi_face_policy": "largest_face"}, (), 1),
        ({"multi_face_policy": "reject_multi"}, (ReasonCode.TOO_MANY_FACES,), 0),
        ({"max_faces": 2}, (ReasonCode.TOO_MANY_FACES,), 0),
    ],
)
def test_three_faces_under_each_policy(
    detector: FaceBackend, change: dict[str, Any], codes: tuple[ReasonCode, ...], judged: int
) -> None:
    policy = contract(**change)
    picture = prepare(encode(THREE), policy, detector)
    assert len(picture.faces) == 3
    assert picture.reason_codes == codes
    assert len(picture.judgeable) == judged
    assert len(picture.batch(policy.pixel_pipeline)) == judged


def test_bad_bytes_are_rejected_with_a_code(detector: FaceBackend) -> None:
    with pytest.raises(Rejected):
        prepare(b"no picture", POLICY, detector)


def test_the_crop_s_digest_names_its_shape_and_changes_with_a_pixel(detector: FaceBackend) -> None:
    picture = prepare(encode(ONE, "PNG"), POLICY, detector)
    face = picture.faces[0]
    image, box, policy = picture.decoded.image, face.crop_box, POLICY.face_detector
    digest = crop_digest(image, box, policy)
    side = box.x1 - box.x0
    assert digest == f"sha256-rgb-uint8-hwc-{side}x{side}:{hashlib.sha256(image.crop(box).tobytes()).hexdigest()}"
    changed = image.copy()
    changed.putpixel((box.x0, box.y0), (1, 2, 3))
    assert crop_digest(changed, box, policy) != digest
    changed = image.copy()
    changed.putpixel((box.x1 % image.width, box.y0), (1, 2, 3))
    assert crop_digest(changed, box, policy) == digest


def test_turning_to_the_eye_line_is_offered_and_needs_the_face_for_a_digest(detector: FaceBackend) -> None:
    policy = contract("face_detector", crop_alignment="eye_line")
    tilted = ONE.rotate(20, Image.Resampling.BICUBIC, fillcolor=(120, 130, 140))
    picture = prepare(encode(tilted, "PNG"), policy, detector)
    face = picture.faces[0]
    upright = prepare(encode(tilted, "PNG"), POLICY, detector).faces[0]
    assert face.s3.shape == (256, 256, 3)
    assert np.abs(face.s3.astype(int) - upright.s3.astype(int)).mean() > 5
    with pytest.raises(ValueError, match="eye_line"):
        crop_digest(picture.decoded.image, face.crop_box, policy.face_detector)
    assert crop_digest(picture.decoded.image, face.crop_box, policy.face_detector, face.face).startswith("sha256-rgb")


@settings(deadline=None)
@given(
    x=st.floats(-500, 4500),
    y=st.floats(-500, 4500),
    width=st.floats(0.5, 4000),
    height=st.floats(0.5, 4000),
    size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
)
def test_blockiness_is_measured_inside_the_picture(
    x: float, y: float, width: float, height: float, size: tuple[int, int]
) -> None:
    x0, y0, x1, y1 = blockiness_window(Face((x, y, x + width, y + height), 1.0), size)
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]
    assert max(x1 - x0, y1 - y0) <= BLOCKINESS_WINDOW


def test_of_a_large_face_the_middle_512_pixels_are_measured_for_blockiness() -> None:
    """As many as of a face of that size, so that both show the same number of grid lines."""
    picture = (3000, 3000)
    assert blockiness_window(Face((100.0, 200.0, 612.0, 712.0), 1.0), picture) == (100, 200, 612, 712)
    assert blockiness_window(Face((100.0, 200.0, 2100.0, 2200.0), 1.0), picture) == (844, 944, 1356, 1456)
