"""Gate G2: guardrails."""
