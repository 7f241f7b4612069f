"""E5.5 runtime invariance: the answers do not depend on XNNPACK on or off or on 1, 2 or 4 threads; the bundle's
pinned configuration is the one measured; delegates that cannot be had on this machine (NNAPI, GPU) are recorded as
not tested, never as passed.

Threads and kernels add in another order, and a phone chooses both. The tensors are the golden faces' S4, computed
from their frozen S3, so that nothing before the model takes part. Fails when a configuration moves a bit where none
may move, leaves the tolerance, or was not the one that ran, or when memory exceeds the contract's budget.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.loading import load_bundle
from ecdd.bundle.manifest import CONTRACT_FILE, MODEL_FILE
from ecdd.bundle.variants import place
from ecdd.bundle.writing import write_manifest
from ecdd.contract.loading import load_contract
from ecdd.inference.calibration import AppliedCalibration
from ecdd.inference.stages import judge
from ecdd.parity.runtime_invariance import invariance
from ecdd.runtimes.base import DelegateError, PatchRuntime, RuntimeFileError
from ecdd.runtimes.integer_io import AffineQuantisation
from ecdd.runtimes.model_interface import ModelInterface
from ecdd.runtimes.registry import load_runtime
from ecdd.runtimes.tflite import NOT_HERE, TFLiteRuntime, wants_xnnpack
from gates.support.fixtures import (
    Bundle,
    Detector,
    Evidence,
    FrozenStages,
    GoldenSet,
    LoadedContract,
    NotTested,
    PolicyContract,
)
from gates.support.made_models import SIDE, MadeModel, seen
from gates.support.mode_parity import Tensors, frozen_tensors
from gates.support.processes import keeping_compiled, launch

ROOT = Path(__file__).resolve().parents[2]
PINNED = "the pinned configuration"
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
def tensors(golden: GoldenSet, frozen: FrozenStages, policy: PolicyContract) -> Tensors:
    """Every golden face of the in-scope set."""
    return frozen_tensors(golden.by_set("in_scope"), frozen, policy)


def _outputs(runtime: PatchRuntime, batch: NDArray[np.float32], size: int) -> dict[str, NDArray[np.float32]]:
    """Maps and pooled logits of all tensors in batches of a size; the last batch is the shorter one."""
    parts = [runtime.outputs(batch[start : start + size]) for start in range(0, len(batch), size)]
    maps = np.concatenate([one.maps for one in parts])
    pooled = [one.pooled for one in parts if one.pooled is not None]
    return {"maps": maps, "pooled": np.concatenate(pooled)} if pooled else {"maps": maps}


@pytest.mark.experiment("E5.5")
def test_threads_batches_and_repeats_change_no_bit(
    evidence: Evidence,
    bundle: Bundle,
    policy: PolicyContract,
    tensors: Tensors,
    mode: str,
) -> None:
    """In the pinned delegate; the other one is tabled beside it."""
    pinned, rows, model = wants_xnnpack(policy.runtime.delegate), [], place(bundle, mode, MODEL_FILE)
    for xnnpack in (pinned, not pinned):
        faces, repeats = (len(tensors.batch), REPEATS) if xnnpack == pinned else (BATCH, 1)
        alone = load_runtime(bundle, "tflite", policy.runtime.threads, xnnpack=xnnpack, file=model)
        found = {PINNED: _outputs(alone, tensors.batch[:faces], 1)}
        for threads in THREADS:
            runtime = load_runtime(bundle, "tflite", threads, xnnpack=xnnpack, file=model)
            for size, time in itertools.product((1, BATCH), range(1, repeats + 1)):
                found[f"{threads} threads, batch {size}, time {time}"] = _outputs(runtime, tensors.batch[:faces], size)
        changed = invariance(found, PINNED)
        wrong = [f"{tensors.names[place]}, {one.name}" for one in changed for place in one.differing]
        n = sum(one.n for one in changed)
        rows.append({"file": model, "xnnpack": xnnpack, "maps": n, "differing": len(wrong)})
        if xnnpack == pinned:
            evidence.none(f"{model} maps_with_another_bit", wrong, n=n, unit="map")
    evidence.table("threads 1, 2, 4 and batches 1, 8 against the pinned threads and batch 1", rows)


@pytest.mark.experiment("E5.5")
def test_threads_are_really_started(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, tensors: Tensors
) -> None:
    """The invariance would be worthless where every setting ran on one thread: the system counts them."""
    if not wants_xnnpack(policy.runtime.delegate):
        raise NotTested("threads by count", "the pool of the kernels without XNNPACK keeps its threads")
    process, wrong, started = psutil.Process(), [], {}
    for threads in THREADS:
        before = process.num_threads()
        runtime = load_runtime(bundle, "tflite", threads)
        runtime.patch_map(tensors.batch[:1])
        started[threads] = process.num_threads() - before
        if started[threads] != threads - 1:
            wrong.append(f"{threads} threads: {started[threads]} beside the caller's")
        del runtime
    evidence.none("settings_with_another_count_of_threads", wrong, n=len(THREADS), unit="setting")
    evidence.table("threads started", [{"threads": t, "beside_the_caller": count} for t, count in started.items()])


@pytest.mark.experiment("E5.5")
def test_other_kernels_are_measured(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, tensors: Tensors
) -> None:
    """XNNPACK on against off: float kernels keep the contract's budget, integer kernels round otherwise."""
    calibration, grid, names = AppliedCalibration.of(bundle.calibration), policy.patch_grid, tensors.names
    for model in sorted(name for name in bundle.manifest.files if name.endswith(".tflite")):
        both = [load_runtime(bundle, "tflite", 1, xnnpack=xnnpack, file=model) for xnnpack in (True, False)]
        found = [runtime.outputs(tensors.batch) for runtime in both]
        on, off = (one.maps for one in found)
        # a map of one cell has no spread of its own: the pictures' is taken
        spread = np.ptp(on, axis=(1, 2)) if on[0].size > 1 else np.full(len(on), np.ptp(on))
        patch = np.abs(on - off).max(axis=(1, 2)) / spread
        faces = [judge(one, len(names), grid, policy.pooling, calibration) for one in found]
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
    evidence: Evidence,
    bundle: Bundle,
    policy: PolicyContract,
    detector: Detector,
    tensors: Tensors,
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
    other = [key for key, value in wanted.items() if about.get(key) != value]
    wrong = [f"{key} is {about.get(key)!r}, pinned {wanted[key]!r}" for key in other]
    evidence.none("settings_other_than_the_contract_s", wrong, n=len(wanted), unit="setting")
    fitted_on = bundle.calibration.fitted_on_model_sha256
    evidence.none("calibration_of_another_file", [] if about["model_sha256"] == fitted_on else [fitted_on], n=1)
    for key, value in about.items():
        evidence.measure(key, value)
    plain = load_runtime(bundle, "tflite", pinned.threads, xnnpack=wants_xnnpack(pinned.delegate))
    runtimes = {PINNED: plain, "the detector": detector.runtime}
    (found,) = invariance({name: _outputs(one, tensors.batch, 1) for name, one in runtimes.items()}, PINNED)
    differing = [tensors.names[place] for place in found.differing]
    evidence.none("maps_other_than_the_pinned_configuration_s", differing, n=found.n, unit="map")


