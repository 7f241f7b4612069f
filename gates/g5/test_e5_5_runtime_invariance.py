"""E5.5 runtime invariance: the answers do not depend on XNNPACK on or off or on 1, 2 or 4 threads; the bundle's
pinned configuration is the one measured; delegates that cannot be had on this machine (NNAPI, GPU) are recorded as
not tested, never as passed.

Threads and kernels add in another order, and a phone chooses both. The tensors are the golden faces' S4, computed
from their frozen S3, so that nothing before the model takes part. Fails when a configuration moves a bit where none
may move, leaves the tolerance, or was not the one that ran, or when memory exceeds the contract's budget.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import MODEL_FILE
from ecdd.bundle.variants import place
from ecdd.bundle.writing import write_manifest
from ecdd.inference.calibration import AppliedCalibration
from ecdd.inference.stages import judge
from ecdd.pipeline.preprocess import normalise
from ecdd.runtimes.base import DelegateError, RuntimeFileError
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.tflite import NOT_HERE, TFLiteRuntime, wants_xnnpack
from gates.benchmarks.processes import keeping_compiled, launch
from gates.g5.conftest import missing
from gates.support.made_models import MadeModel

ROOT = Path(__file__).resolve().parents[2]
THREADS, REPEATS = (1, 2, 4), 2
FLOAT_ACTIVATIONS = ("float32", "float16")
BATCH = 8
# scales of no power of two, so that dividing and multiplying by the reciprocal differ; points off the middle
BOUNDARIES = (
    (AffineQuantisation("int8", 0.0205, 12), AffineQuantisation("int8", 0.083, -17)),
    (AffineQuantisation("int8", 0.0173, -3), AffineQuantisation("int8", 0.25, 5)),
    (AffineQuantisation("int16", 7.7e-5, 0), AffineQuantisation("int16", 3.1e-4, 0)),
)


@pytest.fixture(scope="module")
def tensors(golden: Any, frozen: Any, policy: Any) -> tuple[list[str], NDArray[np.float32]]:
    """Names and S4 of every golden face of the in-scope set."""
    names, batch = [], []
    for item in golden.by_set("in_scope"):
        stored = frozen.picture(item.id)
        for index, face in enumerate(() if stored is None else stored.faces):
            names.append(f"{item.id} face {index}")
            batch.append(normalise(face.s3, policy.pixel_pipeline))
    assert names, "the golden set has no frozen face"
    return names, np.stack(batch)


def _models(bundle: Any) -> list[str]:
    """Every TFLite file that the bundle ships: the pinned one and its variants."""
    return sorted(name for name in bundle.manifest.files if name.endswith(".tflite"))


def _in_batches(runtime: TFLiteRuntime, batch: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Maps and, as one more column block, pooled logits of all tensors; the last batch is the shorter one."""
    rows = []
    for start in range(0, len(batch), size):
        found = runtime.outputs(batch[start : start + size])
        maps = found.maps.reshape(len(found.maps), -1)
        rows.append(maps if found.pooled is None else np.column_stack([maps, found.pooled]))
    return np.concatenate(rows)


@pytest.mark.experiment("E5.5")
def test_threads_batches_and_repeats_change_no_bit(
    evidence: Any, bundle: Any, policy: Any, tensors: tuple[list[str], NDArray[np.float32]], mode: str
) -> None:
    """In the pinned delegate; the other one is tabled beside it."""
    if missing(evidence, bundle, mode):
        return
    pinned, rows, model = wants_xnnpack(policy.runtime.delegate), [], place(bundle, mode, MODEL_FILE)
    for xnnpack in (pinned, not pinned):
        names, batch = tensors if xnnpack == pinned else (tensors[0][:BATCH], tensors[1][:BATCH])
        content, wrong, n = bundle.read(model), [], 0
        alone = TFLiteRuntime(content, threads=policy.runtime.threads, xnnpack=xnnpack, verified=True)
        expected = _in_batches(alone, batch, 1)
        for threads in THREADS:
            runtime = TFLiteRuntime(content, threads=threads, xnnpack=xnnpack, verified=True)
            for size in (1, BATCH):
                for _ in range(REPEATS if xnnpack == pinned else 1):
                    found = _in_batches(runtime, batch, size)
                    differs = [k for k in range(len(names)) if found[k].tobytes() != expected[k].tobytes()]
                    wrong += [f"{names[k]}, {threads} threads, batch {size}" for k in differs]
                    n += len(names)
        rows.append({"file": model, "xnnpack": xnnpack, "maps": n, "differing": len(wrong)})
        if xnnpack == pinned:
            evidence.none(f"{model} maps_with_another_bit", wrong, n=n, unit="map")
    evidence.table("threads 1, 2, 4 and batches 1, 8 against the pinned threads and batch 1", rows)


