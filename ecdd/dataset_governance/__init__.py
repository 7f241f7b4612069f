"""Dataset governance: lineage tags, duplicates, and the proof that splits stay apart."""
