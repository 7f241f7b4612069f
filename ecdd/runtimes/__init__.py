"""Runtimes behind one protocol: a batch of S4 tensors in, a batch of patch-logit maps out."""
