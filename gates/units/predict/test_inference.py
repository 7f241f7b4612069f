"""S5 to S8 as functions: geometry, pooling, calibration and the decision table."""

from __future__ import annotations

import itertools
import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ecdd.bundle import load_bundle
from ecdd.contract.model_sections import PatchGrid, Pooling, PoolingRule
from ecdd.inference.calibration import UNCALIBRATED, AppliedCalibration, probability
from ecdd.inference.decision import Decision, decide
from ecdd.inference.patch_grid import PixelBox, cell_box, cell_box_in_picture, cells_seeing, standing_for, unseen_from
from ecdd.inference.pooling import RULES, attention_weights, pool, top_k_indices
from ecdd.inference.stages import ModelOutputError, argmax_cell, judge, map_checksum
from ecdd.runtimes.base import ModelOutputs
from gates.support.pooling_study import reference_pool

POLICY = load_bundle("tiny").contract.policy
GRID, POOLING = POLICY.patch_grid, POLICY.pooling

RANKED = [name for name, rule in RULES.items() if rule.ranks is not None]
SEEDED = settings(deadline=None, max_examples=60, derandomize=True)

grids = st.builds(
    lambda rows, cols, stride, field, padding: GRID.model_copy(
        update={"rows": rows, "cols": cols, "stride": stride, "receptive_field": field, "padding": padding}
    ),
    *(st.integers(1, 12), st.integers(1, 12), st.integers(1, 16), st.integers(1, 24), st.integers(0, 4)),
)
logits = st.floats(-50, 50, width=32)
maps = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=logits)


def pooling(rule: str, **values: Any) -> Pooling:
    return POOLING.model_copy(update={"rule": rule, **values})


# geometry


@SEEDED
@given(grids, st.data())
def test_cells_seeing_is_the_inverse_of_cell_box(grid: PatchGrid, data: st.DataObject) -> None:
    y, x = data.draw(st.integers(-8, 220)), data.draw(st.integers(-8, 220))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    box = PixelBox(y, x, y + height, x + width)
    rows, cols = cells_seeing(box, grid)
    for i, j in itertools.product(range(grid.rows), range(grid.cols)):
        cell = cell_box(i, j, grid)
        shares = cell.y0 < box.y1 and box.y0 < cell.y1 and cell.x0 < box.x1 and box.x0 < cell.x1
        assert shares == (i in rows and j in cols), f"cell {(i, j)} with {cell} against {box}"


def test_an_empty_box_is_seen_by_no_cell() -> None:
    rows, cols = cells_seeing(PixelBox(10, 10, 10, 12), GRID)
    assert len(rows) == 0
    assert len(cols) > 0


def test_the_shipped_grid_sees_248_rows_and_no_more() -> None:
    assert cell_box(0, 0, GRID) == (0, 0, 9, 9)
    assert cell_box(30, 30, GRID) == (240, 240, 249, 249)
    assert unseen_from(GRID) == (249, 249)
    rows, cols = cells_seeing(PixelBox(249, 249, 256, 256), GRID)
    assert (len(rows), len(cols)) == (0, 0)
    assert list(cells_seeing(PixelBox(248, 0, 249, 1), GRID)[0]) == [30]
    assert list(cells_seeing(PixelBox(8, 0, 9, 1), GRID)[0]) == [0, 1], "row 8 is seen by two cells"


@pytest.mark.parametrize("cell", [(-1, 0), (0, -1), (31, 0), (0, 31)])
def test_a_cell_outside_the_grid_is_refused(cell: tuple[int, int]) -> None:
    with pytest.raises(IndexError, match="outside the grid"):
        cell_box(*cell, GRID)


def test_a_cell_goes_back_to_the_picture_through_the_crop() -> None:
    box = cell_box_in_picture(2, 5, GRID, (100, 40, 100 + 512, 40 + 128), 256)
    assert box == pytest.approx((100 + 40 * 2, 40 + 16 / 2, 100 + 49 * 2, 40 + 25 / 2))


def test_a_cell_that_sees_everything_stands_for_its_tile() -> None:
    assert standing_for(GRID, 256) is GRID
    wide = {"rows": 8, "cols": 8, "stride": 32, "receptive_field": 787, "padding": 362}
    tiles = standing_for(GRID.model_copy(update=wide), 256)
    assert [cell_box(i, 1, tiles) for i in (0, 7)] == [PixelBox(0, 32, 32, 64), PixelBox(224, 32, 256, 64)]


# pooling


def test_every_rule_of_the_contract_is_there_with_a_knob_of_it() -> None:
    assert set(RULES) == set(get_args(PoolingRule)) - {"none"}
    assert {rule.knob for rule in RULES.values()} - {""} <= set(type(POOLING).model_fields)


