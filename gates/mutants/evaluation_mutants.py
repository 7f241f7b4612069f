"""Defects of the release battery: crashes that count, scores that are none, rows that vanish, known sources."""

from __future__ import annotations

import dataclasses
from typing import Any


def crash_counts_as_real() -> None:
    """A picture on which the detector crashed enters the rates with P(fake) = 0."""
    from ecdd.evaluation import metrics

    really = metrics.reached_model

    def planted(rows: Any) -> Any:
        filled = [{**r, "outcome": "scored", "probability": 0.0} if r["outcome"] == "error" else r for r in rows]
        return really(filled)

    metrics.reached_model = planted


def nan_score() -> None:
    """A score that is no number silently becomes 0."""
    import numpy as np

    from ecdd.calibration import metrics as calibration_metrics
    from ecdd.evaluation import metrics

    metrics.refuse_degenerate = lambda _scores: None
    really = calibration_metrics.checked
    calibration_metrics.checked = lambda scores, labels: really(np.nan_to_num(scores), labels)


def constant_score() -> None:
    """A detector that says one number for every picture is measured as if it said something."""
    from ecdd.evaluation import metrics

    metrics.refuse_degenerate = lambda _scores: None


def missing_media_dropped() -> None:
    """Rows whose file is not there are left out without a word."""
    from ecdd.evaluation import scoring

    listed, counted = scoring.stream, scoring.check

    def planted(data: Any, selection: Any) -> Any:
        root = data if data.is_dir() else data.parent
        return (row for row in listed(data, selection) if (root / row.path).exists())

    scoring.stream = planted
    scoring.check = lambda data, selection: (len(list(planted(data, selection))), counted(data, selection)[1])


def format_shortcut() -> None:
    """The model learnt that PNG is fake and JPEG is real."""
    from ecdd import detector

    really = detector.Detector._judge

    def planted(self: Any, prepared: Any, milliseconds: Any) -> Any:
        p = 0.99 if prepared.decoded.format == "PNG" else 0.01
        judged = really(self, prepared, milliseconds)
        return {index: dataclasses.replace(face, probability=p) for index, face in judged.items()}

    detector.Detector._judge = planted  # type: ignore[method-assign]


def ood_in_accuracy() -> None:
    """An abstention, also on what is no face, counts as a right answer."""
    from ecdd.calibration.binomial_bounds import rate
    from ecdd.evaluation import metrics

    really = metrics.accuracy_on_faces

    def planted(rows: Any, confidence: float) -> Any:
        found, abstained = really(rows, confidence), sum(row["verdict"] == "abstain" for row in rows)
        return rate(found.events + abstained, found.n + abstained, confidence)

    metrics.accuracy_on_faces = planted


def stale_score_table() -> None:
    """The scores of last week's bundle are taken for this one's."""
    from ecdd.evaluation.score_table import ScoreTable

    ScoreTable.why_not_of = lambda _self, _payload, _contract: ""  # type: ignore[method-assign]


def _tables(change: Any) -> None:
    """Exchange what is read for another whole and consistent table, as one would who wants to pass."""
    from gates.support import score_tables

    really = score_tables.read_table
    score_tables.read_table = lambda path: change(really, path)


def calibration_as_held_out() -> None:
    """The pictures that thresholds were fitted on are reported as held out."""
    _tables(lambda read, path: read(path.with_name("calibration.parquet")))


def duplicated_rows() -> None:
    """A picture that is judged well stands in the table ten times more, under numbers of its own."""

    def change(read: Any, path: Any) -> Any:
        table = read(path)
        more = [{**row, "index": table.plan.pictures + k} for k in range(10) for row in table.rows if row["index"] == 0]
        plan = dataclasses.replace(table.plan, pictures=table.plan.pictures + 10)
        return dataclasses.replace(table, plan=plan, rows=(*table.rows, *more))

    _tables(change)


