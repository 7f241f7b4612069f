"""Which contract value is the limit of which metric, so that stored metrics can be held to another contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from ecdd.contract.loading import load_contract
from ecdd.evidence.records import Metric
from ecdd.specification import CONTRACT

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


# a limit whose name says max_, tolerance_ or rollback_ is looser where it is larger, min_ or confidence where it is
# smaller; capacities and what decides duplicates are no limits of the evidence
_SECTIONS: Final = frozenset(
    {"face_detector", "quality_gates", "patch_grid", "pooling", "calibration", "operating_point", "quantization"}
    | {"runtime", "evaluation", "release"}
)
_LARGER: Final = re.compile(r"(^|_)(max|tolerance|rollback)_")
_SMALLER: Final = re.compile(r"^(min_|canary_min_|confidence$)")
_INVERTED: Final = frozenset({"evaluation.min_group_pictures"})  # smaller groups are not judged


def limits_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a contract that evidence is held to, by key."""
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and _direction(key)
    }


def looser_limits(values: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Limits that are looser than those of the contract that ships with the specification.

    Parameters
    ----------
    values : mapping of str to value
        Of a contract, by dotted key.

    Returns
    -------
    list of (str, float, float)
        Key, value, and the shipped value.
    """
    shipped = limits_of(load_contract(CONTRACT).values)
    pairs = ((key, value, shipped.get(key, value)) for key, value in limits_of(values).items())
    return [(key, value, limit) for key, value, limit in pairs if (value - limit) * _direction(key) > 0]


def _direction(key: str) -> int:
    """1 where a larger value is looser, -1 where a smaller one is, 0 for what is no limit."""
    section, _, name = key.partition(".")
    if section not in _SECTIONS:
        return 0
    direction = 1 if _LARGER.search(name) else -1 if _SMALLER.search(name) else 0
    return -direction if key in _INVERTED else direction


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
