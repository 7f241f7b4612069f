"""E3.3 pooling rules: pooling rules are compared on the same maps by real/fake separation, over-reaction to one
injected noisy patch, and stability under JPEG and re-resize; the choice is frozen in the contract.

The rule decides whether one bright patch is a forgery or a speck. Fails when pooled logits differ from the frozen
ones, when the contract's rule is not the one that the comparison picks, or when it does not separate the calibration
pictures.
"""

from __future__ import annotations
