"""The calibration method of a pair whose team has decided none: the logits decide it, as E4.3 asks."""

from __future__ import annotations

import numpy as np
import pytest

from ecdd.calibration import choosing
from ecdd.calibration.calibration_set_contract import JudgedSet
from ecdd.calibration.choosing import chosen_method


def _judged(shift: float, spread: float, scale: float) -> JudgedSet:
    """Logits of 200 reals and fakes, ``spread`` apart around ``shift``, times ``scale``."""
    rng, labels = np.random.default_rng(3), np.repeat([0, 1], 200)
    logits = scale * (rng.normal(0, 1, 400) + spread * (labels - 0.5)) + shift
    return JudgedSet(logits, labels, np.arange(400), "")


def test_of_equal_methods_the_simpler_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_losses", lambda _fit, data: np.ones(len(data.labels)))
    assert chosen_method(_judged(2.0, 1.0, 1.0), 0.95) == "temperature"


@pytest.mark.parametrize(
    ("shift", "spread", "scale", "method"),
    [
        (0.0, 1.0, 3.0, "temperature"),  # too sure, in the middle: one number mends it
        (2.0, 1.0, 1.0, "platt"),  # the middle is elsewhere: a bias is shown to be better
        (9.0, 1.0, 1.0, "platt"),  # every logit says fake: the temperature runs to the end of its search
    ],
)
def test_the_logits_decide_the_method(shift: float, spread: float, scale: float, method: str) -> None:
    assert chosen_method(_judged(shift, spread, scale), 0.95) == method
