"""Defects in calibration: fits that do nothing, data that was seen, shifted labels, promises without a bound."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np


def temperature_noop() -> None:
    """The fit returns its input unchanged."""
    from ecdd.calibration import temperature_scaling

    temperature_scaling.fit_temperature = lambda _logits, _labels: 1.0


def double_sigmoid() -> None:
    """Probabilities are passed on as logits, and a sigmoid is applied again."""
    from ecdd.inference import calibration

    really = calibration.AppliedCalibration.logit
    calibration.AppliedCalibration.logit = lambda self, pooled: 1 / (1 + math.exp(-really(self, pooled)))  # type: ignore[method-assign]


def fit_on_report_split() -> None:
    """What is reported was measured on the data that was fitted."""
    from ecdd.calibration import calibrators

    really = calibrators.fit_calibrator

    def planted(method: Any, logits: Any, labels: Any, *arguments: Any, **options: Any) -> Any:
        fit = really(method, logits, labels, *arguments, **options)
        return dataclasses.replace(fit, overfit=0.0, out_of_fold=calibrators.apply(fit.fitted, np.asarray(logits)))

    calibrators.fit_calibrator = planted


def _change_scores(change: Any) -> None:
    from ecdd.calibration import calibration_set_contract

    really = calibration_set_contract.read_scores
    calibration_set_contract.read_scores = lambda path: change(really(path))


def calibration_train_overlap() -> None:
    """A picture of TRAIN found its way into the calibration set."""

    def planted(pictures: Any) -> Any:
        from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
        from gates.support.portraits import SPLIT

        row = load_split(SPLIT).rows_with([LineageTag.TRAIN])[0]
        first = next(picture for picture in pictures if picture.logit is not None)
        seen = dataclasses.replace(first, sha256=row.sha256, group=row.near_duplicate_group, source=row.source)
        return [*pictures, dataclasses.replace(seen, label=int(row.label))]

    _change_scores(planted)


def labels_shifted() -> None:
    """Labels of another order of the same pictures."""

    def planted(pictures: Any) -> Any:
        labels = [picture.label for picture in pictures]
        shifted = labels[1:] + labels[:1]
        return [dataclasses.replace(p, label=label) for p, label in zip(pictures, shifted, strict=True)]

    _change_scores(planted)


def threshold_point_estimate() -> None:
    """The error budget is met by the point estimate alone: on fresh pictures it is broken half of the time."""
    from ecdd.calibration import operating_point

    operating_point.allowed_errors = lambda n, limit, _confidence: math.floor(limit * n)


def bias_dropped() -> None:
    """Slope without bias: right for temperatures, wrong for Platt scaling."""
    from ecdd.inference.calibration import AppliedCalibration

    AppliedCalibration.logit = lambda self, pooled: pooled / self.temperature  # type: ignore[method-assign]


def _narrower(point: Any) -> Any:
    """Thresholds just beyond those of the contract: a score on one of them is not decided any more."""
    beyond = {"t_real": math.nextafter(point.t_real, 0), "t_fake": math.nextafter(point.t_fake, 1)}
    return point.model_copy(update=beyond)


def thresholds_decide_nothing() -> None:
    """Above and below in place of at or above and at or below."""
    from ecdd.inference import decision

    really = decision.decide
    decision.decide = lambda judged, codes, gates, point: really(judged, codes, gates, _narrower(point))


def band_rates_beyond_the_thresholds() -> None:
    """The sweep of bands counts otherwise than the detector decides."""
    from ecdd.calibration import abstain_policy

    really = abstain_policy.band_rates
    abstain_policy.band_rates = lambda p, y, t_real, t_fake: really(
        p, y, math.nextafter(t_real, 0), math.nextafter(t_fake, 1)
    )


def table_rates_beyond_the_thresholds() -> None:
    """The rates of a score table count otherwise than the detector decides."""
    from ecdd.evaluation import metrics

    really = metrics.at_operating_point
    metrics.at_operating_point = lambda rows, point: really(rows, _narrower(point))
