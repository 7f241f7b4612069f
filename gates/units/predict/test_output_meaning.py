"""Every kind of declared output as a logit, against the definition of the kind; and what is no probability."""

from __future__ import annotations

import numpy as np
import pytest

from ecdd.bundle import bundle_path, load_bundle
from ecdd.runtimes import tflite_file
from ecdd.runtimes.base import RuntimeFileError
from ecdd.runtimes.output_meaning import SLACK, as_logits, numbers_of
from ecdd.runtimes.registry import RUNTIMES, Model, RuntimeSettings, interface_of

CLIP = 1e-6
SCORES = np.random.default_rng(4).normal(0, 2, (50, 3))
SHARES = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("fake", [0, 1, 2])
def test_classes_are_the_odds_of_fake_against_all_others(fake: int) -> None:
    odds = np.log(SHARES[:, fake] / (1 - SHARES[:, fake]))
    for kind, rows in (("class_logits", SCORES), ("class_probabilities", SHARES)):
        np.testing.assert_allclose(as_logits("f", "o", rows, kind, fake, CLIP), odds, rtol=1e-5)  # type: ignore[arg-type]


def test_one_probability_and_one_logit() -> None:
    p = SHARES[:, :1]
    np.testing.assert_allclose(as_logits("f", "o", p, "probability", 0, CLIP), np.log(p / (1 - p))[:, 0], rtol=1e-5)
    np.testing.assert_array_equal(as_logits("f", "o", p, "logit", 0, CLIP), p[:, 0].astype(np.float32))
    assert [numbers_of(kind, 3) for kind in ("logit", "probability", "class_logits", "class_probabilities")] == [
        1, 1, 3, 3,
    ]  # fmt: skip


def test_probabilities_may_be_0_and_1_and_rounded_no_further() -> None:
    edge = np.log(CLIP / (1 - 0))
    found = as_logits("f", "o", np.array([[0.0], [1.0]]), "probability", 0, CLIP)
    np.testing.assert_allclose(found, [edge, -edge], rtol=1e-4)
    as_logits("f", "o", np.array([[-SLACK], [1 + SLACK]]), "probability", 0, CLIP)
    for beyond in (-1.01 * SLACK, 1 + 1.01 * SLACK):
        with pytest.raises(RuntimeFileError, match="the kind is logit"):
            as_logits("f", "o", np.array([[beyond]]), "probability", 0, CLIP)
    with pytest.raises(RuntimeFileError, match="add up to 1"):
        as_logits("f", "o", np.array([[0.5, 0.5 + 1.01 * SLACK]]), "class_probabilities", 0, CLIP)


@pytest.mark.parametrize(("origin", "looked_into"), [("bundle", 0), ("here", 1)])
def test_a_file_that_no_digest_vouches_for_is_looked_into(
    origin: str, looked_into: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(bundle_path("tiny"))
    really, calls = tflite_file.check_graph, []
    monkeypatch.setattr(tflite_file, "check_graph", lambda *given: (calls.append(given), really(*given)))
    model = Model(bundle.read("model.tflite"), "model.tflite", origin)  # type: ignore[arg-type]
    RUNTIMES["tflite"].open(model, interface_of(bundle.contract.policy, "tflite"), RuntimeSettings())
    assert len(calls) == looked_into
