"""Student and teacher in every library and mode, in turns in one run, with the answers of the timed calls checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.bundle.variants import SCORES_FILE, modes, place
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.export.exported_parity import reference_map
from ecdd.export.folding import fold
from ecdd.export.onnx_export import onnx_bytes
from ecdd.inference.calibration import probability
from ecdd.models.checkpoint import load_weights
from ecdd.parity.float_vs_tflite import probability_parity
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.tflite import TFLiteRuntime
from gates.benchmarks.runtimes.answers import Reference, WrongAnswer, check, difference, joined
from gates.benchmarks.runtimes.arithmetic import convolution_work, floor, product_ways
from gates.benchmarks.runtimes.model_files import (
    ModelFile,
    golden_faces,
    student_files,
    teacher_files,
)
from gates.benchmarks.runtimes.single_layers import interpreter_call, layer_files, layers_of
from gates.benchmarks.runtimes.ways import (
    COMPILED,
    EAGER,
    Way,
    compiled_way,
    in_turns,
    onnx_ways,
    shipped_way,
    tflite_way,
    torch_ways,
)
from gates.support.remaking import representative_faces
from gates.support.seeded_networks import TRAINED_TEACHER

INPUTS: Final = 8  # faces that a group works on: one batch of 8, or 8 of one
# rounds and timed calls a turn, by network and batch: a turn on every input at least
SCHEDULE: Final = {("student", 1): (20, 4), ("student", 8): (5, 1), ("teacher", 1): (8, 1), ("teacher", 8): (3, 1)}
LEAST_LAYER_CORRELATION: Final = 0.95
LAYER_ROUNDS, LAYER_CALLS = 12, 6


@dataclass(frozen=True, eq=False)
class Network:
    """A network, its files, and what could not be made."""

    model: Any
    files: list[ModelFile]
    onnx: bytes
    refused: dict[str, str]
    macs: int


@pytest.fixture(scope="session")
def faces(golden: Any, frozen: Any) -> list[NDArray[np.uint8]]:
    return golden_faces(golden, frozen)


@pytest.fixture(scope="session")
def tensors(faces: list[NDArray[np.uint8]], policy: Any) -> NDArray[np.float32]:
    return np.stack([normalise(face, policy.pixel_pipeline) for face in faces])


@pytest.fixture(scope="session")
def networks(bundle: Any, policy: Any, faces: list[NDArray[np.uint8]]) -> dict[str, Network]:
    side, found = policy.pixel_pipeline.input_size, {}
    for name, weights in (("student", bundle.path / "weights.safetensors"), ("teacher", TRAINED_TEACHER)):
        model = load_weights(weights)[0].eval()
        folded, refused = fold(model), {}
        if name == "student":
            files, refused = student_files(bundle, folded, representative_faces(faces, bundle.contract))
        else:
            files = teacher_files(bundle, folded)
        macs = sum(layer.macs for layer in convolution_work(folded, side))
        found[name] = Network(model, files, onnx_bytes(folded, side, policy.pooling), refused, macs)
    return found


@pytest.fixture(autouse=True)
def _compiler_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")


def _student_tflite(files: Sequence[ModelFile], given: Sequence[NDArray[np.float32]]) -> list[Way]:
    """Every mode as a bundle carries it, and all integers, by delegate and threads; other islands as pinned only."""
    found = []
    for file in files:
        apart = "," in file.name and "all integers" not in file.name
        for xnnpack, threads in ((True, 1), (True, 2), (False, 1), (False, 2)):
            if (xnnpack and threads == 1) or not apart:
                found.append(tflite_way(file, given, threads, xnnpack=xnnpack))
    return [*found, shipped_way(files[0], given, 1)]


def _teacher_tflite(files: Sequence[ModelFile], given: Sequence[NDArray[np.float32]]) -> list[Way]:
    return [
        tflite_way(file, given, threads, xnnpack=xnnpack)
        for file in files
        for xnnpack, threads in ((True, 1), (True, 2), (False, 1))
    ]


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("network", ["student", "teacher"])
def test_model_speed(
    benchmark: Any, networks: dict[str, Network], tensors: Any, policy: Any, network: str, batch: int
) -> None:
    one, rounds = networks[network], SCHEDULE[network, batch]
    used = tensors[:: len(tensors) // INPUTS][:INPUTS]
    given = [np.ascontiguousarray(used[k : k + batch]) for k in range(0, INPUTS, batch)]
    missing = [{"way": f"TFLite {name}", "reason": reason} for name, reason in one.refused.items()]
    tflite = _student_tflite if network == "student" else _teacher_tflite
    ways = [*torch_ways(one.model, given, (1, 2)), *onnx_ways(one.onnx, given, (1, 2)), *tflite(one.files, given)]
    compiled, reason = compiled_way(one.model, given, 1)
    if compiled is None:
        missing.append({"way": COMPILED, "reason": reason})
    else:
        ways.append(compiled)
    products = product_ways() if (network, batch) == ("student", 1) else []
    _time(benchmark, [*ways, *products], *rounds)
    rows = _judged(ways, one, used, policy, len(given))
    benchmark.extra_info.update({"network": network, "batch": batch, "ways": rows, "not_tested": missing})
    benchmark.extra_info["macs"] = one.macs
    if products:
        benchmark.extra_info["floor"] = floor(products, one.macs)


def _time(benchmark: Any, ways: Sequence[Way], rounds: int, calls: int) -> None:
    state = {"round": -1}

    def next_round() -> None:
        if state["round"] == 0:  # what went before was the warm-up
            for way in ways:
                way.forget()
        in_turns(ways, max(state["round"], 0), calls)
        state["round"] += 1

    next_round()
    benchmark.pedantic(next_round, rounds=rounds)


def _judged(ways: Sequence[Way], network: Network, used: Any, policy: Any, places: int) -> list[dict[str, Any]]:
    """A row a way, after its answers were checked."""
    files = {file.name: file for file in network.files}
    plain = files["float32"]
    maps = reference_map(network.model, used)
    reference = Reference.of(maps, policy, plain.calibration, plain.band)
    eager = next(way for way in ways if way.runtime == EAGER and way.threads == 1)
    faces = len(used) // places
    rows = []
    for way in ways:
        file = files[way.mode]
        found = difference(reference, joined(way.answers, places, way.name), policy, file.calibration, file.band)
        check(found, way.name, file.mode, policy)
        rows.append(
            {
                "runtime": way.runtime,
                "mode": way.mode,
                "delegate": way.delegate,
                "threads": way.threads,
                "min_ms": round(way.best * 1e3, 4),
                "median_ms": round(way.median * 1e3, 4),
                "median_ms_per_face": round(way.median * 1e3 / faces, 4),
                "calls": len(way.seconds),
                "times_faster_than_eager": round(eager.median / way.median, 3),
                "times_faster_than_eager_best": round(eager.best / way.best, 3),
                **found.stored(),
            }
        )
    return rows


def test_modes(benchmark: Any, networks: dict[str, Network], bundle: Any, tensors: Any, policy: Any) -> None:
    """Accuracy and size of every mode on all golden faces, and on the bundle's calibration logits where it has them."""
    student = networks["student"]
    plain = next(file for file in student.files if file.name == "float32")
    reference = Reference.of(reference_map(student.model, tensors), policy, plain.calibration, plain.band)
    rows: list[dict[str, Any]] = []

    def every_mode() -> None:
        for file in student.files:
            found = difference(
                reference, TFLiteRuntime(file.content).outputs(tensors), policy, file.calibration, file.band
            )
            check(found, file.name, file.mode, policy)
            rows.append(
                {
                    "name": file.name,
                    "mode": file.mode,
                    "float_islands": list(file.islands),
                    "bytes": len(file.content),
                    "in_bundle": file.in_bundle,
                    "own_calibration": file.own_calibration,
                    "ranges_measured_on": file.ranges,
                    "shipped": file.in_bundle and file.name == policy.quantization.mode,
                    "releasable": file.in_bundle and file.name in policy.quantization.releasable,
                    "golden": found.stored(),
                    "calibration_pictures": _on_calibration_pictures(bundle, file, plain),
                }
            )

    benchmark.pedantic(every_mode, rounds=1)
    benchmark.extra_info["modes"] = rows


