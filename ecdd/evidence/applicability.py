"""Which values of a contract rule out a part of which experiment: what *not applicable* may rest on.

A test says that something is not applicable and names the knob. A release believes that only where this table knows
that the knob's value rules it out, so that no test can excuse a model from a clause that it should meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ecdd.contract.model_sections import box_of, covers_picture
from ecdd.evidence.records import ExperimentRecord

Values = Mapping[str, Any]


def _whole_picture(values: Values) -> bool:
    stride, field, padding = (values[f"patch_grid.{name}"] for name in ("stride", "receptive_field", "padding"))
    cells = max(values["patch_grid.rows"], values["patch_grid.cols"])
    return covers_picture(cells, stride, field, padding, values["pixel_pipeline.input_size"])


def _field_within_cell(values: Values) -> bool:
    stride, field, padding = (values[f"patch_grid.{name}"] for name in ("stride", "receptive_field", "padding"))
    return bool(box_of(stride, field, padding)[0] <= stride)


def _no_map(values: Values) -> bool:
    return not all(values.get("model_interface.map_name", {"": "stated by every older contract"}).values())


def _map_alone(values: Values) -> bool:
    return not any(values.get("model_interface.logit_name", {"": "stated by every older contract"}).values())


def _own_output_decides(values: Values) -> bool:
    return bool(values["pooling.rule"] == "none")


def _no_operator(values: Values) -> bool:
    return bool(values["patch_grid.input_operator"] == "none")


# experiment -> knob -> when its value leaves a part of the experiment without meaning
RULED_OUT: Final[Mapping[str, Mapping[str, Callable[[Values], bool]]]] = {
    "E3.1": {
        "patch_grid.receptive_field": _whole_picture,  # no box moves its cell alone; E3.7 measures the order
        "patch_grid.input_operator": _no_operator,  # the files hold all there is: nothing has to be named
    },
    "E3.2": {
        # a turned crop: no upright boxes in the file
        "face_detector.crop_alignment": lambda values: values.get("face_detector.crop_alignment") == "eye_line",
        "patch_grid.receptive_field": _whole_picture,  # no pixel lies outside a box
    },
    "E3.3": {"pooling.rule": _own_output_decides},
    "E3.4": {"pooling.rule": _own_output_decides},
    "E3.5": {"pooling.rule": _own_output_decides},
    "E3.6": {
        "patch_grid.receptive_field": _whole_picture,  # no cell is blind to a block
        "model_interface.map_name": _no_map,
    },
    "E3.7": {
        "patch_grid.receptive_field": _field_within_cell,  # E3.2 says it exactly
        "model_interface.map_name": _no_map,
    },
    "E5.2": {"model_interface.map_name": _no_map},  # E5.3 compares the logit
    # nothing is pooled in the file
    "E5.3": {"pooling.rule": _own_output_decides, "model_interface.logit_name": _map_alone},
}


def not_ruled_out(record: ExperimentRecord, values: Values) -> list[str]:
    """What a record calls not applicable although the contract does not rule it out.

    Parameters
    ----------
    record : ExperimentRecord
        Of an experiment.
    values : mapping of str to object
        The contract's values by dotted key.

    Returns
    -------
    list of str
        One line each; empty where the contract rules out all of it.
    """
    known = RULED_OUT.get(record.id, {})
    return [
        f"{record.id} {entry.what}: called not applicable, but "
        f"{entry.knob} = {values.get(entry.knob)} does not rule it out"
        for entry in record.not_applicable
        if entry.knob not in known or not known[entry.knob](values)
    ]