@pytest.mark.experiment("E5.5")
def test_threads_are_really_started(
    evidence: Any, bundle: Any, policy: Any, tensors: tuple[list[str], NDArray[np.float32]]
) -> None:
    """The invariance would be worthless where every setting ran on one thread: the system counts them."""
    if not wants_xnnpack(policy.runtime.delegate):
        evidence.not_tested("threads by count", "the pool of the kernels without XNNPACK keeps its threads")
        return
    process, wrong, started = psutil.Process(), [], {}
    for threads in THREADS:
        before = process.num_threads()
        runtime = TFLiteRuntime(bundle.read(MODEL_FILE), threads=threads, verified=True)
        runtime.patch_map(tensors[1][:1])
        started[threads] = process.num_threads() - before
        wrong += (
            [] if started[threads] == threads - 1 else [f"{threads} threads: {started[threads]} beside the caller's"]
        )
        del runtime
    evidence.none("settings_with_another_count_of_threads", wrong, n=len(THREADS), unit="setting")
    evidence.table("threads started", [{"threads": t, "beside_the_caller": count} for t, count in started.items()])


@pytest.mark.experiment("E5.5")
def test_other_kernels_are_measured(
    evidence: Any, bundle: Any, policy: Any, tensors: tuple[list[str], NDArray[np.float32]]
) -> None:
    """XNNPACK on against off: float kernels keep the contract's budget, integer kernels round otherwise."""
    names, batch = tensors
    calibration, grid = AppliedCalibration.of(bundle.calibration), policy.patch_grid
    for model in _models(bundle):
        on, off = (
            TFLiteRuntime(bundle.read(model), xnnpack=xnnpack, verified=True).patch_map(batch)
            for xnnpack in (True, False)
        )
        spread = np.ptp(on, axis=(1, 2))
        patch = np.abs(on - off).max(axis=(1, 2)) / spread
        faces = [judge(maps, len(maps), grid, policy.pooling, calibration) for maps in (on, off)]
        change = np.array([abs(a.probability - b.probability) for a, b in zip(*faces, strict=True)])
        shown = {"patch_difference_relative_to_spread": patch, "probability_difference": change}
        limits = (grid.tolerance_s5, policy.calibration.tolerance_s7)
        shipped_as_float = model == MODEL_FILE and policy.quantization.mode in FLOAT_ACTIVATIONS
        for (what, values), limit in zip(shown.items(), limits, strict=True):
            worst = names[int(values.argmax())]
            name = f"{model} xnnpack_on_off {what}"
            if shipped_as_float:
                evidence.check(name, float(values.max()), limit=limit, worst=worst, mean=values.mean(), n=len(names))
            else:
                evidence.measure(f"{name}, largest", float(values.max()))
        evidence.check(f"{model} smallest_spread", float(spread.min()), limit=0, op=">", unit="logit", n=len(names))


