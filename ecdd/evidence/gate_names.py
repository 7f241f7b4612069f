"""What the gates are called where a person reads them."""

from __future__ import annotations

from typing import Final

GATE_NAMES: Final = {
    "G1": "G1 pixel equivalence",
    "G2": "G2 guardrails",
    "G3": "G3 model semantics",
    "G4": "G4 calibration and thresholds",
    "G5": "G5 quantisation and parity",
    "G6": "G6 release battery",
    "phase7": "Phase 7 monitoring",
    "phase8": "Phase 8 dataset governance",
}


def gate_name(gate: str) -> str:
    """A gate's name; a gate of a project's own clauses is called what the project calls it.

    Examples
    --------
    >>> gate_name("G4")
    'G4 calibration and thresholds'
    >>> gate_name("house rules")
    'house rules'
    """
    return GATE_NAMES.get(gate, gate)
