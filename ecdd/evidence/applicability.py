"""Which values of a contract rule out a part of which experiment: what *not applicable* may rest on.

A test says that something is not applicable and names the knob. A release believes that only where this table knows
that the knob's value rules it out, so that no test can excuse a model from a clause that it should meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ecdd.evidence.records import ExperimentRecord

# experiment -> knob -> values under which a part of the experiment has no meaning
RULED_OUT: Final[Mapping[str, Mapping[str, frozenset[object]]]] = {
    "E3.2": {"face_detector.crop_alignment": frozenset({"eye_line"})},  # a turned crop: no upright boxes in the file
}


def not_ruled_out(record: ExperimentRecord, values: Mapping[str, object]) -> list[str]:
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
        if values.get(entry.knob) not in known.get(entry.knob, ())
    ]
