"""From bytes to a verdict: bad input, planted failures, counting, overrides, memory."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecdd.bundle.loading import load_bundle
from ecdd.detector import Detector
from ecdd.pipeline.decode import frozen_decoder
from ecdd.runtimes.base import ModelOutputs, PatchRuntime
from gates.support.drawn_pictures import BAND, CONTRACT, FAKE, REAL, bad_files, contract, portrait

BUNDLE = load_bundle("tiny")
ONE, TWO = portrait(1), portrait(2, faces=2)
MIB = 2**20


def load(values: dict[str, float]) -> Detector:
    return Detector.load(BUNDLE, contract(values))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load(FAKE)


class Planted:
    """A runtime that fails in a stated way; a defect to plant, not a model."""

    def __init__(self, inner: PatchRuntime, spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self._inner, self._spoil = inner, spoil

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        return ModelOutputs(self._spoil(self._inner.outputs(batch).maps), None)

    def describe(self) -> dict[str, str | int | bool]:
        return self._inner.describe()


@pytest.mark.parametrize(("values", "label"), [(FAKE, "fake"), (REAL, "real"), (BAND, "abstain")])
def test_the_thresholds_decide(values: dict[str, float], label: str) -> None:
    verdict = load(values).predict(ONE, "a.jpg")
    assert verdict.label == label
    assert verdict.outcome == ("abstained" if label == "abstain" else "judged")
    assert verdict.reason_codes == (("MD-001",) if label == "abstain" else ())
    assert verdict.deciding_face == 0
    assert verdict.probability is not None
    assert 0 < verdict.probability < 1
    assert verdict.abstain_action == (CONTRACT.policy.operating_point.abstain_action if label == "abstain" else None)


def test_a_verdict_says_everything_that_led_to_it(detector: Detector) -> None:
    verdict = detector.predict(TWO, "two.jpg")
    assert len(verdict.faces) == 2
    probabilities = [face.probability for face in verdict.faces]
    assert verdict.deciding_face == int(np.argmax(np.array(probabilities, float)))
    assert verdict.probability == max(p for p in probabilities if p is not None)
    assert verdict.patch_map is not None
    assert verdict.patch_map.min <= verdict.patch_map.mean <= verdict.patch_map.max
    assert verdict.logit is not None
    assert verdict.patch_map.min <= verdict.logit <= verdict.patch_map.max, "every rule pools inside the map's range"
    assert verdict.bundle_digest == BUNDLE.payload_digest
    assert verdict.contract_digest == detector.contract.digest
    assert set(verdict.versions) >= {"ecdd", "numpy", "pillow", "libjpeg_turbo", "runtime"}
    stages = {"decode", "detect", "crop_resize", "quality", "normalise", "model", "total"}
    assert set(verdict.milliseconds) == stages
    again = detector.predict(TWO, "two.jpg")
    assert again.model_copy(update={"milliseconds": {}}) == verdict.model_copy(update={"milliseconds": {}})
    assert json.loads(verdict.model_dump_json())["path"] == "two.jpg"


def test_bad_input_of_every_kind_abstains_with_its_code(detector: Detector, tmp_path: Path) -> None:
    calls = detector.model_calls
    for name, (path, code) in bad_files(tmp_path).items():
        verdict = detector.predict(path)
        assert verdict.label == "abstain", name
        assert code in verdict.reason_codes, f"{name}: {verdict.reason_codes} {verdict.detail}"
        assert verdict.outcome == ("abstained" if code.startswith("GR") else "rejected"), name
        assert verdict.probability is None, f"{name} was scored"
        assert verdict.detail, name
    assert detector.model_calls == calls


def test_bytes_without_a_name_and_a_name_that_lies(detector: Detector) -> None:
    assert detector.predict(ONE).label == "fake"
    assert detector.predict(ONE, "a.png").reason_codes == ("IO-006",)
    assert detector.predict(b"").reason_codes == ("IO-001", "IO-008")


@settings(deadline=None, max_examples=80, derandomize=True)
@given(st.data())
def test_no_bytes_raise(detector: Detector, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["free", "flipped", "cut"]))
    if kind == "free":
        content = data.draw(st.binary(max_size=300))
    elif kind == "cut":
        content = ONE[: data.draw(st.integers(0, len(ONE) - 1))]
    else:
        damaged = bytearray(ONE)
        for place in data.draw(st.lists(st.integers(0, len(ONE) - 1), min_size=1, max_size=12)):
            damaged[place] ^= data.draw(st.integers(1, 255))
        content = bytes(damaged)
    verdict = detector.predict(content, "a.jpg")
    assert verdict.outcome != "error", verdict.detail
    assert (verdict.label == "abstain") == bool(verdict.reason_codes)


SPOILED: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "one cell is NaN": lambda maps: np.where(np.arange(maps.shape[-1]) == 7, np.float32(np.nan), maps),
    "infinite": lambda maps: np.full_like(maps, np.inf),
    "one row short": lambda maps: maps[:, :30],
    "one face short": lambda maps: maps[:0],
    "channel axis kept": lambda maps: maps[..., None],
    "float64": lambda maps: maps.astype(np.float64),
}


@pytest.mark.parametrize("defect", SPOILED)
def test_a_broken_model_output_is_an_error_and_never_scored(defect: str) -> None:
    detector = load(FAKE)
    detector.runtime = Planted(detector.runtime, SPOILED[defect])
    verdict = detector.predict(ONE)
    assert (verdict.outcome, verdict.label, verdict.reason_codes) == ("error", "abstain", ("MD-002",))
    assert verdict.probability is None
    assert all(face.probability is None for face in verdict.faces)
    assert detector.outcomes == {"error": 1}


def test_an_exception_is_counted_and_the_next_picture_is_judged() -> None:
    detector = load(FAKE)
    sound = detector.runtime

    def fail(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        raise RuntimeError(f"the delegate gave up on {len(maps)} faces")

    detector.runtime = Planted(sound, fail)
    verdict = detector.predict(ONE)
    assert (verdict.outcome, verdict.label, verdict.reason_codes) == ("error", "abstain", ("SY-001",))
    assert "the delegate gave up on 1 faces" in verdict.detail
    assert "Traceback" not in verdict.detail
    detector.runtime = sound
    assert detector.predict(ONE).label == "fake"
    assert detector.outcomes == {"error": 1, "judged": 1}


def test_a_spoiled_tensor_stops_at_the_model_s_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load(FAKE)
    monkeypatch.setattr(
        "ecdd.pipeline.stages.preprocess.normalise", lambda s3, _policy: s3.astype(np.float32)
    )  # somebody forgot to normalise
    verdict = detector.predict(ONE)
    assert (verdict.outcome, verdict.reason_codes) == ("error", ("PX-001",))
    assert detector.model_calls == 0


def test_model_calls_count_faces() -> None:
    detector = load({**FAKE, "quality_gates.max_faces": 2})
    for content, calls in ((ONE, 1), (TWO, 3), (portrait(3, faces=3), 3), (b"x", 3), (TWO, 5)):
        detector.predict(content)
        assert detector.model_calls == calls


def test_the_batch_size_does_not_change_a_face(detector: Detector) -> None:
    alone = detector.predict(ONE)
    detector.predict(TWO)
    assert detector.predict(ONE).logit == alone.logit


def test_an_overriding_contract_is_warned_about() -> None:
    assert Detector.load(BUNDLE).predict(ONE).warnings == ()
    other = load({**FAKE, "patch_grid.checksum_step": 0.01}).predict(ONE)
    assert CONTRACT.digest[:12] in other.warnings[0]
    assert "no evidence covers this pair" in other.warnings[0]
    differing = [warning.split()[1] for warning in other.warnings[1:]]
    assert differing == ["face_detector", "patch_grid"], "sections under which the model was trained"


def test_a_decoder_without_evidence_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = frozen_decoder(CONTRACT.policy.pixel_pipeline.decoder_version)
    monkeypatch.setattr("ecdd.detector.decoder_fingerprint", lambda: {**frozen, "libjpeg_turbo": "2.1.5"})
    said = f"no evidence covers this decoder: libjpeg_turbo 2.1.5, frozen with {frozen['libjpeg_turbo']}"
    detector = Detector.load(BUNDLE)
    for content in (ONE, b"damaged"):
        assert detector.predict(content).warnings == (said,)
    assert detector.predict(ONE).versions["libjpeg_turbo"] == "2.1.5"


def test_a_path_that_is_no_text_stays_valid_json(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / b"caf\xe9\xff.jpg".decode("utf-8", "surrogateescape")
    path.write_bytes(ONE)
    verdict = detector.predict(path)
    assert verdict.label == "fake"
    assert verdict.path.endswith(r"caf\xe9\xff.jpg")
    assert json.loads(verdict.model_dump_json())["path"] == verdict.path


def test_memory_does_not_grow(detector: Detector) -> None:
    """300 predictions of pictures of several sizes, good and bad; arrays of one picture are near a megabyte."""
    contents = [ONE, TWO, b"no picture", ONE[:2000], portrait(4)]

    def run(rounds: int) -> int:
        for _ in range(rounds):
            for content in contents:
                detector.predict(content)
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    before = run(24)
    grown = (run(60) - before) / MIB
    assert grown < 3, f"{grown:.1f} MiB over 300 predictions"
