"""``ecdd calibrate``: a new bundle from the committed logits, never in place; a broken set is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ecdd.bundle import bundle_path, load_bundle
from ecdd.bundle.variants import SCORES_FILE
from ecdd.calibration.calibration_error import CalibrationError
from ecdd.calibration.calibration_set_contract import judged_set, read_scores
from gates.own_model.bringing import ecdd
from gates.support.calibration_set import fields_that_differ

BUNDLE = bundle_path("tiny")


def run(*arguments: str) -> tuple[int, str]:
    done = ecdd("calibrate", *arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def needs_torch() -> None:
    pytest.importorskip("torch", reason="not tested here: ecdd calibrate reads checkpoints with torch")


def test_a_shipped_bundle_follows_from_its_own_logits(tmp_path: Path) -> None:
    code, output = run("--bundle", str(BUNDLE), "--out", str(tmp_path / "new"))
    assert code == 0, output
    old, new = load_bundle(BUNDLE), load_bundle(tmp_path / "new")
    assert not fields_that_differ(old.calibration, new.calibration)
    # what was measured on harmonised pictures cannot follow from logits, and is left out rather than carried over
    follows = {name: value for name, value in old.calibration.metrics.items() if not name.startswith("harmonised_")}
    # the last digits depend on the processor's vector width; what is applied is stated to fewer
    numbers = {name for name, value in follows.items() if isinstance(value, float)}
    assert new.calibration.metrics == {
        n: pytest.approx(v, rel=1e-8, abs=1e-9) if n in numbers else v for n, v in follows.items()
    }
    assert new.manifest.files["model.tflite"] == old.manifest.files["model.tflite"]
    assert new.contract.digest == old.contract.digest
    assert new.manifest.version != old.manifest.version


def test_what_makes_another_calibration_of_it() -> None:
    stored = load_bundle(BUNDLE).calibration
    knots = ((-1.0, -2.0), (1.0, 2.0))
    curve = stored.model_copy(update={"knots": knots})
    for one, changed, named in (
        (stored, {"temperature": stored.temperature + 5e-8}, []),
        (stored, {"temperature": stored.temperature * 1.000001}, ["temperature"]),
        (stored, {"bias": 2e-7}, ["bias"]),
        (stored, {"n_real": stored.n_real + 1, "method": "platt"}, ["method", "n_real"]),
        (stored, {"knots": knots}, ["knots"]),
        (curve, {"knots": ((-1.0, -2.0), (1.0, 2.00001))}, ["knots"]),
        (curve, {}, []),
    ):
        assert fields_that_differ(one, one.model_copy(update=changed)) == named


def test_a_bundle_is_never_changed_in_place(tmp_path: Path) -> None:
    before = load_bundle(BUNDLE).payload_digest
    code, output = run("--bundle", str(BUNDLE), "--out", str(BUNDLE))
    assert code == 2
    assert "never changed in place" in output
    assert load_bundle(BUNDLE).payload_digest == before
    (tmp_path / "note.txt").write_text("mine")
    assert run("--out", str(tmp_path))[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_method_and_limits_go_into_the_new_contract(tmp_path: Path) -> None:
    code, output = run("--out", str(tmp_path / "new"), "--method", "platt", "--fpr", "0.1", "--confidence", "0.9")
    assert code == 0, output
    new = load_bundle(tmp_path / "new")
    assert new.calibration.method == new.contract.policy.calibration.method == "platt"
    point = new.contract.policy.operating_point
    assert (point.max_fpr, point.confidence) == (0.1, 0.9)
    assert point.t_fake < load_bundle(BUNDLE).contract.policy.operating_point.t_fake
    assert "platt accepted" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "spline"], "calibration.method"),
        (["--method", "isotonic"], "needs 1000 pictures"),
        (["--fpr", "1.5"], "operating_point.max_fpr"),
    ],
)
def test_wrong_wishes_are_refused_without_a_traceback(arguments: list[str], message: str, tmp_path: Path) -> None:
    code, output = run("--out", str(tmp_path / "new"), *arguments)
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert not (tmp_path / "new").exists()


def test_every_violation_of_the_set_is_listed() -> None:
    policy = load_bundle(BUNDLE).contract.policy.calibration
    pictures = read_scores(BUNDLE / SCORES_FILE)
    twice = next(p for p in pictures if p.logit is not None)
    endless = dataclasses.replace(twice, sha256="f" * 64, logit=float("inf"))
    lost = dataclasses.replace(twice, sha256="e" * 64, source="nobody", logit=None, outcome="GR-001")
    few = [p for p in pictures if p.label == 1 or p.logit is None][:60]
    with pytest.raises(CalibrationError) as caught:
        judged_set([*few, *([twice] if twice not in few else []), twice, endless, lost], policy)
    text = str(caught.value)
    for part in ("stands 2 times", "finite logits", "source nobody: none", "min_samples_per_class is 40"):
        assert part in text, text
