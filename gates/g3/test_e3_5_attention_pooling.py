"""E3.5 attention pooling: attention weights and pooled logit are stable over repeats, threads and runtimes; the
softmax is numerically safe.

exp() overflows at 89 in float32, and one extreme cell then makes the whole verdict NaN. Fails when weights or logit
differ between repeats, threads or runtimes beyond rounding, or when extreme maps give anything that is not finite.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from ecdd.contract.model_sections import Pooling
from ecdd.inference.pooling import RULES, attention_weights, pool, pooled_logits
from ecdd.runtimes.base import ModelOutputs
from ecdd.runtimes.registry import load_runtime
from gates.support.fixtures import Bundle, Evidence, NotTested, PolicyContract
from gates.support.pooling_study import TEMPERATURES, Studies, choose, name_of, study, variants

Batch = dict[str, NDArray[np.float32]]
RUNTIMES = ("tflite", "onnx")
REPEATS = 3
THREADS = (1, 2, 4)


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.5")
def test_weights_are_the_same_over_repeats_and_threads(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, golden_batch: Batch
) -> None:
    rule, batch = policy.pooling.model_copy(update={"rule": "attention"}), np.stack(list(golden_batch.values()))
    for name in RUNTIMES:
        first: dict[str, tuple[bytes, float]] = {}
        differing = []
        for threads in THREADS:
            runtime = load_runtime(bundle, name, threads)
            for repeat in range(REPEATS):
                maps = runtime.patch_map(batch)
                weights = [attention_weights(m.reshape(-1), rule.attention_temperature).tobytes() for m in maps]
                now = dict(zip(golden_batch, zip(weights, (pool(m, rule) for m in maps), strict=True), strict=True))
                first = first or now
                differing += [f"{key}, {threads} threads, repeat {repeat}" for key in now if now[key] != first[key]]
        n = len(golden_batch) * len(THREADS) * REPEATS
        evidence.none(f"{name}_attention_differs", differing, n=n, unit="face")


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.5")
def test_runtimes_agree(evidence: Evidence, bundle: Bundle, policy: PolicyContract, golden_batch: Batch) -> None:
    """A difference d of two logits moves log weights by at most 2 d / temperature: the limit follows from S5's."""
    batch, n = np.stack(list(golden_batch.values())), len(golden_batch)
    rule = policy.pooling.model_copy(update={"rule": "attention"})
    temperature = rule.attention_temperature
    one, two = (load_runtime(bundle, name, 1).patch_map(batch) for name in RUNTIMES)
    logits, weights = [], []
    for key, a, b in zip(golden_batch, one, two, strict=True):
        logits.append((abs(pool(a, rule) - pool(b, rule)), key))
        logs = [
            np.log(attention_weights(m.reshape(-1).astype(np.float32), temperature).astype(np.float64)) for m in (a, b)
        ]
        allowed = 2 * policy.patch_grid.tolerance_s5 * float(np.ptp(b)) / temperature
        weights.append((float(np.abs(logs[0] - logs[1]).max()) / allowed, key))
    off, key = max(logits)
    evidence.check("attention_logit_differs", off, limit=policy.pooling.tolerance_s6, unit="logit", worst=[key], n=n)
    off, key = max(weights)
    evidence.check("attention_log_weight_differs", off, limit=1, unit="of the limit", worst=[key], n=n)


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.5")
def test_softmax_is_numerically_safe(evidence: Evidence, policy: PolicyContract) -> None:
    """Logits that overflow a softmax that does not subtract the maximum, and those that underflow."""
    cells = policy.patch_grid.rows * policy.patch_grid.cols
    noise = np.random.default_rng(0).normal(0, 1, cells).astype(np.float32)
    cases = {
        "large": noise + 1e4,
        "large negative": noise - 1e4,
        "wide": noise * 1e4,
        "equal": np.full(cells, 700, np.float32),
        "one peak": np.where(np.arange(cells) == 5, np.float32(1e30), noise),
        "tiny": noise * np.float32(1e-38),
    }
    wrong, n = [], 0
    for name, values in cases.items():
        for temperature in (1e-3, policy.pooling.attention_temperature, 100.0):
            n += 1
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                weights = attention_weights(values.astype(np.float32), temperature)
            total = float(weights.sum(dtype=np.float64))
            if not (np.isfinite(weights).all() and (weights >= 0).all() and abs(total - 1) <= 1e-5):
                wrong.append(f"{name} at temperature {temperature}: sum {total}")
            if weights[values.argmax()] != weights.max():
                wrong.append(f"{name} at temperature {temperature}: the largest logit has not the largest weight")
    evidence.none("unsafe_softmax", wrong, n=n, unit="map")


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.5")
def test_temperature_sweep(evidence: Evidence, studied: Studies, policy: PolicyContract) -> None:
    """CALIBRATION pictures set the contract's temperature by the rule of choice (E3.3)."""
    origin = "data" if studied("data") else "golden"
    faces = studied(origin)
    found = study(faces, variants(policy.pooling, "attention"))
    labels = np.array([face.label for face in faces])
    chosen = choose(found, labels, policy.pooling.max_patch_reaction, policy.operating_point.confidence)
    evidence.table(f"temperatures_{origin}", [measured.row for measured in found.values()])
    evidence.check(f"{origin}_temperatures_measured", len(found), limit=len(TEMPERATURES), op="==", n=len(faces))
    if origin == "golden":
        raise NotTested("choice of the attention temperature", "needs --data")
    same = int(chosen == name_of(policy.pooling, "attention"))
    evidence.check("contract_holds_the_chosen_temperature", same, limit=1, op="==", worst=[chosen], n=len(faces))


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.5")
def test_a_map_is_pooled_alone_whatever_it_is_batched_with(evidence: Evidence, policy: PolicyContract) -> None:
    """One extreme map among usual ones, at every place: each pooled logit is the one of its map alone, bit for bit."""
    shape = (policy.patch_grid.rows, policy.patch_grid.cols)
    usual = np.random.default_rng(5).normal(0, 2, (4, *shape)).astype(np.float32)
    extremes = {"large": usual[0] + np.float32(3e4), "small": usual[0] - np.float32(3e4), "wide": usual[0] * 1e4}
    wrong, n = [], 0
    for rule in RULES:
        asked = policy.pooling.model_copy(update={"rule": rule})
        for (name, extreme), place in itertools.product(extremes.items(), range(len(usual))):
            batch = np.insert(usual[:-1], place, extreme.astype(np.float32), axis=0)
            together = pooled_logits(ModelOutputs(batch, None), asked)
            alone = [pooled_logits(ModelOutputs(one[None], None), asked)[0] for one in batch]
            n += 1
            if together.tobytes() != np.array(alone, np.float32).tobytes():
                wrong.append(f"{rule}: {name} at {place}")
            exact = attention_in_float64(batch, asked) if rule == "attention" else None
            if exact is not None and np.abs(together - exact).max() > 1e-5 * np.abs(batch).max():
                wrong.append(f"{rule}: {name} at {place}, off the formula")
    evidence.none("pooled_by_its_neighbours", wrong, n=n, unit="batch")


def attention_in_float64(batch: NDArray[np.float32], policy: Pooling) -> NDArray[np.float64]:
    """The rule's formula, map by map, written out apart from the pipeline."""
    flat = batch.reshape(len(batch), -1).astype(np.float64)
    weights = np.exp((flat - flat.max(axis=1, keepdims=True)) / policy.attention_temperature)
    return np.asarray((weights * flat).sum(axis=1) / weights.sum(axis=1))
