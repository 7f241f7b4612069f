"""S5 to S8: patch map, pooling, calibration and decision; numpy only."""