@pytest.mark.experiment("E5.5")
def test_delegates_that_cannot_be_had_are_not_tested(evidence: Evidence) -> None:
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
def test_integer_boundary_is_exact(evidence: Evidence, given: AffineQuantisation, answered: AffineQuantisation) -> None:
    """Integer input and output against LiteRT's own QUANTIZE and DEQUANTIZE around the same graph, bit for bit."""
    probes = _probes(given)
    ours = TFLiteRuntime(MadeModel(given, answered).content()).patch_map(probes)
    theirs = TFLiteRuntime(MadeModel(given, answered, inside=True).content()).patch_map(probes)
    ends = np.iinfo(given.dtype)
    beyond = np.abs(seen(probes) / np.float32(given.scale)) > 2.0 * ends.max
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
    probes = np.zeros((3, SIDE, SIDE, 3), np.float32)
    cells = seen(probes)
    noise = np.random.default_rng(55).normal(0, 40, cells.size).astype(np.float32) * scale
    noise[: 3 * len(ties) + len(far)] = np.concatenate([ties, above, below, far])
    cells[...] = noise.reshape(cells.shape)
    return probes


@pytest.mark.experiment("E5.5")
def test_a_scale_that_is_not_above_zero_is_refused(evidence: Evidence) -> None:
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
def test_a_stale_file_is_refused(evidence: Evidence, bundle: Bundle, tmp_path: Path) -> None:
    """Last week's model: beside a manifest of this week's, with a manifest of its own, and put in after loading."""
    ways = {"old_file": _beside_the_manifest, "old_file_listed": _listed, "changed_later": _after_loading}
    accepted = []
    for name, read_stale in ways.items():
        shutil.copytree(bundle.path, tmp_path / name)
        try:
            read_stale(tmp_path / name)
        except BundleError:
            continue
        accepted.append(name)
    evidence.none("stale_files_accepted", accepted, n=len(ways), unit="bundle")


