"""The canonical pipeline, S0 to S4: the one path from bytes to tensor, for training and for inference."""
