"""Phase 7: the event log, drift, and how a bundle is rolled out and back."""
