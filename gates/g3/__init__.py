"""Gate G3: model semantics."""
