"""Parity of two model files: metrics of arrays, their limits from the contract, and a verdict."""
