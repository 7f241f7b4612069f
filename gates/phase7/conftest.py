"""Phase 7 reads the score tables of gate G6: real pictures, judged by the bundle."""

from __future__ import annotations

from gates.support.score_tables import found_tables, scores

__all__ = ["found_tables", "scores"]
