"""Phase 7: monitoring and release."""
