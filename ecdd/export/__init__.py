"""From a checkpoint to shipped model files."""
