"""E6.4 claims hygiene: out-of-scope pictures always abstain and never enter the accuracy on faces.

Correct abstentions on landscapes make any accuracy look good. Fails when such a picture gets a label or is counted,
when an unscored picture is left out or guessed, or when evidence, waivers or a score table of another bundle support
a release.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecdd.bundle.variants import SCORES_FILE
from ecdd.calibration.calibration_set_contract import read_scores
from ecdd.calibration.metrics import MetricError
from ecdd.contract.loading import ContractError
from ecdd.evaluation import metrics
from ecdd.evaluation.battery import leaks
from ecdd.evaluation.contradictions import not_held_out, not_of_this_bundle
from ecdd.evaluation.score_table import SCORED, ScoreTable, ScoreTableError, problems_of, read_table, write_table
from ecdd.evaluation.scoring import Request, score
from ecdd.evidence import report_rows, verdicts
from ecdd.evidence.contract_limits import looser_limits
from ecdd.evidence.declarations import load_specification
from ecdd.evidence.edits import find_edits
from ecdd.inference.calibration import AppliedCalibration, probability
from ecdd.release.approval import decide
from ecdd.release.waivers import Waiver, judge_waivers
from gates.support.dishonest_ways import WAYS, Applicant, refused_by_name
from gates.support.edited_evidence import LIES
from gates.support.fixtures import Bundle, Evidence, GoldenSet, LoadedContract, NotTested, PolicyContract
from gates.support.made_evidence import make_evidence
from gates.support.made_rows import failed, plan_for, row
from gates.support.score_tables import (
    FoundTables,
    Scores,
    believed_scores,
    sampled,
    scored_otherwise,
    stored_scores,
)

SAMPLE = 64  # rows of a stored table that are scored again


@pytest.mark.experiment("E6.4")
def test_the_table_is_of_this_bundle(evidence: Evidence, found_tables: FoundTables) -> None:
    """A table that lies where this bundle's belongs, and is damaged or of another bundle or contract, is red."""
    if found_tables.held_out is None and not found_tables.refused:
        raise NotTested("release battery of this bundle", found_tables.why)
    evidence.none("tables_refused", [found_tables.refused] if found_tables.refused else [], n=1, unit="table")


@pytest.mark.experiment("E6.4")
def test_every_picture_is_counted(evidence: Evidence, scores: Scores) -> None:
    """Expected = scored + counted. A file that the contract rejects was answered; errors and lost files were not."""
    for name, table in scores.by_name.items():
        expected = table.plan.n_expected
        counts = metrics.count_outcomes(table.rows, expected)
        evidence.check(f"{name}_counted", sum(counts.values()), limit=expected, op="==", unit="row", n=expected)
        lost = [r for r in table.rows if r["outcome"] not in (SCORED, "rejected")]
        shown = [f"{r['path']} {r['transform']}: {r['outcome']}" for r in lost]
        evidence.none(f"{name}_without_answer", shown, n=expected, unit="row")
        evidence.table(f"{name}_outcomes", [{"outcome": k, "rows": n} for k, n in counts.items()])


