"""Forged faces for training and for the golden set: every generator is ours and deterministic for one seed.

``self_blended`` blends an altered copy of a face into itself, ``resynthesis`` passes the face through a small
up-sampling autoencoder, ``generated`` draws a face from the statistics of many. All keep the mask of forged pixels.
"""

from ecdd.training.forgeries.forgery import Forgery

__all__ = ["Forgery"]
