"""Unit tests of training and forgeries."""