@pytest.mark.experiment("E6.4")
def test_out_of_scope_always_abstains(evidence: Evidence, scores: Scores) -> None:
    """Under every transform too: a blurred poster is no face either."""
    rows = [r for r in scores.held_out.rows if r["scope"] != "face"]
    if not rows:
        raise NotTested("pictures out of scope, transformed", "no held-out picture of the data is out of scope")
    offenders = [f"{r['path']} {r['transform']}: {r['verdict']}" for r in leaks(rows)]
    evidence.none("out_of_scope_judged", offenders, n=len(rows))


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_only_decided_faces_enter_accuracy(evidence: Evidence) -> None:
    """Rows whose accuracy is 3 of 4 by hand; twenty pictures out of scope and six abstentions must not change it."""
    faces = [row(0, 0, "real", 0.1), row(1, 1, "fake", 0.9), row(2, 1, "real", 0.05), row(3, 0, "real", 0.02)]
    others = [row(4 + k, k % 2, "abstain", 0.5) for k in range(6)]
    others += [row(10 + k, None, "abstain", None) for k in range(19)] + [row(29, None, "real", 0.1)]
    found = metrics.accuracy_on_faces([*faces, *others], 0.95)
    evidence.check("pictures_added_to_accuracy", found.n - 4, limit=0, op="==", unit="picture", n=30)
    evidence.check("right_answers_added", found.events - 3, limit=0, op="==", unit="picture", n=30)


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_an_error_is_no_verdict(evidence: Evidence, policy: PolicyContract) -> None:
    """A detector that crashes on every real: its FPR is unknown, and no metric of two classes is computed."""
    rows = [failed(k, 0) for k in range(10)] + [row(10 + k, 1, "fake", 0.9 + k / 1000) for k in range(10)]
    found = metrics.at_operating_point(rows, policy.operating_point)
    evidence.check("errors_in_an_error_rate", found.fpr.n + found.abstain_real.n, limit=0, op="==", unit="row", n=20)
    evidence.check("errors_counted", found.outcomes.get("error", 0), limit=10, op="==", unit="row", n=20)
    try:
        measured = [str(metrics.calibration_error(rows))]
    except MetricError:
        measured = []
    evidence.none("metrics_of_one_class", measured, n=1, unit="metric")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_degenerate_scores_are_refused(evidence: Evidence) -> None:
    """NaN or one number for all: no metric, rather than an AUC of 0.0 or a calibration error of a constant."""
    constant = [row(k, k % 2, "abstain", 0.5) for k in range(20)]
    evidence.none("constant_scores_measured", _measured(constant), n=2, unit="metric")
    nan = [row(k, k % 2, "abstain", 0.3 + k / 100) for k in range(20)]
    nan[7] |= {"probability": float("nan"), "logit": float("nan")}
    table = [] if problems_of(plan_for(nan), nan) else ["the table itself"]
    evidence.none("nan_scores_measured", _measured(nan) + table, n=2, unit="metric")


