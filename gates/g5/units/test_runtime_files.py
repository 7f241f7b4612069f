"""Model files that are damaged, of another kind or of another model are refused by name, and nothing dies of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.loading import load_bundle
from ecdd.pipeline.blazeface import WEIGHTS as FACE_DETECTOR
from ecdd.runtimes import tflite_file
from ecdd.runtimes.base import INPUT_NAME, MAP_NAME, POOLED_NAME, DelegateError, RuntimeFileError
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.onnx import OnnxRuntime
from ecdd.runtimes.registry import RuntimeName, load_runtime
from ecdd.runtimes.tflite import TFLiteRuntime, wants_xnnpack
from gates.support.made_models import MadeModel, seen, with_pooled

BUNDLE = load_bundle("tiny")
NEEDED = ModelInterface(256, 31, 31)
TFLITE, ONNX = BUNDLE.read("model.tflite"), BUNDLE.read("model.onnx")
INT8 = AffineQuantisation("int8", 0.02, 3)


def refusal(model: bytes | Path, runtime: Callable[..., Any] = TFLiteRuntime, **options: Any) -> str:
    with pytest.raises(RuntimeFileError) as caught:
        runtime(model, **options)
    assert str(caught.value) == f"{caught.value.file}: expected {caught.value.expected}; found {caught.value.found}"
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"TFL3 is not enough", "an unknown kind of 18 bytes"),
        (ONNX, "an ONNX file of"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
        (BUNDLE.read("weights.safetensors"), "a safetensors file"),
    ],
)
def test_a_file_of_another_kind_is_named(content: bytes, found: str, tmp_path: Path) -> None:
    assert f"m.tflite: expected a TFLite file (TFL3 at byte 4); found {found}" in refusal(content, name="m.tflite")
    path = tmp_path / "from elsewhere.tflite"
    path.write_bytes(content)
    assert str(path) in refusal(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (TFLITE, "a TFLite file of"),
        (ONNX[:2000], "an ONNX file of 2000 bytes"),
        (b"x" * 99, ""),
    ],
)
def test_onnx_runtime_gets_onnx_files_only(content: bytes, found: str) -> None:
    text = refusal(content, OnnxRuntime, name="m.onnx")
    assert text.startswith("m.onnx: expected an ONNX file that ONNX Runtime can load; found ")
    assert found in text


def test_torch_gets_weights_with_an_identity_only() -> None:
    pytest.importorskip("torch")
    from ecdd.runtimes.torch import TorchRuntime

    weights = BUNDLE.read("weights.safetensors")
    for content, found in ((b"", "an empty file"), (TFLITE, "a TFLite file"), (weights[:-40], "a safetensors file")):
        assert found in refusal(content, TorchRuntime, name="w.safetensors")
    changed = weights[:-4] + b"\x00\x00\x80\x3f"
    assert "state digest differs" in refusal(changed, TorchRuntime)
    assert "tmp" not in refusal(changed, TorchRuntime), "the message names a copy that nobody knows"
    assert "patch_logits float32 (any, 31, 31)" in refusal(weights, TorchRuntime, interface=ModelInterface(256, 30, 31))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for runtime in (TFLiteRuntime, OnnxRuntime):
        assert "nowhere.bin: expected a file that can be read; found No such" in refusal(
            tmp_path / "nowhere.bin", runtime
        )


OTHER_FILES: dict[str, tuple[MadeModel, str]] = {
    "side": (MadeModel(side=128), "image float32 (any, 128, 128, 3)"),
    "colours": (MadeModel(channels=1), "image float32 (any, 256, 256, 1)"),
    "batch": (MadeModel(batch=4), "image float32 (4, 256, 256, 3)"),
    "dtype": (MadeModel(dtype="int32"), "image int32 (any, 256, 256, 3)"),
    "uint8": (MadeModel(dtype="uint8"), "no scale"),
    "two inputs": (MadeModel(inputs=2), "image float32 (any, 256, 256, 3); more1 float32"),
    "input's name": (MadeModel(names=("x", MAP_NAME)), "x float32"),
    "output's name": (MadeModel(names=(INPUT_NAME, "y")), "y float32 (any, 31, 31)"),
    "order": (
        MadeModel(names=(INPUT_NAME, POOLED_NAME, MAP_NAME)),
        "pooled_logit float32 (any, 31, 31); patch_logits float32 (any)",
    ),
    "one too many": (MadeModel(names=(INPUT_NAME, MAP_NAME, "probability")), "probability float32 (any)"),
    "no scale": (MadeModel(dtype="int8"), "no scale"),
    "zero point": (MadeModel(given=AffineQuantisation("int8", 0.02, 200), answered=INT8), "zero point 200"),
}


@pytest.mark.parametrize("what", list(OTHER_FILES))
def test_other_inputs_and_outputs_are_refused(what: str) -> None:
    made, found = OTHER_FILES[what]
    text = refusal(made.content(), interface=NEEDED, name="m.tflite", verified=True)
    assert text.startswith("m.tflite: expected ")
    assert found in text.partition("; found ")[2]


def test_other_grid_is_refused_in_every_runtime() -> None:
    other = ModelInterface(256, 31, 30)
    assert "(N, 31, 30)" in refusal(TFLITE, interface=other)
    assert "(N, 31, 30)" in refusal(ONNX, OnnxRuntime, interface=other)


def test_a_model_of_something_else_is_refused() -> None:
    assert "expected one input image" in refusal(FACE_DETECTOR, interface=NEEDED)


@pytest.mark.parametrize(
    "made",
    [
        MadeModel(), with_pooled(), MadeModel(signature=False), with_pooled(signature=False), with_pooled(batch=1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("quantisation", [None, INT8])
def test_what_is_needed_is_taken(made: MadeModel, quantisation: AffineQuantisation | None) -> None:
    """Also without a signature, where the ranks tell the outputs apart, and one picture at a time."""
    values = np.random.default_rng(1).integers(-40, 40, (3, 256, 256, 3)) * np.float32(0.02)
    fields = vars(made) | {"given": quantisation, "answered": quantisation}
    runtime = TFLiteRuntime(MadeModel(**fields).content(), interface=NEEDED)
    found = runtime.outputs(values.astype(np.float32))
    assert found.maps == pytest.approx(seen(values), abs=1e-6)
    if len(made.names) > 2:
        assert found.pooled is not None
        assert (found.pooled == found.maps[:, 0, 0]).all()


def test_cut_off_files_are_refused() -> None:
    """At every 97th byte, of both libraries' files."""
    for end in range(0, len(TFLITE), 97):
        refusal(TFLITE[:end])
    for end in range(0, len(ONNX), 97):
        refusal(ONNX[:end], OnnxRuntime)


