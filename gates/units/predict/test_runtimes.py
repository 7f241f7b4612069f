"""The runtimes behind their protocol: one answer from three libraries, any batch, any thread, and after a failure."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.loading import load_bundle
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.processor import processor
from ecdd.runtimes.registry import RuntimeName, load_runtime
from ecdd.runtimes.tflite import TFLiteRuntime

BUNDLE = load_bundle("tiny")
POLICY = BUNDLE.contract.policy


def tensors(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Smooth and noisy tensors in the range of S4."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0, 1, (count, 16, 16, 3)).repeat(16, axis=1).repeat(16, axis=2)
    return (coarse + generator.normal(0, 0.3, (count, 256, 256, 3))).clip(-2, 2).astype(np.float32)


@pytest.fixture(scope="module")
def tflite() -> TFLiteRuntime:
    return TFLiteRuntime(BUNDLE.read("model.tflite"))


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_other_libraries_agree_within_the_contract(tflite: TFLiteRuntime, name: RuntimeName) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "torch": "torch"}[name])
    batch = tensors(3)
    expected, found = tflite.patch_map(batch), load_runtime(BUNDLE, name, 1).patch_map(batch)
    assert found.shape == expected.shape == (3, POLICY.patch_grid.rows, POLICY.patch_grid.cols)
    assert found.dtype == expected.dtype == np.float32
    spread = float(expected.max() - expected.min())
    assert spread > 0.1, "a constant map would agree with anything"
    assert float(abs(found - expected).max()) <= POLICY.patch_grid.tolerance_s5 * spread
    pooled = abs(found.mean(axis=(1, 2)) - expected.mean(axis=(1, 2)))
    assert float(pooled.max()) <= POLICY.pooling.tolerance_s6


def test_a_map_of_one_row_keeps_it() -> None:
    """Weights alone read pictures of any size."""
    pytest.importorskip("torch")
    from ecdd.runtimes.torch import TorchRuntime

    runtime = TorchRuntime(BUNDLE.read("weights.safetensors"))
    assert runtime.patch_map(tensors(2)[:, :16]).shape[:2] == (2, 1)


def test_a_face_does_not_depend_on_its_batch(tflite: TFLiteRuntime) -> None:
    batch = tensors(5)
    together = tflite.patch_map(batch)
    for index in (0, 4, 2):
        assert tflite.patch_map(batch[index : index + 1]).tobytes() == together[index].tobytes()


def test_a_refused_batch_leaves_the_runtime_usable(tflite: TFLiteRuntime) -> None:
    batch = tensors(2)
    expected = tflite.patch_map(batch)
    spoiled: tuple[NDArray[Any], ...] = (batch[:, :128], batch[..., :1], batch.astype(np.float64), batch[0])
    for wrong in spoiled:
        with pytest.raises((ValueError, RuntimeError)):
            tflite.patch_map(wrong)
        assert tflite.patch_map(batch).tobytes() == expected.tobytes()


def test_a_batch_is_one_call_of_onnx_runtime() -> None:
    runtime = load_runtime(BUNDLE, "onnx", 1)
    really, calls = runtime._session, []

    class Counted:
        def run(self, *given: Any) -> Any:
            calls.append(given)
            return really.run(*given)

    runtime._session = Counted()
    runtime.patch_map(tensors(3))
    assert len(calls) == 1


def test_a_batch_that_was_interrupted_is_laid_out_again() -> None:
    """Ctrl-C while memory is laid out for another batch: the next call must not trust that it was."""
    runtime, batch = TFLiteRuntime(BUNDLE.read("model.tflite")), tensors(3)
    expected = runtime.patch_map(batch[:1])
    really, interrupted = runtime._interpreter, [True]

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            if name == "allocate_tensors" and interrupted.pop():
                raise KeyboardInterrupt
            return getattr(really, name)

    runtime._interpreter = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        runtime.patch_map(batch)
    runtime._interpreter = really
    assert np.array_equal(runtime.patch_map(batch[:1]), expected)


def test_the_answer_is_kept_when_the_next_picture_comes(tflite: TFLiteRuntime) -> None:
    first = tflite.patch_map(tensors(1, seed=1))
    copy = first.copy()
    tflite.patch_map(tensors(1, seed=2))
    assert (first == copy).all(), "the answer is a view of the interpreter's buffer"


def test_threads_may_share_a_runtime(tflite: TFLiteRuntime) -> None:
    batches = [tensors(1 + index % 3, seed=index) for index in range(12)]
    expected = [tflite.patch_map(batch).tobytes() for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert [found.tobytes() for found in pool.map(tflite.patch_map, batches)] == expected


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_inside_change_no_bit(tflite: TFLiteRuntime, threads: int) -> None:
    batch = tensors(2)
    other = TFLiteRuntime(BUNDLE.read("model.tflite"), threads=threads)
    assert other.patch_map(batch).tobytes() == tflite.patch_map(batch).tobytes()


def test_a_runtime_says_what_it_is(tflite: TFLiteRuntime) -> None:
    about = tflite.describe()
    assert about["delegate"] == "xnnpack"
    assert about["threads"] == 1
    assert about["model_sha256"] == BUNDLE.calibration.fitted_on_model_sha256
    plain = TFLiteRuntime(BUNDLE.read("model.tflite"), xnnpack=False)
    assert plain.describe()["delegate"] == "none"


def test_a_system_that_does_not_tell_leaves_the_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: Any, **__: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(Path, "open", closed)
    assert processor.__wrapped__() == platform.machine()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "model.tflite"
    broken.write_bytes(b"TFL3 is not enough")
    with pytest.raises(RuntimeFileError, match="TFL3 at byte 4"):
        TFLiteRuntime(broken)