def _put_in(folder: Path) -> None:
    """Another model that would run: one byte of the weights changed."""
    content = bytearray((folder / MODEL_FILE).read_bytes())
    content[_weight(bytes(content))] ^= 1
    (folder / MODEL_FILE).write_bytes(bytes(content))
    policy = load_contract(folder / CONTRACT_FILE).policy
    TFLiteRuntime(bytes(content), interface=ModelInterface.of(policy, "tflite"))


def _beside_the_manifest(folder: Path) -> None:
    _put_in(folder)
    load_bundle(folder).read(MODEL_FILE)


def _listed(folder: Path) -> None:
    _put_in(folder)
    write_manifest(folder)
    load_bundle(folder).read(MODEL_FILE)


def _after_loading(folder: Path) -> None:
    loaded = load_bundle(folder)
    _put_in(folder)
    loaded.read(MODEL_FILE)


def _weight(content: bytes) -> int:
    """Position of a byte of the largest buffer."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    arrays = [model.Buffers(k).DataAsNumpy() for k in range(model.BuffersLength())]
    largest = max((one.tobytes() for one in arrays if isinstance(one, np.ndarray)), key=len)
    return content.index(largest)


@pytest.mark.experiment("E5.5")
def test_a_cold_prediction_keeps_the_memory_budget(
    evidence: Evidence, bundle: Bundle, contract: LoadedContract, golden: GoldenSet, tmp_path: Path
) -> None:
    """A process of its own judges one golden face with this bundle; the operating system says how large it grew."""
    if contract.digest != bundle.contract.digest:
        raise NotTested("peak memory", "a process of its own runs under the bundle's contract, not under --contract")
    settings, portrait = bundle.contract.policy.runtime, Path(golden.by_set("in_scope")[0].path)
    command = ["-m", "ecdd", "predict", str(portrait), "--json", "--bundle", str(bundle.path)]
    done = launch(command, keeping_compiled(tmp_path) | {"PYTHONPATH": str(ROOT)})
    limit, clause = settings.max_memory, "runtime.max_memory"
    evidence.check("peak_memory", done.megabytes, limit=limit, unit="MB", worst=[portrait.name], n=1, clause=clause)
    why = f"{settings.max_latency:g} ms are timed on a quiet machine by make bench; gates time nothing"
    evidence.not_tested("runtime.max_latency", why)
