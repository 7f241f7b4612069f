"""Fits against those of scikit-learn, which are private there: another version may not have them."""

from __future__ import annotations

import pytest

from ecdd.calibration.calibrators import METHODS
from gates.support.planted_miscalibration import planted_logits


def test_platt_is_scikit_learn_s_sigmoid_calibration() -> None:
    from sklearn.calibration import _SigmoidCalibration

    x, y = planted_logits(500, 0.7, 0.4, 1)
    ours = METHODS["platt"](x, y)
    theirs = _SigmoidCalibration().fit(x, y)
    assert 1 / ours.temperature == pytest.approx(-theirs.a_, rel=1e-4)
    assert ours.bias == pytest.approx(-theirs.b_, abs=1e-4)


def test_temperature_is_scikit_learn_s() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    if not hasattr(calibration, "_TemperatureScaling"):
        pytest.skip("not tested here: this scikit-learn has no temperature scaling")
    x, y = planted_logits(800, 0.4, 0.0, 2)
    theirs = calibration._TemperatureScaling().fit(x, y)
    # it writes a logit x as the two classes' (-x, x): its slope counts twice
    assert 1 / METHODS["temperature"](x, y).temperature == pytest.approx(2 * float(theirs.beta_), rel=1e-3)
