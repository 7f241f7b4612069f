"""Eager torch behind the runtime protocol: the float reference with unfolded weights."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecdd.runtimes.base import INPUT_NAME, MAP_NAME, Description, ModelOutputs, RuntimeFileError
from ecdd.runtimes.model_file import read_model, recognise
from ecdd.runtimes.model_interface import OPEN, Chosen, ModelInterface, TensorFacts, check_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TorchRuntime:
    """The network of a checkpoint in eager torch.

    Parameters
    ----------
    weights : Path or bytes
        ``weights.safetensors``, or its content; its metadata names the input operator.
    threads : int
        Threads of torch, for the whole process.
    interface : ModelInterface, optional
        Side of the input and shape of the map that are needed; any by default.
    name : str
        For messages, where content is given.

    Raises
    ------
    ImportError
        Without the extra ``train``.
    RuntimeFileError
        If the file holds no network of this project, or one with another map.
    """

    def __init__(
        self,
        weights: Path | bytes,
        *,
        threads: int = 1,
        interface: ModelInterface | None = None,
        name: str = "weights",
    ) -> None:
        import torch

        from ecdd.models.checkpoint import load_weights
        from ecdd.models.state_dicts import CheckpointError

        torch.set_num_threads(threads)
        self._torch, self._threads = torch, threads
        file, self._content = read_model(weights, name)
        with tempfile.TemporaryDirectory() as folder:  # the very content that was read, described and verified
            copy = Path(folder) / "weights.safetensors"
            copy.write_bytes(self._content)
            try:
                self._model = load_weights(copy)[0].eval()
            except CheckpointError as error:
                found = f"{recognise(self._content)}: {str(error).removeprefix(f'{copy}: ')}"
                raise RuntimeFileError(file, "weights of a network with their identity", found) from error
        side = (interface or ModelInterface()).side or OPEN
        self._input = TensorFacts(INPUT_NAME, "float32", (OPEN, side, side, 3))
        self.interface = ModelInterface()
        self.every = [TensorFacts(MAP_NAME, "float32", (OPEN, *self._check(file, interface)))]
        self.chosen = Chosen(self._input, self.every[0], None)

    def outputs(self, batch: NDArray[np.float32]) -> ModelOutputs:
        """Compute maps; a checkpoint pools nothing."""
        return ModelOutputs(self.patch_map(batch), None)

    def named_outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The map, by its name."""
        return {MAP_NAME: self.patch_map(batch)}

    def patch_map(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute patch-logit maps; shapes as in `PatchRuntime`."""
        check_batch(batch, self._input)
        with self._torch.inference_mode():
            maps = self._model(self._torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2))))
        return np.asarray(maps.squeeze(1) if maps.ndim == 4 else maps)

    def describe(self) -> Description:
        """All that can change a number."""
        from ecdd.runtimes.processor import processor

        return {
            "runtime": "torch",
            "library": f"torch {self._torch.__version__}",
            "delegate": f"eager {self._torch.backends.cpu.get_cpu_capability()}",
            "threads": self._threads,
            "preserve_all_tensors": False,
            "model_sha256": hashlib.sha256(self._content).hexdigest(),
            "processor": processor(),
            "inputs": str(self._input),
            "outputs": str(self.every[0]),
        }

    def _check(self, file: str, interface: ModelInterface | None) -> tuple[int, int]:
        """Compute one map where its shape is asked for: a checkpoint states none."""
        if interface is None or interface.side is None:
            return OPEN, OPEN
        rows, cols = self.patch_map(np.zeros((1, interface.side, interface.side, 3), np.float32)).shape[1:]
        interface.select(file, [self._input], [TensorFacts(MAP_NAME, "float32", (OPEN, rows, cols))])
        return rows, cols
