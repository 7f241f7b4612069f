"""Which contract value is the limit of which metric, so that stored metrics can be held to another contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ecdd.contract.loading import load_contract
from ecdd.evidence.records import Metric
from ecdd.specification import CONTRACT

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


def limit_key(metric: Metric) -> str | None:
    """Contract key whose value is this metric's limit, such as ``"operating_point.max_fpr"``; None where there is none.

    The check itself names the key as its clause; any other clause is an experiment's id or a sentence.
    """
    section, _, knob = metric.clause.partition(".")
    return metric.clause if knob and section.islower() else None
