"""Maps at the ends of float32: a verdict from finite numbers, or an error that is counted; never a warning's luck."""

from __future__ import annotations

import math
import warnings
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ecdd.contract.model_sections import PoolingRule
from ecdd.detector import Detector
from ecdd.inference.calibration import AppliedCalibration
from ecdd.inference.stages import ModelOutputError, judge, map_checksum
from ecdd.runtimes.base import ModelOutputs, PatchRuntime
from gates.support.drawn_pictures import CONTRACT, FAKE, contract, portrait

GRID = CONTRACT.policy.patch_grid.model_copy(update={"rows": 5, "cols": 4})
POOLING = CONTRACT.policy.pooling
LARGEST = float(np.finfo(np.float32).max)
wide = hnp.arrays(np.float32, (1, 5, 4), elements=st.floats(-LARGEST, LARGEST, width=32))


@pytest.mark.parametrize("rule", [rule for rule in get_args(PoolingRule) if rule != "none"])
@settings(deadline=None, max_examples=80, derandomize=True)
@given(wide)
def test_any_finite_map_is_judged_by_finite_numbers_or_refused(rule: str, maps: NDArray[np.float32]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            rules = POOLING.model_copy(update={"rule": rule})
            (face,) = judge(ModelOutputs(maps, None), 1, GRID, rules, AppliedCalibration(0.5))
        except ModelOutputError as error:
            assert "pooled in float32" in str(error)  # noqa: PT017 - allowed, and only for this reason
            assert float(abs(maps).max()) > LARGEST / maps.size / 2
            return
    assert math.isfinite(face.pooled_logit)
    assert 0 <= face.probability <= 1


@settings(deadline=None, max_examples=80, derandomize=True)
@given(wide)
def test_the_checksum_takes_any_finite_map(maps: NDArray[np.float32]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert map_checksum(maps[0], 0.001) == map_checksum(maps[0].copy(), 0.001)


class Overflowing:
    """A runtime whose accumulator ran over; a defect to plant, not a model."""

    def __init__(self, inner: PatchRuntime) -> None:
        self._inner = inner

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        return ModelOutputs(np.full_like(self._inner.outputs(batch).maps, LARGEST), None)

    def describe(self) -> dict[str, str | int | bool]:
        return self._inner.describe()


def test_an_overflow_is_no_fake() -> None:
    detector = Detector.load("tiny", contract({**FAKE, "pooling.rule": "mean"}))  # type: ignore[dict-item]
    detector.runtime = Overflowing(detector.runtime)
    verdict = detector.predict(portrait(1))
    assert (verdict.outcome, verdict.label, verdict.reason_codes) == ("error", "abstain", ("MD-002",))
    assert verdict.probability is None
