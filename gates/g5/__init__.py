"""Gate G5: quantisation and parity between float and TFLite."""