def _measured(rows: list[dict[str, Any]]) -> list[str]:
    """Metrics that give a number for these rows."""
    p, y = (np.array([r[name] for r in rows]) for name in ("probability", "label"))
    measures: dict[str, Callable[[], float]] = {
        "calibration_error": lambda: metrics.calibration_error(rows),
        "tpr_at_fpr": lambda: metrics.tpr_at_fpr(p, y, 0.1),
    }
    measured = []
    for name, measure in measures.items():
        with contextlib.suppress(MetricError):
            measured.append(f"{name} {measure()}")
    return measured


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_missing_and_broken_files_stay_in_the_table(
    evidence: Evidence, golden: GoldenSet, bundle: Bundle, contract: LoadedContract, tmp_path: Path
) -> None:
    """A real manifest with two missing files, one cut and one that is no picture, scored with this bundle."""
    items = golden.by_set("in_scope")[:3]
    names = [shutil.copy(item.path, tmp_path / Path(item.path).name).name for item in items]
    (tmp_path / "cut.jpg").write_bytes(Path(items[0].path).read_bytes()[:4000])
    (tmp_path / "text.jpg").write_text("no picture")
    names += ["gone.jpg", "cut.jpg", "text.jpg", "gone_too.png"]
    with (tmp_path / "manifest.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["path", "label", "scope", "source"], *([n, "0", "face", "made"] for n in names)])
    try:
        score(Request(tmp_path, bundle, contract), tmp_path / "scores.parquet")
        found = [r["outcome"] for r in read_table(tmp_path / "scores.parquet").rows]
    except ScoreTableError:
        found = []
    evidence.check("rows_dropped", len(names) - len(found), limit=0, op="==", unit="row", n=len(names))
    wanted = ["scored"] * 3 + ["missing", "rejected", "rejected", "missing"]
    wrong = [f"{name}: {a}" for name, a, b in zip(names, found, wanted, strict=False) if a != b]
    evidence.none("wrong_outcomes", wrong, n=len(names), unit="row")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_stale_and_incomplete_tables_are_refused(evidence: Evidence) -> None:
    """Another payload or contract, a row that is gone, twice or edited: each is said, none is measured."""
    rows = [row(k, k % 2, "abstain", 0.3 + k / 100) for k in range(6)]
    plan = plan_for(rows)
    table = ScoreTable(plan, tuple(rows))
    others = {"payload": ("e" * 64, plan.contract_digest), "contract": (plan.payload_digest, "e" * 64)}
    stale = [name for name, digests in others.items() if not table.why_not_of(*digests)]
    edits = {
        "missing": rows[:-1],
        "twice": [*rows[:-1], rows[0]],
        "other bundle": [rows[0] | {"payload_digest": "e" * 64}, *rows[1:]],
        "verdict without a score": [rows[0] | {"probability": None, "logit": None, "verdict": "real"}, *rows[1:]],
        "error with a verdict": [rows[0] | {"outcome": "error", "verdict": "real"}, *rows[1:]],
    }
    evidence.none("stale_tables_accepted", stale, n=2, unit="table")
    accepted = [name for name, edited in edits.items() if not problems_of(plan, edited)]
    evidence.none("edited_tables_accepted", accepted, n=len(edits), unit="table")
    good = int(bool(problems_of(plan, rows) or table.why_not_of(plan.payload_digest, plan.contract_digest)))
    evidence.check("good_tables_refused", good, limit=0, op="==", unit="table", n=1)


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_edited_evidence_is_refused(evidence: Evidence, bundle: Bundle, tmp_path: Path) -> None:
    """A red experiment made green in the record, the chain or the JUnit file: each is named, none is believed."""
    declared, accepted = load_specification(), []
    for name, lie in LIES.items():
        folder = tmp_path / name
        make_evidence(folder, bundle, declared, {"E1.7": 0.5, "E1.9": 2.0})
        honest = find_edits(folder)
        lie(folder)
        if honest or not find_edits(folder):
            accepted.append(f"{name} {honest}")
    evidence.none("edits_accepted", accepted, n=len(LIES), unit="edit")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_a_release_cannot_be_talked_into(evidence: Evidence, bundle: Bundle, tmp_path: Path) -> None:
    """All claims but one are green. The one is missing, red, another bundle's or contract's, and waived in vain."""
    declared, claims = load_specification(), bundle.contract.policy.release.claims
    day, one = datetime.date(2026, 11, 1), "E1.9"
    green = {key: 0.5 for key in claims if key in declared}
    rest = {key: value for key, value in green.items() if key != one}

    def refused(name: str, values: dict[str, float], *waivers: Waiver, **other: str) -> bool:
        """Whether the one claim is named against the release."""
        make_evidence(tmp_path / name, bundle, declared, rest)
        make_evidence(tmp_path / f"{name} one", bundle, declared, values, **other)
        folders = [tmp_path / name, tmp_path / f"{name} one"]
        reasons = decide(bundle, folders, waivers, day, partial=True, own_run=tmp_path).reasons
        return any(one in reason for reason in reasons)

    valid = Waiver(id=one, reason="measured by hand elsewhere", owner="A. Person", expiry=day)
    expired = valid.model_copy(update={"expiry": day - datetime.timedelta(days=1)})
    cases = {
        "missing": refused("missing", {"E1.7": 0.5}),
        "red": refused("red", {one: 2.0}),
        "red and waived": refused("red and waived", {one: 2.0}, valid),
        "green and waived": refused("green and waived", {one: 0.5}, valid),
        "another bundle": refused("another bundle", {one: 0.5}, payload_digest="e" * 64),
        "another contract": refused("another contract", {one: 0.5}, contract_digest="e" * 64),
    }
    accepted = [name for name, said in cases.items() if not said]
    evidence.none("unsupported_claims_accepted", accepted, n=len(cases), unit="claim")
    late = int(not refused("expired", {"E1.7": 0.5}, expired))
    evidence.check("expired_waivers_accepted", late, limit=0, op="==", unit="waiver", n=1)
    supported = {
        "green": refused("green", {one: 0.5}),
        "waived in time": refused("waived", {"E1.7": 0.5}, valid),
    }
    wrongly = [name for name, said in supported.items() if said]
    evidence.none("supported_claims_refused", wrongly, n=len(supported), unit="claim")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_no_dishonest_way_ends_in_a_release(evidence: Evidence, bundle: Bundle, tmp_path: Path) -> None:
    """Each way, tried on consistent evidence, is refused by name; the same evidence in honesty gets no such reason."""
    believed = []
    for number, name in enumerate(WAYS):
        folder = tmp_path / str(number)
        folder.mkdir()
        if not refused_by_name(Applicant.claiming_all(bundle, folder), name):
            believed.append(name)
    evidence.none("dishonest_ways_believed", believed, n=len(WAYS), unit="way")
    honest = Applicant.claiming_all(bundle, tmp_path)
    reasons = honest.asks(honest.evidence()).reasons
    wrongly = [name for name, (_, said) in WAYS.items() if any(said in reason for reason in reasons)]
    evidence.none("honest_evidence_called_dishonest", wrongly, n=len(WAYS), unit="way")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_limits_have_hard_ends(evidence: Evidence, contract: LoadedContract) -> None:
    """A contract that lets more than half of a class be wrong, or abstain, promises nothing and cannot be loaded."""
    limits = [f"{whose}max_{what}" for whose in ("", "unseen_") for what in ("fpr", "fnr", "abstain_rate")]
    accepted = []
    for name in limits:
        contract.with_values({f"operating_point.{name}": 0.5})
        with contextlib.suppress(ContractError):
            contract.with_values({f"operating_point.{name}": math.nextafter(0.5, 1)})
            accepted.append(name)
    evidence.none("limits_beyond_their_end", accepted, n=len(limits), unit="limit")
    loose = contract.with_values({"operating_point.max_abstain_rate": 0.5, "quantization.min_rank_correlation": 0.0})
    named = {key for key, _, _ in looser_limits(loose.values)}
    silent = {"operating_point.max_abstain_rate", "quantization.min_rank_correlation"} - named
    evidence.none("looser_limits_unsaid", sorted(silent), n=2, unit="limit")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_nothing_passes_without_a_number_and_a_limit(evidence: Evidence) -> None:
    """A value or a limit that is missing, NaN or infinite fails whatever the comparison; equal numbers are compared."""
    strange = (None, math.nan, math.inf, -math.inf)
    pairs = [*itertools.product(strange, (0.5, *strange)), *((0.5, limit) for limit in strange)]
    operators = ("<=", "<", ">=", ">", "==")
    passed = [
        f"{value} {op} {limit}"
        for (value, limit), op in itertools.product(pairs, operators)
        if verdicts.judge_metric(value, op, limit, 1) == "pass"
    ]
    evidence.none("passed_without_number_or_limit", passed, n=len(pairs) * len(operators), unit="metric")
    at_the_limit = [op for op in operators if verdicts.judge_metric(0.5, op, 0.5, 1) == "pass"]
    evidence.none("wrong_at_the_limit", sorted({*at_the_limit} ^ {"<=", ">=", "=="}), n=len(operators), unit="metric")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_the_report_s_gate_cards_follow_their_experiments(evidence: Evidence) -> None:
    """Every mixture of up to three experiments: red shows, and nothing that did not run or is foreign makes a green."""
    states = ("pass", "fail", "incomplete", "not_tested", "not_applicable", "not_run", "foreign")
    wrong, n = [], 0
    for mixed in (one for size in (1, 2, 3) for one in itertools.product(states, repeat=size)):
        rows = [report_rows.ExperimentRow(f"E1.{k}", "G1", "", state) for k, state in enumerate(mixed)]
        (card,) = report_rows.gate_cards(rows)
        passed, apply = sum(s == "pass" for s in mixed), sum(s != "not_applicable" for s in mixed)
        green = passed >= 1 and set(mixed) <= {"pass", "not_applicable"}
        state = "fail" if "fail" in mixed else "pass" if green else "incomplete"
        n += 1
        if (card["state"], card["passed"], card["total"]) != (state, passed, apply):
            wrong.append(f"{', '.join(mixed)}: {card['state']}, {card['passed']} of {card['total']}")
    evidence.none("gate_cards_off_their_experiments", wrong, n=n, unit="gate")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_as_many_waivers_as_allowed_until_their_last_day(evidence: Evidence) -> None:
    day, ids = datetime.date(2026, 11, 1), ["E1.7", "E1.8", "E1.9"]
    waivers = [Waiver(id=key, reason="measured by hand elsewhere", owner="A. Person", expiry=day) for key in ids]
    after = day + datetime.timedelta(days=1)
    cases = {"allowed": (day, 3, 0), "one too many": (day, 2, 1), "the day after": (after, 3, 3), "none": (day, 0, 1)}
    judged = {name: len(judge_waivers(waivers, ids, on, {}, most)[1]) for name, (on, most, _) in cases.items()}
    wrong = [f"{name}: {judged[name]} refused, not {expected}" for name, (_, _, expected) in cases.items()
             if judged[name] != expected]  # fmt: skip
    evidence.none("waivers_judged_off_their_limits", wrong, n=len(cases), unit="case")


@pytest.mark.experiment("E6.4")
@pytest.mark.usefixtures("scores")
def test_scores_without_their_pictures_are_not_believed(evidence: Evidence, bundle: Bundle, tmp_path: Path) -> None:
    """A forged table inside a bundle, of its very digests: without pictures it is unverified."""
    ours = {"payload_digest": bundle.payload_digest, "contract_digest": bundle.contract.digest}
    rows = [row(k, k % 2, ("real", "fake")[k % 2], 0.01 + 0.98 * (k % 2)) | ours for k in range(8)]
    plan = dataclasses.replace(plan_for(rows), **ours)
    (tmp_path / "release").mkdir()
    write_table(tmp_path / "release" / "scores.parquet", plan, [rows])
    found = believed_scores(dataclasses.replace(bundle, path=tmp_path), bundle.contract)
    evidence.check("forged_tables_believed", int(found.held_out is not None), limit=0, op="==", unit="table", n=1)
    evidence.check("forged_tables_unverified", int("unverified" in found.why), limit=1, op="==", unit="table", n=1)


@pytest.mark.experiment("E6.4")
def test_stored_scores_are_what_their_pictures_give(
    evidence: Evidence, bundle: Bundle, contract: LoadedContract, data_root: Path | None, scores: Scores
) -> None:
    """A random sample of the stored table, seeded by its content, held to the same pictures scored in this run."""
    stored = stored_scores(bundle, contract)
    if stored.held_out is None:
        raise NotTested("stored score table", stored.why)
    if data_root is None:
        raise NotTested("stored score table", "unverified: its pictures are not at hand; give --data")
    sample = sampled(stored.held_out, SAMPLE)
    differing, compared = scored_otherwise(sample, scores.held_out, contract.policy.calibration.tolerance_s7)
    if not compared:
        raise NotTested("stored score table", "unverified: --data has none of its pictures")
    evidence.none("stored_rows_scored_otherwise", differing, n=compared, unit="row")


@pytest.mark.experiment("E6.4")
def test_held_out_pictures_are_held_out(evidence: Evidence, bundle: Bundle, scores: Scores) -> None:
    """Every picture of the table is tagged so, was not calibrated on, and stands once: else rates speak of others."""
    rows, known = scores.held_out.rows, _calibration_logits(bundle)
    offenders = not_held_out(rows, {sha256 for sha256, logit in known.items() if logit is not None})
    evidence.none("pictures_not_held_out", offenders, n=scores.held_out.plan.pictures)
    if not known:
        evidence.not_tested("held-out pictures against the calibration set", f"the bundle has no {SCORES_FILE}")


@pytest.mark.experiment("E6.4")
def test_scores_are_what_this_bundle_says(
    evidence: Evidence, bundle: Bundle, policy: PolicyContract, scores: Scores
) -> None:
    """Probabilities, verdicts and calibration logits of a table follow from the bundle, whatever digests it cites."""
    applied, logits = AppliedCalibration.of(bundle.calibration), _calibration_logits(bundle)

    def of_logit(logit: float) -> float:
        return probability(applied.logit(logit))

    point, tolerance = policy.operating_point, policy.calibration.tolerance_s7
    for name, table in scores.by_name.items():
        offenders = not_of_this_bundle(table.rows, point, of_logit, logits, tolerance)
        evidence.none(f"{name}_rows_of_another_bundle", offenders, n=len(table.rows), unit="row")


def _calibration_logits(bundle: Bundle) -> dict[str, float | None]:
    """Logits that the bundle was calibrated on, by SHA-256 of the picture."""
    if SCORES_FILE not in bundle.manifest.files:
        return {}
    return {picture.sha256: picture.logit for picture in read_scores(bundle.file(SCORES_FILE))}