def _on_calibration_pictures(bundle: Any, file: ModelFile, plain: ModelFile) -> dict[str, Any] | None:
    """From logits that the bundle carries; None for a file that it does not."""
    if not file.in_bundle or "float32" not in modes(bundle):
        return None
    scored = [read_scores(bundle.path / place(bundle, name, SCORES_FILE)) for name in ("float32", file.name)]
    logits = [{row.sha256: row.logit for row in rows if row.logit is not None} for rows in scored]
    assert logits[0].keys() == logits[1].keys(), f"{file.name} was scored on other pictures than float32"
    one, other = (
        np.array([probability(side.calibration.logit(scores[key])) for key in sorted(scores)])
        for side, scores in zip((plain, file), logits, strict=True)
    )
    found = probability_parity(one, other, plain.band, file.band)
    flips = None if found.flips is None else len(found.flips)
    return {"max_dp": round(found.max_difference, 7), "decision_flips": flips, "pictures": found.n}


def test_layers(benchmark: Any, networks: dict[str, Network], policy: Any) -> None:
    """Each layer of the student alone, float32 and int8 in turns, and the whole float file without its pooling."""
    student, side = networks["student"], policy.pixel_pipeline.input_size
    rng, ways, layers = np.random.default_rng(0), [], layers_of(fold(student.model), side)
    for layer in layers:
        sample = rng.standard_normal((1, *layer.given), dtype=np.float32)
        answers = []
        for kind, content in zip(("float32", "int8"), layer_files(layer, sample), strict=True):
            call, answer = interpreter_call(content, sample)
            call(None)
            answers.append(answer().ravel())
            ways.append(Way(layer.name, kind, "xnnpack", 1, [None], call, lambda _: None))  # type: ignore[arg-type, return-value]
        agreement = float(np.corrcoef(*answers)[0, 1])
        if not agreement >= LEAST_LAYER_CORRELATION:
            raise WrongAnswer(f"{layer.name}: int8 and float32 correlate at {agreement:.3f}")
    zeros = np.zeros((1, side, side, 3), np.float32)
    whole = tflite_way(next(file for file in student.files if file.name == "float32"), [zeros], 1, xnnpack=True)
    _time(benchmark, [*ways, whole], LAYER_ROUNDS, LAYER_CALLS)
    by_name = {(way.runtime, way.mode): way for way in ways}
    benchmark.extra_info["layers"] = [
        {
            "layer": layer.name,
            "input": list(layer.given),
            "macs": layer.macs,
            **{
                f"{kind}_{key}": round(getattr(by_name[layer.name, kind], stat) * 1e3, 4)
                for kind in ("float32", "int8")
                for key, stat in (("min_ms", "best"), ("median_ms", "median"))
            },
        }
        for layer in layers
    ]
    benchmark.extra_info["whole"] = {"median_ms": round(whole.median * 1e3, 4), "min_ms": round(whole.best * 1e3, 4)}
