"""Forged faces for training and for the golden set: every generator is ours and deterministic for one seed.

``registry`` names them all; ``forging`` forges the pictures of one part of a split; ``forged_cells`` says which cells
of the patch grid are forged. Every forgery keeps the mask of its forged pixels.
"""

from ecdd.training.forgeries.forgery import FacePicture, Forgery, ForgeryRefused

__all__ = ["FacePicture", "Forgery", "ForgeryRefused"]