@pytest.mark.parametrize("rule", RULES)
@SEEDED
@given(maps, st.floats(0.01, 1), st.floats(0, 0.49), st.floats(0.1, 10))
def test_pooling_agrees_with_the_reference(
    rule: str, values: NDArray[np.float32], ratio: float, trim: float, temperature: float
) -> None:
    policy = pooling(rule, top_k_ratio=ratio, trim_fraction=trim, attention_temperature=temperature)
    assert pool(values, policy) == pytest.approx(reference_pool(values, policy), abs=2e-3, rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
@SEEDED
@given(maps, st.integers(0, 2**32 - 1))
def test_pooling_does_not_depend_on_the_order_of_cells(rule: str, values: NDArray[np.float32], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(values.ravel()).reshape(values.shape)
    assert pool(shuffled, pooling(rule)) == pytest.approx(pool(values, pooling(rule)), abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
@SEEDED
@given(maps, st.floats(-20, 20, width=32))
def test_a_shift_of_all_cells_shifts_the_pooled_logit(rule: str, values: NDArray[np.float32], shift: float) -> None:
    moved = pool(values + np.float32(shift), pooling(rule))
    assert moved == pytest.approx(pool(values, pooling(rule)) + shift, abs=1e-3)


@pytest.mark.parametrize("rule", RANKED)
@SEEDED
@given(maps, st.data())
def test_a_more_suspicious_cell_never_lowers_the_pooled_logit(
    rule: str, values: NDArray[np.float32], data: st.DataObject
) -> None:
    raised = values.copy()
    cell = data.draw(st.integers(0, values.size - 1))
    raised.flat[cell] += np.float32(data.draw(st.floats(0, 40, width=32)))
    assert pool(raised, pooling(rule)) >= pool(values, pooling(rule)) - 1e-4


@SEEDED
@given(st.floats(0, 50, width=32), st.integers(0, 960))
def test_one_noisy_patch_moves_each_rule_by_its_bound(noise: float, cell: int) -> None:
    calm = np.random.default_rng(7).normal(0, 1, (31, 31)).astype(np.float32)
    noisy = calm.copy()
    noisy.flat[cell] += np.float32(noise)
    moved = {rule: pool(noisy, pooling(rule)) - pool(calm, pooling(rule)) for rule in RANKED}
    chosen = math.ceil(POOLING.top_k_ratio * 961)
    assert moved["mean"] == pytest.approx(noise / 961, abs=1e-5)
    assert -1e-6 <= moved["top_k"] <= noise / chosen + 1e-5
    cut = math.floor(POOLING.trim_fraction * 961)
    inner = np.sort(calm.ravel())[cut : 961 - cut]
    # a trimmed mean sees an outlier at most as the value at the edge of what it keeps
    assert moved["trimmed_mean"] <= (inner[-1] - inner[0] + 0.2) / inner.size


@SEEDED
@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([0.0, 1.0, 2.0])), st.floats(0.01, 1))
def test_ties_in_top_k_go_to_the_lowest_index(values: NDArray[np.float32], ratio: float) -> None:
    count = max(1, math.ceil(ratio * values.size))
    expected = sorted(range(values.size), key=lambda index: (-values[index], index))[:count]
    assert top_k_indices(values, ratio).tolist() == expected


@SEEDED
@given(
    hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**126), 2.0**126, width=32)),
    st.floats(0.01, 100),
)
def test_attention_never_overflows(values: NDArray[np.float32], temperature: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        weights = attention_weights(values, temperature)
    assert np.isfinite(weights).all()
    assert float(weights.sum(dtype=np.float64)) == pytest.approx(1, abs=1e-5)


# calibration, summaries, refusals


@SEEDED
@given(st.floats(-1e6, 1e6), st.floats(0.01, 100), st.floats(-20, 20))
def test_probability_is_one_and_symmetric(logit: float, temperature: float, bias: float) -> None:
    applied = AppliedCalibration(temperature, bias)
    scaled = applied.logit(logit)
    p = probability(scaled)
    assert 0 <= p <= 1
    assert p + probability(-scaled) == pytest.approx(1, abs=1e-12)
    assert applied.logit(logit + 1) >= scaled


def test_probability_at_known_points() -> None:
    assert probability(0.0) == 0.5
    assert probability(math.log(3)) == pytest.approx(0.75)
    assert probability(800.0) == 1.0
    assert probability(-800.0) == 0.0
    assert AppliedCalibration(2.0, 0.25).logit(3.0) == 1.75
    assert UNCALIBRATED.logit(3.0) == 3.0


def test_knots_are_joined_by_lines_and_end_flat() -> None:
    applied = AppliedCalibration(knots=((-1.0, -2.0), (0.0, 0.0), (2.0, 1.0)))
    points = {-5.0: -2.0, -1.0: -2.0, -0.5: -1.0, 0.0: 0.0, 1.0: 0.5, 2.0: 1.0, 9.0: 1.0}
    assert {x: applied.logit(x) for x in points} == points


def test_the_checksum_names_its_rounding_and_feels_one_step() -> None:
    values = np.linspace(-3, 3, 961, dtype=np.float32).reshape(31, 31)
    checksum = map_checksum(values, 0.001)
    assert checksum.startswith("sha256-int32-31x31-step0.001:")
    assert len(checksum.split(":")[1]) == 64
    centre = np.rint(values / 0.001).astype(np.float32) * np.float32(0.001)
    assert map_checksum(centre + np.float32(0.0002), 0.001) == map_checksum(centre, 0.001)
    other = values.copy()
    other[4, 5] += np.float32(0.002)
    assert map_checksum(other, 0.001) != checksum
    assert map_checksum(np.ascontiguousarray(values.T), 0.001) != checksum, "a transposed map must have another one"


def test_the_largest_cell_is_the_first_among_equals() -> None:
    values = np.zeros((31, 31), np.float32)
    assert argmax_cell(values) == (0, 0)
    values[3, 7] = values[9, 1] = 2
    assert argmax_cell(values) == (3, 7)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (np.zeros((1, 30, 31), np.float32), "float32 (1, 30, 31)"),
        (np.zeros((2, 31, 31), np.float32), "float32 (2, 31, 31)"),
        (np.zeros((1, 31, 31), np.float64), "float64"),
        (np.full((1, 31, 31), np.nan, np.float32), "not finite"),
        (np.full((1, 31, 31), -np.inf, np.float32), "not finite"),
    ],
)
def test_nothing_of_a_broken_map_is_used(broken: NDArray[Any], what: str) -> None:
    with pytest.raises(ModelOutputError) as caught:
        judge(ModelOutputs(broken, None), 1, GRID, POOLING, UNCALIBRATED)
    assert what in str(caught.value)


