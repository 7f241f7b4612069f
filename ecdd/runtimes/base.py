"""The protocol that every runtime fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ecdd.errors import EcddError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.runtimes.model_interface import Chosen, ModelInterface, TensorFacts

INPUT_NAME, MAP_NAME, POOLED_NAME = "image", "patch_logits", "pooled_logit"
Description = dict[str, str | int | bool]


class RuntimeFileError(EcddError):
    """A model file that is not the one that is needed.

    Parameters
    ----------
    file : str
        Which file, by name.
    expected, found : str
        What is needed, and what is there.
    """

    def __init__(self, file: str, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}; found {found}")
        self.file, self.expected, self.found = file, expected, found


class DelegateError(EcddError):
    """A delegate that cannot be had here: what it would compute is *not tested*, never passed."""


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """What a model gives for a batch.

    Attributes
    ----------
    maps : ndarray, float32, shape (N, rows, cols)
        S5: logits, larger means more likely fake; of a model without a map its one logit.
    pooled : ndarray, float32, shape (N,), or None
        S6 as the file's own graph gives it; None where the file gives the map alone.
    """

    maps: NDArray[np.float32]
    pooled: NDArray[np.float32] | None


class PatchRuntime(Protocol):
    """A model file loaded in one inference library.

    Attributes
    ----------
    interface : ModelInterface
        Names, layout and meaning, as it was opened with.
    chosen : Chosen
        Which of the file's tensors is the picture, the map and the logit.
    every : list of TensorFacts
        All outputs of the file.
    """

    interface: ModelInterface
    chosen: Chosen
    every: list[TensorFacts]

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute map and logit of the file; parameters as in `patch_map`."""
        ...

    def named_outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Compute every output of the file as it is, by name; the batch first."""
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

        Raises
        ------
        ValueError
            For another dtype or shape.
        """
        ...

    def describe(self) -> Description:
        """Describe all that can change a number.

        Returns
        -------
        dict
            ``runtime``, ``library`` (with version), ``delegate``, ``threads``, ``preserve_all_tensors``,
            ``model_sha256``, ``processor``, ``inputs`` and ``outputs`` (name, dtype, shape, quantisation).
        """
        ...
