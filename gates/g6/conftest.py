"""Gate G6 reads score tables."""

from __future__ import annotations

from gates.support.score_tables import found_tables, scores

__all__ = ["found_tables", "scores"]
