"""The protocol that every runtime fulfils."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class PatchRuntime(Protocol):
    """A model file loaded in one inference library."""

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute patch-logit maps.

        Parameters
        ----------
        batch : ndarray, float32, shape (N, 256, 256, 3)
            S4 tensors, NHWC.

        Returns
        -------
        ndarray, float32, shape (N, rows, cols)
            S5: logits, larger means more likely fake.
        """
        ...

    def describe(self) -> dict[str, str | int | bool]:
        """Describe all that can change a number: library, version, delegate, threads, model SHA-256."""
        ...
