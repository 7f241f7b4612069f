"""E3.1 grid shape and input operator: the grid's shape equals the contract for teacher and student, in deterministic
order; the fixed gradient operator, which has no weights, is identified in the metadata and checked by logits.

A transposed map pools to the same number and points at the wrong place; weights load strictly into a network with a
wrong operator. Fails when a map has another shape or order, when a runtime's map differs from the frozen one beyond
the tolerance, or when another operator gives the same logits.
"""

from __future__ import annotations
