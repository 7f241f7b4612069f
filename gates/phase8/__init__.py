"""Phase 8: dataset governance."""
