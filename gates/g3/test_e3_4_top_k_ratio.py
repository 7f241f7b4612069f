"""E3.4 top-k ratio and ties: top-k ratios of 0.01, 0.02, 0.05 and 0.1 are compared; how K is counted and how ties are
broken is defined and tested.

A rounding of K or an unstable sort gives two machines two logits for one map. Fails when K is not what the ratio
says, or when the order of equal cells matters.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ecdd.inference.pooling import pool, top_k_count, top_k_indices
from gates.support.fixtures import Evidence, NotTested, PolicyContract
from gates.support.pooling_study import TOP_K_RATIOS, StudiedFace, Studies, choose, name_of, study, variants


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.4")
def test_k_is_the_ceiling_of_the_ratio_as_written(evidence: Evidence, policy: PolicyContract) -> None:
    cells = policy.patch_grid.rows * policy.patch_grid.cols
    wrong = []
    for ratio in (*TOP_K_RATIOS, 0.07, 0.29, 1.0, 1e-6):
        for n in (cells, 100, 7):
            exact = max(1, -((-Fraction(str(ratio)) * n) // 1))
            counted = top_k_count(ratio, n)
            chosen = len(top_k_indices(np.arange(n, dtype=np.float32), ratio))
            if not counted == chosen == exact:
                wrong.append(f"ratio {ratio} of {n}: {counted}, {chosen} indices, exact {exact}")
    evidence.none("counts_differing_from_the_ceiling", wrong, n=24, unit="count")
    evidence.measure("k_of_the_contract", top_k_count(policy.pooling.top_k_ratio, cells), "cell")


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.4")
def test_ties_go_to_the_lowest_index(evidence: Evidence, policy: PolicyContract) -> None:
    """Maps with few levels, as quantised models give: the indices follow from sorting by (value, index)."""
    rows, cols, wrong, moved = policy.patch_grid.rows, policy.patch_grid.cols, [], []
    n = 0
    for seed in range(20):
        for levels in (1, 2, 5, 40):
            values = np.random.default_rng([seed, levels]).integers(0, levels, rows * cols).astype(np.float32)
            for ratio in TOP_K_RATIOS:
                n += 1
                k = top_k_count(ratio, values.size)
                expected = sorted(range(values.size), key=lambda i: (-values[i], i))[:k]
                if top_k_indices(values, ratio).tolist() != expected:
                    wrong.append(f"seed {seed}, {levels} levels, ratio {ratio}")
                rule = policy.pooling.model_copy(update={"rule": "top_k", "top_k_ratio": ratio})
                shuffled = np.random.default_rng(seed).permutation(values)
                if pool(values.reshape(rows, cols), rule) != pool(shuffled.reshape(rows, cols), rule):
                    moved.append(f"seed {seed}, {levels} levels, ratio {ratio}")
    evidence.none("ties_not_by_lowest_index", wrong, n=n, unit="map")
    evidence.none("pooled_logits_moved_by_order_of_ties", moved, n=n, unit="map")


@pytest.mark.usefixtures("pooled_map")
@pytest.mark.experiment("E3.4")
def test_ratio_sweep(evidence: Evidence, studied: Studies, policy: PolicyContract) -> None:
    """Every ratio on the same maps; CALIBRATION pictures set the contract's ratio by the rule of choice (E3.3)."""
    _sweep(evidence, "golden", studied("golden"), policy)
    if not studied("data"):
        raise NotTested("choice of the top-k ratio", "needs --data")
    chosen = _sweep(evidence, "data", studied("data"), policy)
    same = int(chosen == name_of(policy.pooling, "top_k"))
    evidence.check("contract_holds_the_chosen_ratio", same, limit=1, op="==", worst=[chosen], n=len(studied("data")))


def _sweep(evidence: Evidence, origin: str, faces: list[StudiedFace], policy: PolicyContract) -> str:
    found = study(faces, variants(policy.pooling, "top_k"))
    labels = np.array([face.label for face in faces])
    chosen = choose(found, labels, policy.pooling.max_patch_reaction, policy.operating_point.confidence)
    evidence.table(f"ratios_{origin}", [measured.row for measured in found.values()])
    evidence.check(f"{origin}_ratios_measured", len(found), limit=len(TOP_K_RATIOS), op="==", n=len(faces))
    return chosen
