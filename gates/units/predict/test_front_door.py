"""The Python interface: what is public, what a picture may be given as, many pictures, threads, what verdicts show."""

from __future__ import annotations

import ast
import doctest
import importlib
import io
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

import ecdd
from ecdd import Detector, EcddError, Verdict
from ecdd.pipeline.given_pixels import given_pixels
from ecdd.pipeline.reason_codes import Rejected
from gates.support.drawn_pictures import FAKE, REAL, contract, portrait

ONE, TWO = portrait(1), portrait(2, faces=2)
ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("ai_edge_litert", "torch", "tensorflow", "onnxruntime", "scipy", "cv2", "matplotlib", "typer", "rich", "av")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("tiny", contract=contract(FAKE))


def pixels_of(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def same(one: Verdict, other: Verdict) -> bool:
    return (one.label, one.probability, one.logit) == (other.label, other.probability, other.logit)


def imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_costs_no_runtime() -> None:
    """`import ecdd` imports nothing of its own; naming `Detector` neither runtime nor anything of an extra."""
    plain, bare = imported_by("pass"), imported_by("import ecdd")
    assert {name for name in bare - plain if name.startswith(("ecdd.", "numpy", "PIL", "pydantic"))} == set()
    assert len(bare - plain) < 40, sorted(bare - plain)
    named = imported_by("from ecdd import Detector")
    assert not {name for name in named if name.partition(".")[0] in HEAVY}
    assert len(named - plain) < 500, len(named - plain)


def test_public_names_are_those_of_all() -> None:
    assert sorted(ecdd.__all__) == ecdd.__all__
    assert dir(ecdd) == ecdd.__all__
    for name in ecdd.__all__:
        assert getattr(ecdd, name) is not None
        assert name == "__version__" or getattr(ecdd, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'detectr'"):
        ecdd.detectr  # noqa: B018
    tree = ast.parse(Path(ecdd.__file__).read_text(encoding="utf-8"))
    checked = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ecdd")
        for alias in node.names
    }
    assert checked == set(ecdd.__all__) - {"__version__"}, "what a type checker sees is what there is"


@pytest.mark.parametrize("module", ["ecdd", "ecdd.detector", "ecdd.verdict", "ecdd.frames"])
def test_documented_examples_are_true(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


def test_a_bundle_by_its_name() -> None:
    tiny = Detector.load("tiny")
    assert tiny.bundle.manifest.name.startswith("tiny")
    assert repr(tiny).startswith(f"<Detector {tiny.bundle.manifest.name} ")
    assert Detector.load().bundle.payload_digest == ecdd.load_bundle().payload_digest
    with pytest.raises(ecdd.BundleError, match="no-such-bundle"):
        Detector.load("no-such-bundle")


def test_one_picture_in_every_form_is_one_verdict(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(ONE)
    by_path = detector.predict(path)
    assert by_path.label == "fake"
    forms = [str(path), ONE, bytearray(ONE), memoryview(ONE), io.BytesIO(ONE), Image.open(path), pixels_of(ONE)]
    for form in forms:
        assert same(detector.predict(form), by_path), type(form)
    with path.open("rb") as handle:
        named = detector.predict(handle)
    assert same(named, by_path)
    assert (named.path, named.file_sha256) == (str(path), by_path.file_sha256)
    entry = next(one for one in os.scandir(tmp_path) if one.name == "a.jpg")
    assert same(detector.predict(entry), by_path), "whatever says its path"


def test_pixels_have_no_file_stages(detector: Detector) -> None:
    """S0 and S1 are given; how the pixels were compressed is unknown, whatever the image still says of its file."""
    image = Image.open(io.BytesIO(ONE))
    assert image.quantization  # type: ignore[attr-defined]
    for given in (image, pixels_of(ONE)):
        verdict = detector.predict(given)
        assert (verdict.path, verdict.file_sha256) == ("", None)
        assert "pixels_given" in verdict.notes
        assert verdict.face is not None
        assert (verdict.face.jpeg_quality, verdict.face.jpeg_quality_kind) == (None, "unknown")
        rows = {row["stage"]: row for row in detector.examine(given).rows()}
        assert rows["S0"] == {"stage": "S0", "face": None, "file": "given", "bytes": None}
        assert rows["S1"]["decoder"] == "given"
    assert detector.predict(ONE).face.jpeg_quality_kind != "unknown"  # type: ignore[union-attr]
    assert detector.predict(pixels_of(ONE), name="frame 3").path == "frame 3"


def test_pixels_are_taken_up_to_the_contract_s_limit() -> None:
    pixels = contract(FAKE).policy.pixel_pipeline.model_copy(update={"max_pixels": 60 * 80})
    given = np.zeros((60, 80, 3), np.uint8)
    assert given_pixels(given, pixels).image.size == (80, 60)
    with pytest.raises(Rejected, match="IO-004"):
        given_pixels(np.zeros((61, 80, 3), np.uint8), pixels)


def test_an_image_is_treated_as_its_file(detector: Detector) -> None:
    """Turned by EXIF, transparent, grey: the same policies as for a file."""
    turned = Image.open(io.BytesIO(ONE)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    image = Image.open(io.BytesIO(buffer.getvalue()))
    assert same(detector.predict(image), detector.predict(buffer.getvalue()))
    assert detector.predict(image).size == Image.open(io.BytesIO(ONE)).size
    clear = Image.open(io.BytesIO(ONE)).convert("RGBA")
    assert "alpha_composited" in detector.predict(clear).notes
    assert "grey" in detector.predict(clear.convert("L")).notes


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (42, "not int"),
        (None, "not NoneType"),
        (["a.jpg"], "not list"),
        (io.StringIO("text"), "mode 'rb'"),
        (np.zeros((9, 9, 3), np.float32), "dtype float32"),
        (np.zeros((9, 9), np.uint8), "shape 9x9"),
        (np.zeros((2, 9, 9, 3), np.uint8), "shape 2x9x9x3"),
        (Image.new("F", (9, 9)), "mode F"),
    ],
)
def test_a_wrong_type_is_a_type_error(detector: Detector, wrong: Any, said: str) -> None:
    before = dict(detector.outcomes)
    with pytest.raises(TypeError, match=said):
        detector.predict(wrong)
    assert detector.outcomes == before


class Broken(io.RawIOBase):
    """A binary file whose disk is gone."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise OSError("gone")


def test_a_bad_picture_is_a_verdict(detector: Detector, tmp_path: Path) -> None:
    cut = Image.open(io.BytesIO(ONE[: len(ONE) // 2]))
    for bad, code in (
        (str(tmp_path / "missing.jpg"), "IO-010"),
        (tmp_path, "IO-010"),
        (Broken(), "IO-010"),
        (cut, "IO-001"),
        (np.zeros((0, 9, 3), np.uint8), "GR-006"),
        (np.zeros((5, 5, 3), np.uint8), "GR-006"),
        (np.zeros((70000, 1, 3), np.uint8), "IO-004"),
        (np.full((300, 300, 3), 90, np.uint8), "GR-001"),
        (b"", "IO-001"),
    ):
        verdict = detector.predict(bad)
        assert verdict.label == "abstain"
        assert code in verdict.reason_codes, (bad, verdict)
        assert verdict.outcome != "error"
        assert verdict.face is None
        assert verdict.heatmap() is None
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_video_and_a_heic_are_called_so(detector: Detector) -> None:
    film = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(64)
    for content, name in ((film, "clip.mp4"), (b"\x1aE\xdf\xa3" + bytes(64), "a.webm"), (b"RIFF0000AVI LIST", "a.avi")):
        verdict = detector.predict(content, name)
        assert verdict.reason_codes == ("IO-002",)
        assert "a video" in verdict.detail
        assert "ecdd.frames" in verdict.detail
        assert "extra video" in verdict.detail
    photo = detector.predict(b"\0\0\0\x18ftypheic" + bytes(64), "IMG_0001.HEIC")
    assert photo.reason_codes == ("IO-002",)
    assert "HEIF" in photo.detail
    assert "export it as JPEG" in photo.detail
    assert detector.predict(film, "photo.jpg").reason_codes == ("IO-006",), "a film that calls itself a JPEG"


def test_many_keep_their_order_and_none_stops_the_others(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(ONE)

    def mixed() -> list[Any]:
        return [path, 42, b"damaged", pixels_of(TWO), Image.open(path), io.BytesIO(ONE), "missing.jpg"]

    outcomes = ["judged", "rejected", "rejected", "judged", "judged", "judged", "rejected"]
    assert [verdict.outcome for verdict in detector.predict_many(mixed())] == outcomes
    wrong = next(iter(detector.predict_many([42])))
    assert wrong.reason_codes == ("IO-010",)
    assert "not int" in wrong.detail
    pooled = list(detector.predict_many(mixed(), jobs=2))
    assert [verdict.outcome for verdict in pooled] == outcomes
    assert same(pooled[0], detector.predict(path))
    assert pooled[0].path == str(path)


def test_many_are_read_as_they_are_needed(detector: Detector) -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"x"

    found = detector.predict_many(endless())
    assert next(found).outcome == "rejected"
    assert len(taken) == 1


DYING = """
import os, sys
from pathlib import Path
from ecdd import Detector
from ecdd.detector import Detector as Real
examine = Real.examine
def dies(self, source, name=None):
    if isinstance(source, Path) and source.name == "dies.jpg":
        os._exit(9)
    return examine(self, source, name)
Real.examine = dies
"""
GUARDED = """
if __name__ == "__main__":
    found = list(Detector.load("tiny").predict_many(["a.jpg", "dies.jpg", "b.jpg"], jobs=2))
    print([(one.outcome, one.path) for one in found], found[1].detail)
"""
UNGUARDED = """
from ecdd import Detector, EcddError
try:
    print(list(Detector.load("tiny").predict_many([b"x"], jobs=2)))
except EcddError as error:
    print("refused:", error)
"""


def run_script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment, timeout=300
    )


def test_a_picture_that_ends_its_worker_costs_its_own_verdict(tmp_path: Path) -> None:
    done = run_script(tmp_path, DYING + GUARDED)
    said = "[('rejected', 'a.jpg'), ('error', 'dies.jpg'), ('rejected', 'b.jpg')] the worker process ended with 9"
    assert done.stdout.startswith(said), done.stdout + done.stderr


def test_a_script_without_its_guard_is_told_so(tmp_path: Path) -> None:
    done = run_script(tmp_path, UNGUARDED)
    assert (
        'refused: the worker processes cannot start; in a script, begin from `if __name__ == "__main__":`'
        in done.stdout
    )


@pytest.mark.parametrize(
    "single", ["a.jpg", b"x", Path("a.jpg"), np.zeros((9, 9, 3), np.uint8), Image.new("RGB", (9, 9)), 7]
)
def test_one_picture_is_not_many(detector: Detector, single: Any) -> None:
    with pytest.raises(TypeError, match="many pictures are needed"):
        detector.predict_many(single)
    with pytest.raises(ValueError, match="jobs is 0"):
        detector.predict_many([], jobs=0)


def test_threads_may_share_a_detector(detector: Detector) -> None:
    """Four threads, three kinds of pictures: every verdict is that of one thread, and none is missing in the counts."""
    sources = [ONE, TWO, b"damaged", pixels_of(ONE)]
    alone = [detector.predict(source) for source in sources]
    counted, faces = sum(detector.outcomes.values()), detector.model_calls
    wrong: list[Any] = []

    def work(index: int) -> None:
        for turn in range(6):
            which = (index + turn) % len(sources)
            found = detector.predict(sources[which])
            if not same(found, alone[which]):
                wrong.append((which, found))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(detector.outcomes.values()) - counted == 24
    assert detector.model_calls - faces == 6 * (1 + 2 + 0 + 1)


def test_cost_of_each_call(detector: Detector) -> None:
    """What the docstring states, with room for a busy machine: processor time, not time on the wall."""
    begun = time.process_time()
    Detector.load("tiny", contract=contract(FAKE))
    assert time.process_time() - begun < 3
    begun = time.process_time()
    for _ in range(5):
        detector.predict(ONE)
    assert (time.process_time() - begun) / 5 < 0.5
    kept = len(pickle.dumps(detector.predict(ONE)))
    bare = len(pickle.dumps(next(detector.predict_many([ONE]))))
    side = detector.policy.pixel_pipeline.input_size
    assert bare < 40_000
    assert 3 * side * side < kept < 3 * side * side + 100_000


def test_a_verdict_shows_itself(detector: Detector) -> None:
    verdict = detector.predict(TWO, "<two>.jpg")
    assert repr(verdict) == f"<Verdict fake P(fake)={verdict.probability:.3f} '<two>.jpg'>" == str(verdict)
    assert verdict.face is not None
    assert verdict.face == verdict.faces[verdict.deciding_face or 0]
    assert verdict.face.probability == verdict.probability
    drawn = verdict.heatmap()
    assert drawn is not None
    assert drawn.mode == "RGB"
    assert min(drawn.size) > detector.policy.pixel_pipeline.input_size
    told = verdict.to_dict()
    assert Verdict.model_validate(told).to_dict() == told
    assert told["probability"] == verdict.probability
    page = verdict._repr_html_()
    assert "&lt;two&gt;.jpg" in page
    assert "<two>" not in page
    assert 'src="data:image/png;base64,' in page
    damaged = detector.predict(b"damaged")
    assert "<img" not in damaged._repr_html_()
    assert "IO-002" in damaged._repr_html_()
    real = Detector.load("tiny", contract=contract(REAL)).predict(ONE)
    assert repr(real).startswith("<Verdict real P(fake)=0.")


def test_a_heatmap_survives_the_way_from_a_worker(detector: Detector) -> None:
    (with_pixels,) = detector.predict_many([ONE], jobs=2, heatmaps=True)
    own = detector.predict(ONE).heatmap()
    found = with_pixels.heatmap()
    assert own is not None
    assert found is not None
    assert found.tobytes() == own.tobytes()
    assert pickle.loads(pickle.dumps(with_pixels)) == with_pixels
    without = next(detector.predict_many([ONE]))
    with pytest.raises(EcddError, match="heatmaps=True"):
        without.heatmap()
    assert "<img" not in without._repr_html_()
