"""Which contract value is the limit of which metric, so that stored metrics can be held to another contract."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from ecdd.evidence.records import Metric

# a metric whose clause is a contract key says so itself; these are the others
_LIMITS: Final[Mapping[str, Mapping[str, str]]] = {
    "E4.1": {"judged_*_pictures": "calibration.min_samples_per_class"},
    "E4.2": {"t_*_spread": "operating_point.max_threshold_spread"},
    "E4.4": {"*fpr_*_bound": "operating_point.max_fpr", "*fnr_*_bound": "operating_point.max_fnr"},
    "E5.2": {"*.range_instability": "quantization.max_range_instability"},
    "E5.4": {"*.fpr_upper_bound": "operating_point.max_fpr", "*.fnr_upper_bound": "operating_point.max_fnr"},
    "E6.1": {
        "fpr": "operating_point.max_fpr",
        "fnr": "operating_point.max_fnr",
        "abstain_rate_*": "operating_point.max_abstain_rate",
        "*_f?r_increase": "evaluation.max_group_error_increase",
    },
    "E6.2": {"later_fpr_increase": "evaluation.max_later_fpr_increase"},
    "E6.3": {"*_flips": "evaluation.max_shortcut_flips", "f?r_increase": "evaluation.max_transform_error_increase"},
    "E6.5": {
        "*_fpr": "operating_point.unseen_max_fpr",
        "*_fnr": "operating_point.unseen_max_fnr",
        "*_abstain": "operating_point.unseen_max_abstain_rate",
    },
    "E6.6": {"*_fake_to_real": "evaluation.max_field_fake_to_real"},
}


def limit_key(experiment: str, metric: Metric) -> str | None:
    """Contract key whose value is this metric's limit; None where the limit belongs to the experiment itself.

    Parameters
    ----------
    experiment : str
        Id.
    metric : Metric
        As stored.

    Returns
    -------
    str or None
        For example ``"operating_point.max_fpr"``.
    """
    if "." in metric.clause and metric.clause.partition(".")[0].islower():
        return metric.clause
    table = _LIMITS.get(experiment, {})
    return next((key for pattern, key in table.items() if fnmatchcase(metric.name, pattern)), None)