def test_judge_keeps_the_order_of_faces() -> None:
    batch = np.stack([np.full((31, 31), value, np.float32) for value in (1.0, -2.0, 0.5)])
    judged = judge(ModelOutputs(batch, None), 3, GRID, POOLING, AppliedCalibration(2.0, 0.1))
    assert [face.pooled_logit for face in judged] == pytest.approx([1.0, -2.0, 0.5])
    assert [face.calibrated_logit for face in judged] == pytest.approx([0.6, -0.9, 0.35])
    assert all(face.probability == probability(face.calibrated_logit) for face in judged)


# decision

POINT = POLICY.operating_point.model_copy(update={"t_real": 0.3, "t_fake": 0.7})
LEVELS = {"low": 0.1, "at_real": 0.3, "band": 0.5, "at_fake": 0.7, "high": 0.9}
SMALL, BLURRY = ("GR-003",), ("GR-004",)


def decided(probabilities: dict[int, float], codes: list[tuple[str, ...]], policy: str = "abstain") -> Decision:
    return decide(probabilities, codes, POLICY.quality_gates.model_copy(update={"unjudged_face_policy": policy}), POINT)


@pytest.mark.parametrize("policy", ["abstain", "ignore"])
@pytest.mark.parametrize(
    ("level", "label"), list(zip(LEVELS, ["real", "real", "abstain", "fake", "fake"], strict=True))
)
def test_one_judged_face(level: str, label: str, policy: str) -> None:
    found = decided({0: LEVELS[level]}, [()], policy)
    assert found == Decision(label, ("MD-001",) if label == "abstain" else (), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "policy", "label", "codes"),
    [
        ("low", "abstain", "abstain", SMALL),
        ("at_real", "abstain", "abstain", SMALL),
        ("band", "abstain", "abstain", SMALL),
        ("at_fake", "abstain", "fake", ()),
        ("high", "abstain", "fake", ()),
        ("low", "ignore", "real", ()),
        ("at_real", "ignore", "real", ()),
        ("band", "ignore", "abstain", ("MD-001",)),
        ("at_fake", "ignore", "fake", ()),
        ("high", "ignore", "fake", ()),
    ],
)
def test_a_judged_face_beside_one_that_failed_a_gate(
    level: str, policy: str, label: str, codes: tuple[str, ...]
) -> None:
    assert decided({1: LEVELS[level]}, [SMALL, ()], policy) == Decision(label, codes, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["abstain", "ignore"])
def test_without_a_judged_face_all_codes_are_given_sorted(policy: str) -> None:
    codes = [("GR-005", "GR-004"), SMALL, BLURRY]
    assert decided({}, codes, policy) == Decision("abstain", ("GR-003", "GR-004", "GR-005"), None)


@SEEDED
@given(st.dictionaries(st.integers(0, 7), st.floats(0, 1), min_size=1, max_size=8))
def test_the_most_suspicious_face_decides(probabilities: dict[int, float]) -> None:
    found = decided(probabilities, [()] * 8)
    highest = max(probabilities.values())
    assert found.deciding_face == min(index for index, p in probabilities.items() if p == highest)
    assert (found.label == "fake") == (highest >= POINT.t_fake)
    assert (found.label == "real") == (highest <= POINT.t_real)
    assert (found.label == "abstain") == bool(found.reason_codes)
