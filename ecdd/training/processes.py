"""One process or several: the device, the share of a batch, and what only the first process does.

Started by ``torchrun``, every process draws the same batch and computes its share of it, gradients are averaged. The
CPU's backend is gloo, CUDA's is NCCL. Batch norm sees each process's share alone, so two processes learn nearly, not
exactly, what one does; each number of processes is reproducible in itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from ecdd.training.config import TrainingError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """One process among its peers.

    Attributes
    ----------
    rank, count : int
        Number of this process and how many there are.
    device : str
        ``cpu`` or ``cuda:k``.
    """

    rank: int
    count: int
    device: str

    @property
    def first(self) -> bool:
        """Whether this process writes files and validates."""
        return self.rank == 0

    def share(self, values: list[Value]) -> list[Value]:
        """Take this process's share of a batch: every ``count``-th element."""
        return values[self.rank :: self.count]

    def wrap(self, model: nn.Module) -> nn.Module:
        """Average gradients over the processes; the model itself where there is one process."""
        if self.count == 1:
            return model
        return nn.parallel.DistributedDataParallel(model)

    def agree(self, value: Value) -> Value:
        """Give every process the first one's value."""
        if self.count == 1:
            return value
        holder: list[Value] = [value]
        torch.distributed.broadcast_object_list(holder, src=0)
        return holder[0]


def join_processes() -> Processes:
    """Read what ``torchrun`` set, join the group and choose the device.

    Returns
    -------
    Processes
        One process on its own where ``torchrun`` did not start this one.

    Raises
    ------
    TrainingError
        For an environment that is incomplete.
    """
    try:
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
    except ValueError as error:
        msg = f"RANK, WORLD_SIZE or LOCAL_RANK is not a number ({error}); start with torchrun, or unset them"
        raise TrainingError(msg) from error
    cuda = torch.cuda.is_available()
    device = f"cuda:{local}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(local)
    if count > 1 and not torch.distributed.is_initialized():
        try:
            torch.distributed.init_process_group("nccl" if cuda else "gloo")
        except (RuntimeError, ValueError) as error:
            msg = f"{count} processes cannot be joined ({error}); start with torchrun --nproc_per_node {count}"
            raise TrainingError(msg) from error
    return Processes(rank, count, device)


def leave_processes() -> None:
    """Leave the group, where there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