def _at(content: bytes, place: int, value: int) -> bytes:
    changed = bytearray(content)
    changed[place] = value
    return bytes(changed)


def test_what_kills_an_interpreter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without a graph, which LiteRT dereferences; and, seen in a process of its own, whatever else kills it."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(TFLITE, 0)
    field = model._tab.Offset(8)  # where the table of fields says that its graphs are
    entry = model._tab.Pos - int.from_bytes(TFLITE[model._tab.Pos : model._tab.Pos + 4], "little", signed=True) + 8
    assert TFLITE[entry] == field
    headless = _at(TFLITE, entry, 0)
    assert "found 0 graphs" in refusal(headless)
    monkeypatch.setattr(tflite_file, "check_graph", lambda *_: None)
    path = tmp_path / "m.tflite"
    path.write_bytes(headless)
    assert "kills the process that runs it (SIGSEGV)" in refusal(path)


@pytest.mark.parametrize(("side", "place"), [("input", 0), ("input", 1), ("output", 0)])
def test_an_operator_without_what_it_works_on_is_refused(side: str, place: int) -> None:
    """LiteRT would follow index -1 when it makes room."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MadeModel().content(), 0))
    operator = model.subgraphs[0].operators[0]
    indices = list(getattr(operator, f"{side}s"))
    indices[place] = -1
    setattr(operator, f"{side}s", indices)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert f"found operator 0 without its {side} {place}" in refusal(bytes(builder.Output()))


def test_what_takes_too_long_is_refused() -> None:
    """A trial has a limit in time; here one that no file can keep."""
    with pytest.raises(RuntimeFileError, match=r"did not end within 0\.001 s"):
        tflite_file.try_in_own_process("m.tflite", TFLITE, xnnpack=True, seconds=0.001)


def test_a_file_from_elsewhere_gives_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(TFLITE)
    batch = np.random.default_rng(2).normal(size=(1, 256, 256, 3)).astype(np.float32)
    assert TFLiteRuntime(path).patch_map(batch).tobytes() == TFLiteRuntime(TFLITE).patch_map(batch).tobytes()


def test_a_file_that_loads_and_then_fails_or_gives_another_shape_is_refused() -> None:
    """LiteRT makes room for a batch only when there is one, and takes the stated shapes on trust."""
    content, batch = MadeModel().content(), np.zeros((2, 256, 256, 3), np.float32)
    stride, end = (content.index(np.array(three, np.int32).tobytes()) for three in ([1, 8, 8, 1], [0, 248, 248, 1]))
    with pytest.raises(
        RuntimeFileError, match=r"m: expected a model that computes a batch of shape \(2, 256.*non-zero"
    ):
        TFLiteRuntime(_at(content, stride + 4, 0), name="m").outputs(batch)
    with pytest.raises(RuntimeFileError, match=r"m: expected for 2 pictures patch_logits .*; found shape \(2, 0, 31\)"):
        TFLiteRuntime(_at(content, end + 4, 0), name="m").outputs(batch)


def test_a_scale_of_zero_inside_the_file_is_refused() -> None:
    bad = AffineQuantisation("int8", 0.0, 0)
    text = refusal(MadeModel(given=bad, answered=INT8, inside=True).content(), name="m.tflite")
    assert "m.tflite: expected scales above 0; found scale 0 of tensor 'integers'" in text


@pytest.mark.parametrize("name", ["tflite", "onnx", "torch"])
def test_runtimes_of_a_bundle_get_the_verified_bytes(name: RuntimeName, tmp_path: Path) -> None:
    """What changes between loading the bundle and opening the file is noticed, and the digest is the manifest's."""
    import shutil

    pytest.importorskip({"tflite": "numpy", "onnx": "onnxruntime", "torch": "torch"}[name])
    file = {"tflite": "model.tflite", "onnx": "model.onnx", "torch": "weights.safetensors"}[name]
    shutil.copytree(BUNDLE.path, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert load_runtime(loaded, name, 1).describe()["model_sha256"] == loaded.manifest.files[file].sha256
    path = tmp_path / "bundle" / file
    path.write_bytes(_at(path.read_bytes(), -1, 0x55))
    with pytest.raises(BundleError, match="changed while the bundle was in use"):
        load_runtime(loaded, name, 1)


@pytest.mark.parametrize("name", ["tflite", "onnx", "torch"])
def test_every_runtime_describes_the_same_things(name: RuntimeName) -> None:
    pytest.importorskip({"tflite": "numpy", "onnx": "onnxruntime", "torch": "torch"}[name])
    about = load_runtime(BUNDLE, name, 2).describe()
    keys = "runtime library delegate threads preserve_all_tensors model_sha256 processor inputs outputs"
    assert list(about) == keys.split()
    assert about["runtime"] == name
    assert about["threads"] == 2
    assert str(about["inputs"]).startswith("image float32 (any, 256, 256, 3)")
    assert str(about["outputs"]).startswith("patch_logits float32 (any, 31, 31)")


def test_the_delegate_is_the_one_at_work() -> None:
    """A graph that XNNPACK declines is computed without it, and says so."""
    assert TFLiteRuntime(TFLITE).describe()["delegate"] == "xnnpack"
    assert TFLiteRuntime(TFLITE, xnnpack=False).describe()["delegate"] == "none"
    assert TFLiteRuntime(MadeModel().content()).describe()["delegate"] == "none"


def test_delegates_have_names() -> None:
    assert [wants_xnnpack(name) for name in ("xnnpack", "none")] == [True, False]
    with pytest.raises(DelegateError, match="'nnapi' cannot be had here: NNAPI is a service of Android"):
        wants_xnnpack("nnapi")
    with pytest.raises(DelegateError, match="'fast' cannot be had here: no such delegate"):
        wants_xnnpack("fast")
