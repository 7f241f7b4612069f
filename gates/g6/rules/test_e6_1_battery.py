"""Metrics, splits, transforms and tables of the battery, with numbers known by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd.bundle.loading import load_bundle
from ecdd.calibration.metrics import MetricError
from ecdd.contract.model_sections import OperatingPoint
from ecdd.evaluation import metrics
from ecdd.evaluation.battery import Flips, format_by_class, measure_transforms, shortcut_flips
from ecdd.evaluation.contradictions import not_held_out, not_of_this_bundle
from ecdd.evaluation.field_changes import TwiceJudged, _labelled, changes
from ecdd.evaluation.intervals import interval, separation
from ecdd.evaluation.score_table import ScoreTable, ScoreTableError, read_table, write_table
from ecdd.evaluation.splits import groups, time_split, worst_group
from ecdd.evaluation.transforms import SUITE_FILE, TransformError, _with_note, apply, load_suite
from ecdd.pipeline.decode import decode
from gates.support.made_pictures import encode
from gates.support.made_rows import failed, plan_for, row
from gates.support.score_tables import stored_scores

pytestmark = pytest.mark.experiment("E6.1", rules=True)


@pytest.fixture(scope="module")
def point() -> Any:
    return load_bundle().contract.policy.operating_point


def picture(seed: int = 1) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((200, 150), Image.Resampling.BICUBIC)


def test_rates_by_hand(point: OperatingPoint) -> None:
    rows = [row(k, 0, "fake", 0.95) for k in range(2)] + [row(2 + k, 0, "abstain", 0.5) for k in range(6)]
    rows += [row(8 + k, 1, "real", 0.01) for k in range(1)] + [row(9 + k, 1, "fake", 0.9) for k in range(3)]
    rows += [row(12, 0, "abstain", None, reason_codes="GR-004 GR-005"), failed(13, 0), row(14, None, "abstain", None)]
    found = metrics.at_operating_point(rows, point)
    assert (found.fpr.events, found.fpr.n) == (2, 8)
    assert (found.fnr.events, found.fnr.n) == (1, 4)
    assert (found.abstain_real.events, found.abstain_real.n) == (7, 9)
    assert found.abstain_reasons == {"GR-004": 1, "GR-005": 1, "none": 6}
    assert found.outcomes == {"error": 1, "scored": 14}
    assert found.fpr.low == pytest.approx(0.0318540, abs=1e-6)  # R: binom.test(2, 8)
    assert found.fpr.high == pytest.approx(0.6508558, abs=1e-6)


def test_counts_must_add_up() -> None:
    rows = [row(0, 0, "real", 0.1), failed(1, 0, "missing")]
    assert metrics.count_outcomes(rows, 2)["missing"] == 1
    with pytest.raises(MetricError, match="expected 3"):
        metrics.count_outcomes(rows, 3)
    with pytest.raises(MetricError):
        metrics.count_outcomes([rows[0] | {"outcome": "fine"}, rows[1]], 2)


def test_tpr_at_fpr_by_hand() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.8, 0.25, 0.5, 0.7, 0.9])
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert metrics.tpr_at_fpr(scores, labels, 0.0) == 0.25
    assert metrics.tpr_at_fpr(scores, labels, 0.25) == 0.75
    assert metrics.tpr_at_fpr(scores, labels, 1.0) == 1.0
    tied = np.array([0.1, 0.5, 0.5, 0.9])  # a fake that scores as the real at the threshold is not above it
    assert metrics.tpr_at_fpr(tied, np.array([0, 0, 1, 1]), 0.0) == 0.5


def test_only_labelled_faces_are_judged_twice() -> None:
    rows = [{"scope": scope, "label": label} for scope in ("face", "ood") for label in (0, 1, None)]
    assert _labelled(rows) == [{"scope": "face", "label": 0}, {"scope": "face", "label": 1}]


def test_containers_are_counted_by_class() -> None:
    found = [{"container": c, "label": y} for c, y in (("JPEG", 0), ("JPEG", 1), ("JPEG", 1), (None, None))]
    assert format_by_class(found) == [
        {"container": "JPEG", "class": "fake", "pictures": 2},
        {"container": "JPEG", "class": "real", "pictures": 1},
        {"container": "none", "class": "out of scope", "pictures": 1},
    ]


def test_changed_verdicts_are_a_share_of_the_pictures() -> None:
    assert Flips("mirrored", ("a", "b"), (), 8, 0.3).share == 0.25


def test_wrong_changes_are_a_share_of_their_class() -> None:
    said = [("real", "fake"), ("real", "abstain"), ("real", "real"), ("fake", "fake")]
    pictures = [TwiceJudged(f"real {k}", 0, *pair) for k, pair in enumerate(said)]
    pictures += [TwiceJudged("fake 0", 1, "fake", "real"), TwiceJudged("fake 1", 1, "fake", "fake")]
    found = changes(pictures)
    assert (found.real_to_fake_rate, found.fake_to_real_rate) == (0.25, 0.5)
    assert [one.text for one in found.changed] == [
        "real 0: real -> fake", "real 1: real -> abstain", "fake 0: fake -> real"
    ]  # fmt: skip


def test_shift_by_hand() -> None:
    before = np.linspace(0.005, 0.995, 100)
    assert metrics.population_stability(before, before) == pytest.approx(0)
    assert metrics.kolmogorov_smirnov(before, before + 0.1) == pytest.approx(0.1, abs=0.011)
    lower = before[before < 0.5]  # five bins of 0.1 become 0.2, five become empty
    psi = 5 * 0.1 * np.log(2) + 5 * (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert metrics.population_stability(before, lower) == pytest.approx(psi, rel=1e-9)
    with pytest.raises(MetricError):
        metrics.kolmogorov_smirnov(before, np.array([np.nan]))


def test_worst_group_is_named_and_small_ones_are_not_judged(point: OperatingPoint) -> None:
    rows = [row(k, 0, "real", 0.05, source="large") for k in range(30)]
    rows += [row(30 + k, 0, "fake" if k < 5 else "real", 0.9 if k < 5 else 0.05, source="bad") for k in range(20)]
    rows += [row(50 + k, 0, "fake", 0.95, source="small") for k in range(3)]
    found = groups(rows, "source", point, 20)
    everything = metrics.at_operating_point(rows, point)
    worst = worst_group(found, everything, "fpr")
    assert worst is not None
    assert (worst.name, worst.n) == ("source bad", 20)
    assert worst.increase == pytest.approx(5 / 20 - 8 / 53)
    assert worst_group(found, everything, "fnr") is None
    assert groups(rows, "device", point, 20) == []


def test_later_pictures_are_held_out_only() -> None:
    calibration = [row(k, 0, "real", 0.1, year=2015 + k % 10) for k in range(40)]
    held_out = [row(k, 0, "real", 0.2, year=2015 + k % 10) for k in range(40)]
    split = time_split(calibration, held_out, 10)
    assert split is not None
    assert {r["probability"] for r in split.later} == {0.2}
    assert max(r["year"] for r in split.earlier) == split.year < min(r["year"] for r in split.later)
    assert time_split(calibration, held_out[:5], 10) is None


def test_a_comment_stands_behind_jfif_and_exif() -> None:
    """Readers look for these first; what is coded stays byte for byte."""
    exif = Image.Exif()
    exif[0x010F] = "maker"
    for options in ({}, {"exif": exif}):
        data = encode(Image.new("RGB", (32, 32), (9, 99, 200)), "JPEG", **options)
        noted = _with_note(data)
        at = noted.index(b"\xff\xfe")
        markers = [data[:at].count(bytes((0xFF, kind))) for kind in (0xE0, 0xE1)]
        assert markers == [1, 1 if options else 0]
        length = len(noted) - len(data)
        assert noted[:at] + noted[at + length :] == data


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_transforms_are_deterministic_and_differ(form: str, point: OperatingPoint) -> None:
    policy = load_bundle().contract.policy.pixel_pipeline
    data = encode(picture(), form)
    made = {t.name: apply(t, data, f"a.{form.lower()}", policy) for t in load_suite().transforms}
    again = {t.name: apply(t, data, f"a.{form.lower()}", policy) for t in load_suite().transforms}
    assert made == again
    assert len({hashlib.sha256(content).hexdigest() for content, _ in made.values()}) == len(made)
    assert made["untouched"][0] == data
    pixels = {name: np.asarray(decode(content, policy, name=file).image) for name, (content, file) in made.items()}
    assert np.array_equal(pixels["metadata_only"], pixels["untouched"])
    assert set(pixels["screenshot"][:8].ravel().tolist()) == {240}, "a light grey window about the picture"
    assert pixels["screenshot"].shape == (round(150 * 0.75) + 48, 150 + 48, 3)
    flipped = decode(made["container_flip"][0], policy, name=made["container_flip"][1])
    assert flipped.format == {"JPEG": "PNG", "PNG": "JPEG"}[form]
    if form == "JPEG":
        assert np.array_equal(pixels["container_flip"], pixels["untouched"])


@pytest.mark.parametrize("steps", ["[{twirl: 2}]", "[{blur: 2}]", "[{save: PNG}, {blur: 1}]"])
def test_a_suite_with_a_wrong_step_is_refused(tmp_path: Path, steps: str) -> None:
    text = SUITE_FILE.read_text().replace("[{blur: 4.0}, {save: PNG}]", steps)
    (tmp_path / "suite.yaml").write_text(text)
    with pytest.raises(TransformError, match="blur_4"):
        load_suite(tmp_path / "suite.yaml")


def test_a_damaged_or_foreign_file_is_no_table(tmp_path: Path) -> None:
    rows = [row(k, k % 2, "abstain", 0.3 + k / 100) for k in range(4)]
    path = tmp_path / "scores.parquet"
    write_table(path, plan_for(rows), [rows[:2], rows[2:]])
    assert list(read_table(path).rows) == rows
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(ScoreTableError, match="cannot be read"):
        read_table(path)
    with pytest.raises(ScoreTableError, match="expected 4"):
        write_table(path, plan_for(rows), [rows[:3]])
    assert path.read_bytes() == whole[:-20]


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "fake", "probability": None, "logit": None},
        {"verdict": "abstain", "probability": 0.9, "logit": 2.2},
    ],
    ids=["verdict", "probability"],
)
def test_a_picture_that_was_not_scored_has_neither_verdict_nor_probability(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    rows = [row(k, k % 2, "abstain", 0.3 + k / 100) for k in range(4)]
    path = tmp_path / "scores.parquet"
    write_table(path, plan_for(rows), [[*rows[:3], rows[3] | {"outcome": "rejected"} | wrong]])
    with pytest.raises(ScoreTableError, match="only what was scored may have one"):
        read_table(path)


def test_only_a_bundles_own_table_is_read(tmp_path: Path) -> None:
    """No table, a table of another bundle inside it, another contract: each leaves G6 without scores, and says why."""
    bundle = load_bundle()
    other = bundle.manifest.model_copy(update={"payload_digest": "f" * 64})
    foreign = dataclasses.replace(bundle, path=tmp_path, manifest=other)
    found = stored_scores(foreign, bundle.contract)
    assert found.held_out is None
    assert "give --data" in found.why
    assert not found.refused
    own = stored_scores(bundle, bundle.contract)
    assert own.held_out is not None, own.why
    (tmp_path / "release").mkdir()
    shutil.copy(Path(__file__).parents[3] / "reports/default/scores/test.parquet", tmp_path / "release/scores.parquet")
    found = stored_scores(foreign, bundle.contract)
    assert found.held_out is None
    assert "is of bundle" in found.refused
    changed = bundle.contract.with_values({"operating_point.t_fake": 0.9})
    assert "is of contract" in stored_scores(bundle, changed).refused


def test_intervals_are_those_of_the_pictures(point: OperatingPoint) -> None:
    """Of a share the bootstrap interval is near the exact one; a pair stays a pair; one class has no separation."""
    labels = np.zeros(200, np.int64)
    wrong = np.arange(200) < 40
    found = interval(lambda at: float(wrong[at].mean()), labels, 0.95)
    assert found.estimate == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.145, abs=0.012), pytest.approx(0.255, abs=0.012))
    again = interval(lambda at: float(wrong[at].mean()), labels, 0.95)
    assert again == found
    rows = [row(k, k % 2, "abstain", 0.2 + 0.5 * (k % 2) + k / 1000) for k in range(60)]
    parts = separation(rows, 0.05, 0.95)
    assert (parts["tpr_at_fpr"].estimate, parts["tpr_at_fpr"].low) == (1.0, 1.0)
    assert parts["ece"].low <= parts["ece"].estimate <= parts["ece"].high
    assert separation(rows[::2], 0.05, 0.95) == {}
    with pytest.raises(MetricError):
        interval(lambda at: float(len(at)), labels[:0], 0.95)


def test_a_shift_that_all_pictures_share_has_no_spread(point: OperatingPoint) -> None:
    rows = [row(k, k % 2, "abstain", 0.2 + k / 200) for k in range(60)]
    moved = [r | {"transform": "jpeg_50", "probability": r["probability"] + 0.1} for r in rows]
    plan = dataclasses.replace(plan_for(rows), transforms=("untouched", "jpeg_50"))
    untouched, after = measure_transforms(ScoreTable(plan, (*rows, *moved)), point)
    assert untouched.intervals["ks"].estimate == untouched.intervals["ks"].high == 0.0
    shift = after.intervals["mean_shift"]
    assert (shift.low, shift.estimate, shift.high) == tuple([pytest.approx(0.1)] * 3)
    assert {"fpr_increase", "fnr_increase", "ks", "psi"} <= set(after.intervals)


def test_contradictions_are_found_by_hand(point: OperatingPoint) -> None:
    """Each lie alone, in a table whose digests, counts and rows are in order."""
    made = [row(k, k % 2, "abstain", 0.5, lineage="TEST-NEVER-TOUCH", file_sha256=f"{k:064x}") for k in range(4)]
    assert not_held_out(made, set()) == []
    assert "1.jpg: calibrated on" in not_held_out(made, {made[1]["file_sha256"]})
    assert "0.jpg: lineage TRAIN" in not_held_out([made[0] | {"lineage": "TRAIN"}, *made[1:]], set())[0]
    assert len(not_held_out([*made, made[0] | {"index": 4}], set())) == 2
    other = made[2] | {"transform": "jpeg_50", "label": 1}
    assert "2.jpg jpeg_50: another picture or label" in not_held_out([*made, other], set())[0]

    def said(**change: Any) -> list[str]:
        logits = {made[0]["file_sha256"]: 0.0}
        return not_of_this_bundle([made[0] | change], point, lambda logit: (logit + 2) / 4, logits, 1e-6)

    assert said() == []
    assert "verdict fake at P(fake) 0.5" in said(verdict="fake")[0]
    assert "the calibration makes 0.5" in said(probability=0.6)[0]
    assert "its calibration record says 0" in said(logit=0.1, probability=0.525)[0]
    assert "verdict abstain at P(fake) 0.95" in said(logit=1.8, probability=0.95, file_sha256="a" * 64)[0]
    assert said(logit=-1.96, probability=0.01, file_sha256="a" * 64) == []


def test_how_far_another_container_moves_a_probability() -> None:
    before = [row(0, 1, "fake", 0.9), row(1, 0, "real", 0.1), row(2, 0, "abstain", None)]
    after = [row(0, 1, "fake", 0.7), row(1, 0, "abstain", 0.35), row(2, 0, "abstain", None)]
    table: Any = SimpleNamespace(of=lambda name: before if name == "untouched" else after)
    flips = shortcut_flips(table, "container_flip")
    assert (flips.changed, flips.reversed, flips.n) == (("1.jpg",), (), 3)
    assert flips.largest_difference == pytest.approx(0.25)
