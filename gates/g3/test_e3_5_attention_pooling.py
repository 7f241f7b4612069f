"""E3.5 attention pooling: attention weights and pooled logit are stable over repeats, threads and runtimes; the
softmax is numerically safe.

exp() overflows at 89 in float32, and one extreme cell then makes the whole verdict NaN. Fails when weights or logit
differ between repeats, threads or runtimes beyond rounding, or when extreme maps give anything that is not finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecdd.detector import load_runtime
from ecdd.inference.pooling import attention_weights, pool
from ecdd.pipeline.preprocess import normalise
from gates.support.fixtures import Bundle, Evidence, GoldenSet, PolicyContract, Prepared
from gates.support.pooling_study import TEMPERATURES, choose, name_of, study, variants

REPEATS = 3
THREADS = (1, 2, 4)


def golden_batch(golden: GoldenSet, prepared: Prepared, policy: PolicyContract) -> tuple[Any, list[str]]:
    """S4 of the first face of every in-scope golden picture, and the names."""
    found = [(item.id, prepared(item).faces) for item in golden.by_set("in_scope")]
    kept = [(name, faces[0]) for name, faces in found if faces]
    return np.stack([normalise(face.s3, policy.pixel_pipeline) for _, face in kept]), [name for name, _ in kept]


@pytest.mark.experiment("E3.5")
@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_weights_are_the_same_over_repeats_and_threads(
    name: str, evidence: Evidence, bundle: Bundle, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    batch, names = golden_batch(golden, prepared, policy)
    rule = policy.pooling.model_copy(update={"rule": "attention"})
    first, differing = None, []
    for threads in THREADS:
        runtime = load_runtime(bundle, name, threads)
        for repeat in range(REPEATS):
            maps = runtime.patch_map(batch)
            now = [
                (attention_weights(m.reshape(-1), rule.attention_temperature).tobytes(), pool(m, rule)) for m in maps
            ]
            first = first or now
            differing += [
                f"{key}, {threads} threads, repeat {repeat}"
                for key, a, b in zip(names, now, first, strict=True)
                if a != b
            ]
    evidence.none(f"{name}_attention_differs", differing, n=len(names) * len(THREADS) * REPEATS, unit="face")


@pytest.mark.experiment("E3.5")
def test_runtimes_agree(
    evidence: Evidence, bundle: Bundle, golden: GoldenSet, prepared: Prepared, policy: PolicyContract
) -> None:
    """A difference d of two logits moves log weights by at most 2 d / temperature: the limit follows from S5's."""
    batch, names = golden_batch(golden, prepared, policy)
    rule = policy.pooling.model_copy(update={"rule": "attention"})
    temperature = rule.attention_temperature
    one, two = (load_runtime(bundle, name, 1).patch_map(batch) for name in ("tflite", "onnx"))
    logits, weights = [], []
    for key, a, b in zip(names, one, two, strict=True):
        logits.append((abs(pool(a, rule) - pool(b, rule)), key))
        logs = [
            np.log(attention_weights(m.reshape(-1).astype(np.float32), temperature).astype(np.float64)) for m in (a, b)
        ]
        allowed = 2 * policy.patch_grid.tolerance_s5 * float(np.ptp(b)) / temperature
        weights.append((float(np.abs(logs[0] - logs[1]).max()) / allowed, key))
    limit, worst = policy.pooling.tolerance_s6, max(logits)
    evidence.check("attention_logit_differs", worst[0], limit=limit, unit="logit", worst=[worst[1]], n=len(names))
    worst = max(weights)
    evidence.check(
        "attention_log_weight_differs", worst[0], limit=1, unit="of the limit", worst=[worst[1]], n=len(names)
    )


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


@pytest.mark.experiment("E3.5")
def test_temperature_sweep(evidence: Evidence, studied: Any, policy: PolicyContract) -> None:
    """CALIBRATION pictures set the contract's temperature by the rule of choice (E3.3)."""
    faces, origin = studied("data"), "data"
    if not faces:
        evidence.not_tested("choice of the attention temperature", "needs --data")
        faces, origin = studied("golden"), "golden"
    found = study(faces, variants(policy.pooling, "attention"))
    labels = np.array([face.label for face in faces])
    chosen = choose(found, labels, policy.pooling.max_patch_reaction, policy.operating_point.confidence)
    evidence.table(f"temperatures_{origin}", [measured.row for measured in found.values()])
    evidence.check(f"{origin}_temperatures_measured", len(found), limit=len(TEMPERATURES), op="==", n=len(faces))
    if origin == "data":
        same = int(chosen == name_of(policy.pooling, "attention"))
        evidence.check("contract_holds_the_chosen_temperature", same, limit=1, op="==", worst=[chosen], n=len(faces))