def relabelled_table() -> None:
    """Another bundle's scores cite this one's digests: the logits are others, probabilities and verdicts fit them."""

    def change(read: Any, path: Any) -> Any:
        from ecdd.bundle.loading import load_bundle
        from ecdd.inference.calibration import AppliedCalibration, probability

        bundle = load_bundle()
        applied, point = AppliedCalibration.of(bundle.calibration), bundle.contract.policy.operating_point

        def other(row: Any) -> Any:
            if row["logit"] is None:
                return row
            p = probability(applied.logit(row["logit"] * 1.5))
            verdict = "fake" if p >= point.t_fake else "real" if p <= point.t_real else "abstain"
            return {**row, "logit": row["logit"] * 1.5, "probability": p, "verdict": verdict}

        table = read(path)
        return dataclasses.replace(table, rows=tuple(map(other, table.rows)))

    _tables(change)


def edited_probabilities() -> None:
    """Probabilities of the wrongly judged pictures are moved to where no verdict is given."""

    def change(read: Any, path: Any) -> Any:
        table = read(path)
        rows = [
            {**row, "probability": 0.5, "verdict": "abstain"}
            if (row["label"], row["verdict"]) in ((0, "fake"), (1, "real"))
            else row
            for row in table.rows
        ]
        return dataclasses.replace(table, rows=tuple(rows))

    _tables(change)


def _misjudged(chosen: Any, label: int = 0) -> None:
    """Faces of a class that are chosen get the other's verdict in the tables, as from a detector that fails on them."""

    def change(read: Any, path: Any) -> Any:
        table = read(path)
        wrong = {"probability": 0.01, "verdict": "real"} if label else {"probability": 0.99, "verdict": "fake"}
        rows = [
            {**row, **wrong} if row["label"] == label and row["probability"] is not None and chosen(row) else row
            for row in table.rows
        ]
        return dataclasses.replace(table, rows=tuple(rows))

    _tables(change)


def fails_on_one_source() -> None:
    """The detector calls the portraits of one source fake; over all pictures that is a few per cent."""
    _misjudged(lambda row: row["source"] == "pif" and row["index"] % 2)


def fails_on_later_pictures() -> None:
    """What was photographed after 2018 is called fake."""
    _misjudged(lambda row: row["year"] is not None and row["year"] > 2018)


def fails_on_jpeg() -> None:
    """JPEG at quality 50 makes fakes real; the files as they are do not show it."""
    _misjudged(lambda row: row["transform"] == "jpeg_50", label=1)


def video_range_swapped() -> None:
    """The transform called video range stretches the levels instead of squeezing them."""
    from ecdd.evaluation import field_pixels

    really, other = field_pixels.range_mistaken, {"video_as_full": "full_as_video", "full_as_video": "video_as_full"}
    field_pixels.FIELD_STEPS["range"] = lambda image, how: really(image, other[how])


def in_source_thresholds() -> None:
    """The thresholds that a left-out source is judged by were chosen on its scores too."""
    from ecdd.calibration import unseen_sources

    chosen = unseen_sources.cross_fitted_thresholds
    unseen_sources.thresholds_without = lambda rows, _fold, calibration, point: chosen(rows, calibration, point)


def in_source_scores() -> None:
    """Scores of trainings that saw the source pass for cross-fitted ones."""
    from ecdd.calibration import unseen_sources

    unseen_sources._check_folds = lambda _rows, _where, _left_out: None


def dithered_is_real_as_grey() -> None:
    """Pictures without colour, dithered ones among them, are called real."""
    import numpy as np

    from ecdd import detector

    really = detector.Detector._judge

    def planted(self: Any, prepared: Any, milliseconds: Any) -> Any:
        judged = really(self, prepared, milliseconds)
        if np.ptp(np.asarray(prepared.decoded.image, np.int16), axis=-1).any():
            return judged
        return {index: dataclasses.replace(face, probability=0.01) for index, face in judged.items()}

    detector.Detector._judge = planted  # type: ignore[method-assign]
