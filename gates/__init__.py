"""The specification as tests: one folder a gate, one file an experiment."""
