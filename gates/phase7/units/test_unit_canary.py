"""The canary's statistics against what is known by hand, and its command against real answers."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from typer.testing import CliRunner

from ecdd.batch import judge_apart
from ecdd.bundle.loading import load_bundle
from ecdd.evaluation.manifest_stream import Listed
from ecdd.evaluation.score_table import read_table, write_table
from ecdd.evaluation.scoring import ScoreSettings, Task
from ecdd.evaluation.transforms import UNTOUCHED, load_suite
from ecdd.monitoring import canary
from ecdd.monitoring.canary_scoring import TimedSettings
from gates.support.fixtures import Bundle, Detector, GoldenSet
from gates.support.made_rows import failed, row
from gates.support.rehearsed_bundles import poisoned_weights

TEST_SCORES = Path(__file__).resolve().parents[3] / "reports" / "default" / "scores" / "test.parquet"
POLICY = load_bundle("tiny").contract.policy


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_exchange_test_equals_all_exchanges(values: list[int]) -> None:
    sums = [
        sum(s * abs(v) for s, v in zip(signs, values, strict=True)) for signs in product((-1, 1), repeat=len(values))
    ]
    assert canary.exchange_test(np.array(values), 0) == pytest.approx(np.mean([s >= sum(values) for s in sums]))


def test_exchange_test_of_single_pictures_is_mcnemars() -> None:
    differences = np.array([1] * 40 + [-1] * 20 + [0] * 500)
    exact = binomtest(40, 60, 0.5, alternative="greater").pvalue
    assert canary.exchange_test(differences, 0) == pytest.approx(exact, abs=0.003)


def test_interval_of_equal_clusters_has_no_width_and_of_unequal_ones_has() -> None:
    assert canary.clustered_interval(np.array([[0, 5]] * 30), 0.95, 0) == (0.0, 0.0)
    low, high = canary.clustered_interval(np.array([[0, 1]] * 80 + [[1, 1]] * 20), 0.95, 0)
    assert (low, high) == pytest.approx((0.122, 0.278), abs=0.012)  # a normal interval


def stream(wrong_reals: int, *, crashed: int = 0, n: int = 400) -> list[dict[str, Any]]:
    """N reals and n fakes, all decided; some reals are called fake, some crash."""
    rows = []
    for index in range(2 * n):
        label = index % 2
        wrong = label == 0 and index // 2 < wrong_reals
        verdict = "fake" if label or wrong else "real"
        crash = label == 0 and index // 2 >= n - crashed
        rows.append(failed(index, label) if crash else row(index, label, verdict, 0.9 if verdict == "fake" else 0.1))
    return rows


@pytest.mark.parametrize(
    ("wrong", "crashed", "decision"),
    [(10, 0, "promote"), (11, 0, "promote"), (18, 0, "hold"), (19, 0, "rollback"), (10, 30, "rollback")],
)
def test_decision_of_known_differences(wrong: int, crashed: int, decision: str) -> None:
    found = canary.compare(stream(10), stream(wrong, crashed=crashed), POLICY, latency=False)
    assert found.decision == decision, found.reasons


def test_what_could_hide_is_the_rule_of_three_done_exactly() -> None:
    """So many clusters without one changed answer have probability 0.05 at the rate that is named."""
    change = canary.Change("fpr", 0, 0, 0, 0, 0, 1, 0.1, n=80, clusters=59, finding="within")
    assert (1 - change.could_hide) ** 59 == pytest.approx(0.05)
    assert replace(change, clusters=0).could_hide == 1.0


def test_a_better_candidate_is_promoted_and_its_places_exchanged_rolled_back() -> None:
    assert canary.compare(stream(60), stream(10), POLICY, latency=False).decision == "promote"
    assert canary.compare(stream(10), stream(60), POLICY, latency=False).decision == "rollback"


def test_latency_is_told_of_both_and_as_a_ratio() -> None:
    before, after = ([r | {canary.MILLISECONDS: time} for r in stream(10)] for time in (10.0, 20.0))
    found = canary.compare(before, after, POLICY)
    (latency,) = [change for change in found.changes if change.name == "latency_ratio"]
    assert (latency.current, latency.candidate, latency.increase) == (10.0, 20.0, 2.0)


def test_latency_that_was_asked_for_and_not_measured_holds() -> None:
    found = canary.compare(stream(10), stream(10), POLICY)
    assert (found.decision, found.reasons) == ("hold", ("latency_ratio: not measured",))


def test_the_answer_that_differs_is_counted_from_one() -> None:
    rows = stream(10)
    other = [rows[0], rows[1] | {"path": "another"}, *rows[2:]]
    with pytest.raises(canary.CanaryError, match="answer 2: path is"):
        canary.paired(rows, other)


def test_pictures_of_no_known_group_are_told_apart_by_content() -> None:
    """Under whatever names they came; a file that could not be read has its name alone."""
    digests = ("a", "b", "c", "c", "c", None, None)
    rows = [row(place, 0, "real", 0.1, file_sha256=digest) for place, digest in enumerate(digests)]
    fpr = canary.compare(rows, rows, POLICY, groups={"a": "twins", "b": "twins"}, latency=False).changes[0]
    assert (fpr.name, fpr.n, fpr.clusters) == ("fpr", 7, 4)  # the twins, c, and each of the two without content


def test_pictures_that_are_gone_are_not_the_candidates_fault() -> None:
    rows = stream(10)
    gone = [r | {"outcome": "missing", "probability": None, "verdict": "abstain"} for r in rows[:50]] + rows[50:]
    found = canary.compare(rows, gone, POLICY, latency=False)
    assert found.decision == "promote"
    assert found.outcomes["missing"] == (0, 50)
    assert found.changes[0].n == 375


class _Dying(TimedSettings):
    """A candidate whose process ends on one picture."""

    def judge(self, detector: Detector, item: Any) -> dict[str, Any]:
        if item.listed.index == 1:
            os._exit(9)
        return super().judge(detector, item)


def test_a_timed_row_is_a_row_of_scoring_and_its_milliseconds(bundle: Bundle, golden: GoldenSet) -> None:
    path = Path(golden.by_set("in_scope")[0].path)
    task = Task(Listed(0, path.name, 0, "face", "golden", None, None, None, None, ""), load_suite().named(UNTOUCHED))
    detector = Detector(bundle, bundle.contract)
    plain = ScoreSettings(bundle, None, None, path.parent).judge(detector, task)
    timed = TimedSettings(bundle, None, None, path.parent).judge(detector, task)
    assert 0 < timed.pop(canary.MILLISECONDS) < 60_000
    assert timed == plain
    assert plain["outcome"] == "scored"


def test_a_process_that_dies_is_an_error_of_its_picture_alone(bundle: Bundle, golden: GoldenSet) -> None:
    paths = [Path(item.path) for item in golden.by_set("in_scope")[:3]]
    listed = [Listed(k, p.name, 0, "face", "golden", None, None, None, None, "") for k, p in enumerate(paths)]
    tasks = [Task(one, load_suite().named(UNTOUCHED)) for one in listed]
    rows = list(judge_apart(tasks, _Dying(bundle, None, None, paths[0].parent)))
    assert [r["outcome"] == "error" for r in rows] == [False, True, False]
    assert "ended with 9" in rows[1]["detail"]
    canary.paired([r | {"file_sha256": None} for r in rows], rows)  # a crash leaves no digest; still the same picture


def run(*options: str) -> Any:
    from ecdd.cli import app

    return CliRunner().invoke(app, ["monitor", "canary", *options])


def test_command_on_stored_tables(tmp_path: Path, bundle: Bundle) -> None:
    table = read_table(TEST_SCORES)
    if table.why_not_of(bundle.payload_digest, bundle.contract.digest):
        pytest.skip("the committed table is of another bundle")
    rows = [r | {"verdict": "fake"} if r["label"] == 0 and r["probability"] is not None else r for r in table.rows]
    accused = tmp_path / "accused.parquet"
    write_table(accused, table.plan, [rows])
    same = run("--scores", str(TEST_SCORES), "--scores", str(TEST_SCORES), "--without-latency")
    assert (same.exit_code, "promote" in same.output) == (0, True), same.output
    asked = run("--scores", str(TEST_SCORES), "--scores", str(TEST_SCORES))
    assert (asked.exit_code, "hold: latency_ratio: not measured" in asked.output) == (2, True), asked.output
    worse = run("--scores", str(TEST_SCORES), "--scores", str(accused), "--without-latency")
    assert (worse.exit_code, "rollback: fpr" in worse.output) == (1, True), worse.output


def test_command_refuses_what_cannot_be_compared(tmp_path: Path, bundle: Bundle) -> None:
    assert run().exit_code == 2
    assert run("--scores", str(TEST_SCORES)).exit_code == 2
    assert run("--data", str(tmp_path)).exit_code == 2
    nothing = run("--scores", str(tmp_path / "no.parquet"), "--scores", str(TEST_SCORES))
    assert (nothing.exit_code, "no.parquet" in nothing.output) == (2, True)
    other = poisoned_weights(bundle, tmp_path / "other")
    stale = run("--current", str(other.path), "--scores", str(TEST_SCORES), "--scores", str(TEST_SCORES))
    assert (stale.exit_code, "must be of --current" in stale.output) == (2, True)


def test_a_candidate_that_cannot_be_loaded_is_rolled_back(tmp_path: Path, bundle: Bundle) -> None:
    other = poisoned_weights(bundle, tmp_path / "other")
    (other.path / "model.tflite").write_bytes(b"cut")
    found = run("--candidate", str(other.path), "--data", str(tmp_path))
    assert (found.exit_code, "cannot be loaded" in found.output) == (1, True), found.output


def test_a_latency_is_a_ratio_and_all_else_an_increase() -> None:
    changes = [
        canary.Change(name, 1, 2, 2.0, 1.5, 2.5, 0.01, 1.2, 40, 40, "beyond") for name in ("latency_ratio", "fpr")
    ]
    said = [canary._line(change, 20) for change in changes]
    assert said == [f"{what} 2 [1.5, 2.5], allowed 1.2: beyond" for what in ("latency_ratio: ratio", "fpr: increase")]
