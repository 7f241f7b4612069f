"""Eager torch behind the runtime protocol: the float reference with unfolded weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecdd.runtimes.base import ModelOutputs

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TorchRuntime:
    """The network of a checkpoint in eager torch.

    Parameters
    ----------
    weights : Path
        ``weights.safetensors``, whose metadata names the input operator.
    threads : int
        Threads of torch, for the whole process.

    Raises
    ------
    ImportError
        Without the extra ``train``.
    """

    def __init__(self, weights: Path, *, threads: int = 1) -> None:
        import torch

        from ecdd.models.checkpoint import load_weights

        torch.set_num_threads(threads)
        self._torch = torch
        self._model = load_weights(weights)[0].eval()
        self._about: dict[str, str | int | bool] = {
            "runtime": "torch",
            "library": f"torch {torch.__version__}",
            "delegate": "eager",
            "threads": threads,
            "model_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute maps; a checkpoint pools nothing."""
        return ModelOutputs(self.patch_map(batch), None)

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute patch-logit maps; shapes as in `PatchRuntime`."""
        with self._torch.inference_mode():
            maps = self._model(self._torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2))))
        return np.asarray(maps.squeeze(1) if maps.ndim == 4 else maps)

    def describe(self) -> dict[str, str | int | bool]:
        """All that can change a number."""
        return dict(self._about)
