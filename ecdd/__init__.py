"""ECDD: an edge deepfake detector and the executable specification that decides whether it may ship."""

__version__ = "0.1.0"
