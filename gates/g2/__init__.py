"""Gate G2: guardrails (spec, phase 2)."""
