"""What differs between two contracts, and what that touches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ecdd.contract.describing import knob_fields
from ecdd.contract.loading import LoadedContract
from ecdd.contract.yaml_reading import Value

STAGES = ("S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8")

# first stage whose numbers a knob can change; all later stages follow. None: no number of a verdict
_FIRST_STAGE_OF_SECTION: dict[str, str | None] = {
    "pixel_pipeline": "S1",
    "face_detector": "S2",
    "quality_gates": "S5",  # a face that fails a gate never reaches the model
    "patch_grid": "S5",
    "pooling": "S6",
    "calibration": "S7",
    "operating_point": "S8",
    "quantization": None,
    "runtime": None,
    "monitoring": None,
    "release": None,
    "dataset_governance": None,
    "reason_codes": "S8",
}
_FIRST_STAGE_OF_KNOB: dict[str, str | None] = {
    "pixel_pipeline.input_size": "S3",
    "pixel_pipeline.resize_kernel": "S3",
    "pixel_pipeline.resize_antialias": "S3",
    "pixel_pipeline.resize_reducing_gap": "S3",
    "pixel_pipeline.pixel_scale": "S4",
    "pixel_pipeline.normalisation_mean": "S4",
    "pixel_pipeline.normalisation_std": "S4",
    "pixel_pipeline.tensor_dtype": "S4",
    "pixel_pipeline.tensor_layout": "S4",
    "quality_gates.blur_warning": None,
    "quality_gates.multi_face_policy": "S8",
    "quality_gates.max_faces": "S8",
    "quality_gates.unjudged_face_policy": "S8",
    "patch_grid.checksum_step": None,
    "calibration.min_samples_per_class": None,
    "calibration.sampling_rule": None,
    "calibration.max_age_days": None,
    "operating_point.max_fpr": None,
    "operating_point.max_fnr": None,
    "operating_point.confidence": None,
    "operating_point.max_abstain_rate": None,
    "operating_point.abstain_action": None,
    "quantization.mode": "S5",
    "runtime.backend": "S5",
    "runtime.delegate": "S5",
    "runtime.threads": "S5",
}
_GATES_OF_STAGE: dict[str, tuple[str, ...]] = {
    "S1": ("G1", "G2", "G3", "G4", "G5", "G6"),
    "S2": ("G2", "G3", "G4", "G5", "G6"),
    "S3": ("G1", "G2", "G3", "G4", "G5", "G6"),
    "S4": ("G1", "G3", "G4", "G5", "G6"),
    "S5": ("G2", "G3", "G4", "G5", "G6"),
    "S6": ("G3", "G4", "G5", "G6"),
    "S7": ("G4", "G5", "G6"),
    "S8": ("G2", "G4", "G6"),
}


@dataclass(frozen=True)
class Side:
    """One contract's side of a difference."""

    value: Value
    status: str
    set_by: str


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes
    ----------
    key : str
        Dotted key; an entry of a table knob has its own (``"reason_codes.codes.no_face"``).
    kind : {"changed", "added", "removed"}
        Seen from the first contract.
    before, after : Side or None
        None where the key is not there.
    stages : tuple of str
        Stages whose golden values it can change.
    gates : tuple of str
        Gates whose evidence it touches.
    """

    key: str
    kind: Literal["changed", "added", "removed"]
    before: Side | None
    after: Side | None
    stages: tuple[str, ...]
    gates: tuple[str, ...]


def affected_stages(key: str) -> tuple[str, ...]:
    """List the stages whose numbers a knob can change; a tolerance changes none, only its comparison.

    Parameters
    ----------
    key : str
        Dotted key of a knob.

    Returns
    -------
    tuple of str
        From the first such stage to S8; empty where no verdict depends on the knob.
    """
    section, _, name = key.partition(".")
    if name.startswith("tolerance_"):
        return ()
    first = _FIRST_STAGE_OF_KNOB.get(key, _FIRST_STAGE_OF_SECTION.get(section))
    return STAGES[STAGES.index(first) :] if first else ()


def affected_gates(key: str) -> tuple[str, ...]:
    """List the gates whose evidence a knob touches: of the experiment that sets it, and of the first stage."""
    knob = knob_fields()[key]
    stages = affected_stages(key)
    gates = set(_GATES_OF_STAGE[stages[0]]) if stages else set()
    if knob.set_by.startswith("E"):
        number = knob.set_by[1:].split(".")[0]
        gates.add(f"G{number}" if int(number) <= 6 else f"phase {number}")
    return tuple(sorted(gates))


def _sides(contract: LoadedContract) -> Iterator[tuple[str, str, Side]]:
    """Yield key, knob and side; a table knob yields one for each entry."""
    for knob, value in contract.values.items():
        standing = contract.provenance[knob]
        if isinstance(value, dict):
            for name, item in value.items():
                yield f"{knob}.{name}", knob, Side(item, standing.status, standing.set_by)
        else:
            yield knob, knob, Side(value, standing.status, standing.set_by)


def diff(first: LoadedContract, second: LoadedContract) -> list[Change]:
    """Compare two contracts.

    Parameters
    ----------
    first, second : LoadedContract
        Before and after.

    Returns
    -------
    list of Change
        In the schema's order; empty exactly where the digests are equal.
    """
    before = {key: (knob, side) for key, knob, side in _sides(first)}
    after = {key: (knob, side) for key, knob, side in _sides(second)}
    changes = []
    for key in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        knob = (old or new or ("", None))[0]
        changes.append(
            Change(
                key,
                "added" if old is None else "removed" if new is None else "changed",
                old[1] if old else None,
                new[1] if new else None,
                affected_stages(knob),
                affected_gates(knob),
            )
        )
    return changes
