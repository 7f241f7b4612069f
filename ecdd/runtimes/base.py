"""The protocol that every runtime fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAP_NAME, POOLED_NAME = "patch_logits", "pooled_logit"


class RuntimeFileError(ValueError):
    """A model file whose inputs or outputs are not those of a detector; the message names expectation and finding."""


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """What a model gives for a batch.

    Attributes
    ----------
    maps : ndarray, float32, shape (N, rows, cols)
        S5: logits, larger means more likely fake.
    pooled : ndarray, float32, shape (N,), or None
        S6 as the file's own graph pools it; None where the file gives the map alone.
    """

    maps: NDArray[np.float32]
    pooled: NDArray[np.float32] | None


class PatchRuntime(Protocol):
    """A model file loaded in one inference library."""

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute every output of the file; parameters as in `patch_map`."""
        ...

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
