"""Proof that every gate can fail: each planted defect must turn its gate red."""
