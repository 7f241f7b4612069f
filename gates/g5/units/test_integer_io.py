"""Integers at the boundary of a model file: the rule, its ends, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecdd.runtimes.integer_io import AffineQuantisation

QUARTER = AffineQuantisation("int8", 0.25, -3)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_known_values() -> None:
    """Half to even, a point off the middle, saturation; by hand."""
    given_values = floats(0.0, 0.25, 0.125, 0.375, -0.125, -0.375, 31.75, 1e9, -1e9, np.inf, -np.inf)
    assert QUARTER.quantise(given_values).tolist() == [-3, -2, -3, -1, -3, -5, 124, 127, -128, 127, -128]
    assert QUARTER.dequantise(np.array([-3, -2, 127, -128], np.int8)).tolist() == [0.0, 0.25, 32.5, -31.25]


def test_no_integer_stands_for_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        QUARTER.quantise(floats(1, np.nan))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (AffineQuantisation("int8", 0.0, 0), "scale 0"),
        (AffineQuantisation("int8", -0.1, 0), "scale -0.1"),
        (AffineQuantisation("int8", float("nan"), 0), "scale nan"),
        (AffineQuantisation("int16", float("inf"), 0), "scale inf"),
        (AffineQuantisation("int8", 1e-44, 0), "reciprocal"),
        (AffineQuantisation("int8", 0.1, 128), "zero point 128"),
        (AffineQuantisation("int32", 0.1, 0), "dtype int32"),
    ],
)
def test_what_cannot_be_used_says_why(bad: AffineQuantisation, why: str) -> None:
    assert why in str(bad.problem())
    assert QUARTER.problem() is None


@given(
    st.sampled_from(["int8", "int16"]),
    st.floats(2**-20, 2**10, width=32),
    st.integers(-128, 127),
    st.lists(st.floats(-(2**20), 2**20, width=32), min_size=1, max_size=50),
)
def test_a_round_trip_is_within_half_a_step(dtype: str, scale: float, point: int, values: list[float]) -> None:
    quantisation = AffineQuantisation(dtype, scale, point)
    integers = quantisation.quantise(floats(*values))
    assert integers.dtype == dtype
    ends = np.iinfo(dtype)
    low, high = ((end - point) * scale for end in (ends.min, ends.max))
    back = quantisation.dequantise(integers).astype(np.float64)
    kept = np.clip(floats(*values).astype(np.float64), low, high)
    assert np.abs(back - kept).max() <= 0.5001 * scale + 1e-6 * np.abs(kept).max()


@given(st.sampled_from(["int8", "int16"]), st.floats(2**-20, 2**10, width=32), st.integers(-128, 127))
def test_integers_survive_a_round_trip(dtype: str, scale: float, point: int) -> None:
    quantisation, ends = AffineQuantisation(dtype, scale, point), np.iinfo(dtype)
    integers = np.arange(ends.min, ends.max + 1, 37).astype(dtype)
    assert (quantisation.quantise(quantisation.dequantise(integers)) == integers).all()
