"""Gate G6 reads score tables."""

from __future__ import annotations

from gates.support.score_tables import scores

__all__ = ["scores"]
