"""The contract: every frozen knob, its schema, its loader and its digest."""
