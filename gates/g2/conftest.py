"""Gate G2 reads the table of calibration pictures for E2.7."""

from __future__ import annotations

from gates.support.score_tables import found_tables, scores

__all__ = ["found_tables", "scores"]