@pytest.mark.experiment("E5.5")
def test_the_pinned_configuration_is_the_one_that_ran(
    evidence: Any, bundle: Any, policy: Any, detector: Any, tensors: tuple[list[str], NDArray[np.float32]]
) -> None:
    """By what the detector's runtime says and by its bits; preserving all tensors is another configuration."""
    about, pinned = detector.runtime.describe(), policy.runtime
    wanted = {
        "runtime": pinned.backend,
        "delegate": pinned.delegate,
        "threads": pinned.threads,
        "preserve_all_tensors": False,
        "model_sha256": bundle.manifest.files[MODEL_FILE].sha256,
    }
    wrong = [
        f"{key} is {about.get(key)!r}, pinned {value!r}" for key, value in wanted.items() if about.get(key) != value
    ]
    evidence.none("settings_other_than_the_contract_s", wrong, n=len(wanted), unit="setting")
    fitted_on = bundle.calibration.fitted_on_model_sha256
    evidence.none("calibration_of_another_file", [] if about["model_sha256"] == fitted_on else [fitted_on], n=1)
    for key, value in about.items():
        evidence.measure(key, value)
    names, batch = tensors
    plain = TFLiteRuntime(bundle.read(MODEL_FILE), threads=pinned.threads, xnnpack=wants_xnnpack(pinned.delegate))
    expected, found = (_in_batches(runtime, batch, 1) for runtime in (plain, detector.runtime))
    differing = [name for k, name in enumerate(names) if expected[k].tobytes() != found[k].tobytes()]
    evidence.none("maps_other_than_the_pinned_configuration_s", differing, n=len(names), unit="map")


@pytest.mark.experiment("E5.5")
def test_delegates_that_cannot_be_had_are_not_tested(evidence: Any) -> None:
    """Asking for one is an error with a name; it never falls back to another in silence."""
    silent = []
    for name in NOT_HERE:
        try:
            wants_xnnpack(name)
        except DelegateError as error:
            evidence.not_tested(f"delegate {name}", str(error))
        else:
            silent.append(name)
    evidence.none("delegates_replaced_in_silence", silent, n=len(NOT_HERE), unit="delegate")


@pytest.mark.experiment("E5.5")
@pytest.mark.parametrize(("given", "answered"), BOUNDARIES, ids=lambda one: f"{one.dtype}-{one.scale:g}")
def test_integer_boundary_is_exact(evidence: Any, given: AffineQuantisation, answered: AffineQuantisation) -> None:
    """Integer input and output against LiteRT's own QUANTIZE and DEQUANTIZE around the same graph, bit for bit."""
    probes = _probes(given)
    ours = TFLiteRuntime(MadeModel(given, answered).content()).patch_map(probes)
    theirs = TFLiteRuntime(MadeModel(given, answered, inside=True).content()).patch_map(probes)
    ends = np.iinfo(given.dtype)
    seen = probes[:, :248:8, :248:8, 0]
    beyond = np.abs(seen / np.float32(given.scale)) > 2.0 * ends.max
    rows = {"inside": ~beyond, "beyond": beyond}
    for where, chosen in rows.items():
        wrong = int((ours[chosen] != theirs[chosen]).sum())
        evidence.check(f"values_{where}_the_range_differing", wrong, limit=0, op="==", n=int(chosen.sum()))
    # the same in integers of this test's own, so that no constant offset or factor is shared
    steps = [(q - answered.zero_point) * float(answered.scale) for q in (ends.min, ends.max)]
    found = [float(ours.min()), float(ours.max())]
    error = max(abs(a - b) for a, b in zip(steps, found, strict=True))
    evidence.check("ends_of_the_range_differ_by", error, limit=1e-6 * max(map(abs, steps)), n=2, unit="logit")


def _probes(quantisation: AffineQuantisation) -> NDArray[np.float32]:
    """Tensors whose seen pixels are ties between two integers, their neighbours, noise, and values far outside."""
    ends, scale = np.iinfo(quantisation.dtype), np.float32(quantisation.scale)
    steps = np.linspace(ends.min - 5, ends.max + 5, 300).round()
    ties = ((steps + 0.5 - quantisation.zero_point) * scale).astype(np.float32)
    above, below = (np.nextafter(ties, np.float32(end)) for end in (np.inf, -np.inf))
    far = np.array([3, -3, 40, -40, 1000, -1000], np.float32) * scale * ends.max
    noise = np.random.default_rng(55).normal(0, 40, 3 * 961).astype(np.float32) * scale
    noise[: 3 * len(ties) + len(far)] = np.concatenate([ties, above, below, far])
    probes = np.zeros((3, 256, 256, 3), np.float32)
    probes[:, :248:8, :248:8, 0] = noise.reshape(3, 31, 31)
    return probes


