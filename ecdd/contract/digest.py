"""Digests of a contract: equal exactly when the values, statuses and deciding experiments are equal.

The canonical form is JSON of the *typed* values with sorted keys, so comments, order, quoting and ``1`` against
``1.0`` in a float's place make no difference, and every change of a value does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Protocol

from ecdd.contract.schema import PolicyContract
from ecdd.contract.yaml_reading import Value

PREPROCESSING_SECTIONS = ("pixel_pipeline", "face_detector")
# These say which files and faces count, and how stages are compared; no number in a tensor depends on them.
_NOT_IN_TENSORS = ("score_threshold", "candidate_threshold", "second_look", "tolerance_", "max_")


class Standing(Protocol):
    """Where a value stands: its status and the experiment that sets it."""

    @property
    def status(self) -> str:
        """``"proposed"`` or ``"frozen"``."""
        ...

    @property
    def set_by(self) -> str:
        """Id of an experiment or clause."""
        ...


def flat_values(policy: PolicyContract) -> dict[str, Value]:
    """List the typed values by dotted key.

    Parameters
    ----------
    policy : PolicyContract
        A validated contract.

    Returns
    -------
    dict of str to value
        In the schema's order.
    """
    fields = type(policy).model_fields
    flat: dict[str, Value] = {}
    for top, content in policy.model_dump(mode="json").items():
        section = fields[top].annotation
        if isinstance(content, dict) and isinstance(section, type):
            flat.update({f"{top}.{name}": value for name, value in content.items()})
        else:
            flat[top] = content
    return flat


def _one_zero(value: Value) -> Value:
    """Write -0.0 as 0.0: they are the same number."""
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, list):
        return [_one_zero(item) for item in value]
    if isinstance(value, dict):
        return {key: _one_zero(item) for key, item in value.items()}
    return value


def _sha256(content: Mapping[str, Value]) -> str:
    canonical = {key: _one_zero(value) for key, value in content.items()}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def contract_digest(
    policy: PolicyContract, provenance: Mapping[str, Standing], written: Mapping[str, Value] | None = None
) -> str:
    """Digest values, statuses and deciding experiments.

    Parameters
    ----------
    policy : PolicyContract
        A validated contract.
    provenance : mapping of str to Provenance
        Status and deciding experiment by dotted key.
    written : mapping of str to value, optional
        Of a contract of an older schema: values as written where they were completed, None for those left out.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.
    """
    values = flat_values(policy) | dict(written or {})
    left_out = {key for key, value in (written or {}).items() if value is None}
    return _sha256(
        {
            key: {"value": value, "status": provenance[key].status, "set_by": provenance[key].set_by}
            for key, value in values.items()
            if key not in left_out
        }
    )


def tensor_digest(policy: PolicyContract, left_out: Collection[str] = ()) -> str:
    """Digest the values that decide the numbers in S4 of a given face: what weights are trained for.

    Parameters
    ----------
    policy : PolicyContract
        A validated contract.
    left_out : collection of str
        Keys that a contract of an older schema does not have.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits. Face-confidence thresholds, limits and tolerances are left out, so that moving
        one of them asks for a new calibration, not for a new training.
    """
    return _sha256(
        {
            key: value
            for key, value in flat_values(policy).items()
            if key not in left_out
            and key.split(".")[0] in PREPROCESSING_SECTIONS
            and not key.split(".")[1].startswith(_NOT_IN_TENSORS)
        }
    )


def preprocessing_digest(policy: PolicyContract, left_out: Collection[str] = ()) -> str:
    """Digest the values alone of the sections that decide what the model reads.

    Parameters
    ----------
    policy : PolicyContract
        A validated contract.
    left_out : collection of str
        Keys that a contract of an older schema does not have.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.
    """
    values = flat_values(policy)
    return _sha256({k: v for k, v in values.items() if k not in left_out and k.split(".")[0] in PREPROCESSING_SECTIONS})
