"""Gate G1: pixel equivalence. Everything stops if it fails."""
