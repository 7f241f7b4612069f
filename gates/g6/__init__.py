"""Gate G6: the release battery."""
