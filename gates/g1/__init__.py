"""Gate G1: pixel equivalence (spec, phase 1)."""