@pytest.mark.experiment("E5.5")
def test_a_scale_that_is_not_above_zero_is_refused(evidence: Any) -> None:
    """At the input and at the output; LiteRT itself loads such files."""
    good, accepted, n = AffineQuantisation("int8", 0.02, 0), [], 0
    for scale in (0.0, -0.02, float("nan"), float("inf")):
        for side in ("input", "output"):
            bad, n = AffineQuantisation("int8", scale, 0), n + 1
            made = MadeModel(bad, good) if side == "input" else MadeModel(good, bad)
            try:
                TFLiteRuntime(made.content(), verified=True)
            except RuntimeFileError:
                continue
            accepted.append(f"scale {scale} at the {side}")
    evidence.none("files_accepted", accepted, n=n, unit="file")


@pytest.mark.experiment("E5.5")
def test_a_stale_file_is_refused(evidence: Any, bundle: Any, tmp_path: Path) -> None:
    """Last week's model: beside a manifest of this week's, with a manifest of its own, and put in after loading."""
    accepted = []
    for name, arrange in (("old_file", _put_in), ("old_file_listed", _put_in_and_list), ("changed_later", None)):
        copy = tmp_path / name
        shutil.copytree(bundle.path, copy)
        try:
            if arrange is None:
                loaded = load_bundle(copy)
                _put_in(copy)
            else:
                arrange(copy)
                loaded = load_bundle(copy)
            loaded.read(MODEL_FILE)
        except BundleError:
            continue
        accepted.append(name)
    evidence.none("stale_files_accepted", accepted, n=3, unit="bundle")


def _put_in(folder: Path) -> None:
    """Another model that would run: one byte of the weights changed."""
    content = bytearray((folder / MODEL_FILE).read_bytes())
    content[_weight(bytes(content))] ^= 1
    (folder / MODEL_FILE).write_bytes(bytes(content))
    TFLiteRuntime(bytes(content))


def _put_in_and_list(folder: Path) -> None:
    _put_in(folder)
    write_manifest(folder)


def _weight(content: bytes) -> int:
    """Position of a byte of the largest buffer."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    arrays = [model.Buffers(k).DataAsNumpy() for k in range(model.BuffersLength())]
    largest = max((one.tobytes() for one in arrays if isinstance(one, np.ndarray)), key=len)
    return content.index(largest)


@pytest.mark.experiment("E5.5")
def test_a_cold_prediction_keeps_the_memory_budget(
    evidence: Any, bundle: Any, contract: Any, golden: Any, tmp_path: Path
) -> None:
    """A process of its own judges one golden face with this bundle; the operating system says how large it grew."""
    if contract.digest != bundle.contract.digest:
        evidence.not_tested(
            "peak memory", "a process of its own runs under the bundle's contract, not under --contract"
        )
        return
    settings, portrait = bundle.contract.policy.runtime, Path(golden.by_set("in_scope")[0].path)
    command = ["-m", "ecdd", "predict", str(portrait), "--json", "--bundle", str(bundle.path)]
    done = launch(command, keeping_compiled(tmp_path) | {"PYTHONPATH": str(ROOT)})
    evidence.check("peak_memory", done.megabytes, limit=settings.max_memory, unit="MB", worst=[portrait.name], n=1,
                   clause="runtime.max_memory")  # fmt: skip
    why = f"{settings.max_latency:g} ms are timed on a quiet machine by make bench; gates time nothing"
    evidence.not_tested("runtime.max_latency", why)
