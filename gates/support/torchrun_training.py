"""What each process of ``torchrun`` does in the test of several processes: train, and write what it ended with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ecdd.files import write_text
from ecdd.models.checkpoint import state_digest
from ecdd.training.processes import join_processes, leave_processes
from ecdd.training.trainer import Start, outcome, train_network
from gates.support.training_set import policy, small_config, training_set


def main(tensors: Path, out: Path) -> None:
    """Train on two processes in one folder; every process writes the digest of its outcome."""
    torch.set_num_threads(1)
    processes = join_processes()
    try:
        data, config = training_set(tensors / str(processes.rank)), small_config()
        history = list(train_network(config, policy(), data, data, out, Start(), processes))
        processes.agree(None)
        digest = state_digest(outcome(config, policy(), out).model.state_dict())
        aucs = [round(record.validation_auc, 9) for record in history]
        write_text(out / f"rank{processes.rank}.txt", f"{processes.count} {digest} {aucs}\n")
    finally:
        leave_processes()


def launch(tensors: Path, out: Path) -> None:
    """Two processes as ``torchrun`` starts them, but forked: what is imported is imported once."""
    torch.use_deterministic_algorithms(False)  # imports half of torch, which both would do on their own
    config = LaunchConfig(1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork")
    elastic_launch(config, main)(tensors, out)


if __name__ == "__main__":
    for rank in range(2):
        (Path(sys.argv[1]) / str(rank)).mkdir(parents=True, exist_ok=True)
    launch(Path(sys.argv[1]), Path(sys.argv[2]))
