"""The trainer: starts, frozen parts, teachers, failures, interruptions, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ecdd.models.architectures import build_network
from ecdd.models.checkpoint import state_digest
from ecdd.training.batches import pooled_logits
from ecdd.training.config import DistilSettings, TrainingConfig, TrainingError, load_config
from ecdd.training.curves import EpochRecord, write_figure
from ecdd.training.processes import Processes, join_processes
from ecdd.training.sampling import BalancedSet, balanced
from ecdd.training.trainer import STATE_FILE, Start, outcome, seeded_network, train_network
from gates.support.training_set import ROOT, policy, small_config, training_set

ALONE = Processes(0, 1, "cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> BalancedSet:
    return training_set(tmp_path_factory.mktemp("tensors"))


def trained(
    config: TrainingConfig, data: BalancedSet, out: Path, start: Start | None = None
) -> dict[str, torch.Tensor]:
    watched = balanced(data.variants[:4], [1000.0])  # what is asserted of these trainings is not their validation
    list(train_network(config, policy(), data, watched, out, start or Start(), ALONE))
    return outcome(config, policy(), out).model.state_dict()


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_two_runs_give_identical_weights(name: str, data: BalancedSet, tmp_path: Path) -> None:
    augment = load_config(ROOT / "configs" / "student.yaml").augment
    assert augment is not None
    config = small_config(name).model_copy(update={"augment": augment})
    first, second = (trained(config, data, tmp_path / part) for part in "ab")
    assert state_digest(first) == state_digest(second)
    assert state_digest(first) != state_digest(seeded_network(config, policy()).state_dict())


def test_a_training_begins_with_the_given_weights(data: BalancedSet, tmp_path: Path) -> None:
    config = small_config(learning_rate=1e-12, weight_decay=0.0, epochs=1)
    begin = seeded_network(config.model_copy(update={"seed": 5}), policy()).state_dict()
    end = trained(config, data, tmp_path, Start(init=begin))
    assert all(torch.allclose(end[name], begin[name], atol=1e-6) for name in end if name.endswith("conv1.weight"))
    with pytest.raises(TrainingError, match="--init does not fit tiny_ladeda of width 1"):
        trained(config, data, tmp_path / "b", Start(init={"conv1.weight": torch.zeros(1)}))


def test_frozen_parts_stay_with_their_statistics_and_the_rest_learns(data: BalancedSet, tmp_path: Path) -> None:
    config = small_config()
    begin = seeded_network(config, policy()).state_dict()
    end = trained(config, data, tmp_path, Start(freeze=("conv", "bn1")))
    for name, value in end.items():
        stays = name.startswith(("conv", "bn1"))
        assert torch.equal(value, begin[name]) == stays or name.endswith("num_batches_tracked"), name


@pytest.mark.parametrize(
    ("patterns", "message"),
    [(("nothing",), "no parameter begins so; there are bn1, conv1"), ((".*",), "every parameter"), (("(",), "regular")],
)
def test_freezing_that_cannot_be_is_named(
    patterns: tuple[str, ...], message: str, data: BalancedSet, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message):
        trained(small_config(), data, tmp_path, Start(freeze=patterns))


def test_a_student_that_only_follows_comes_nearer_to_its_teacher(data: BalancedSet, tmp_path: Path) -> None:
    settings = DistilSettings(loss="mse", weight=1.0, first_stage_epochs=6)
    config = small_config(epochs=6, average=0.0).model_copy(update={"distil": settings})
    teacher = seeded_network(config.model_copy(update={"seed": 9}), policy()).eval()
    student = outcome_model(config, data, tmp_path, teacher)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.inference_mode():
        wanted = teacher(x)
        before, after = (
            ((m.eval()(x) - wanted) ** 2).mean().item() for m in (seeded_network(config, policy()), student)
        )
    assert after < before / 2


def outcome_model(config: TrainingConfig, data: BalancedSet, out: Path, teacher: torch.nn.Module) -> torch.nn.Module:
    trained(config, data, out, Start(teacher=teacher))  # type: ignore[arg-type]
    return outcome(config, policy(), out).model


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(
    data: BalancedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(epochs=3)
    steps = train_network(config, policy(), data, data, tmp_path, Start(), ALONE)
    next(steps)
    good = (tmp_path / STATE_FILE).read_bytes()
    monkeypatch.setattr("ecdd.training.trainer.training_loss", lambda *_, **__: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match=r"epoch 2: the loss is nan; lower optimise\.learning_rate"):
        next(steps)
    assert (tmp_path / STATE_FILE).read_bytes() == good
    assert outcome(config, policy(), tmp_path).best.epoch == 1


def test_a_teacher_learns_too(data: BalancedSet, tmp_path: Path) -> None:
    config = small_config("teacher", epochs=4, learning_rate=0.004, average=0.8)
    history = list(train_network(config, policy(), data, data, tmp_path, Start(), ALONE))
    assert history[-1].validation_auc > 0.9


def test_a_batch_that_processes_cannot_share_is_refused(data: BalancedSet, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="batch 8 cannot be shared by 3 processes"):
        next(train_network(small_config(), policy(), data, data, tmp_path, Start(), Processes(0, 3, "cpu")))


def test_an_environment_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(TrainingError, match="WORLD_SIZE"):
        join_processes()


def test_two_processes_share_batches_and_end_with_one_network(tmp_path: Path) -> None:
    digests = []
    for run in "ab":
        out = tmp_path / run
        command = [sys.executable, "-m", "gates.support.torchrun_training", str(tmp_path / "tensors"), str(out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [(out / f"rank{rank}.txt").read_text() for rank in (0, 1)]
        assert lines[0] == lines[1]
        assert lines[0].startswith("2 ")
        digests.append(lines[0])
    assert digests[0] == digests[1]


def test_the_figure_is_a_picture(tmp_path: Path) -> None:
    history = [EpochRecord(k, 0.7 - 0.1 * k, 0.5 + 0.1 * k, 0.6, 0.01, 1.0) for k in (1, 2, 3)]
    write_figure(history, {"portraits": (0.7, 0.6, 0.8)}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_scoring_in_several_jobs_does_not_change_a_bit(tmp_path: Path) -> None:
    variants = training_set(tmp_path).variants
    network = build_network("tiny_ladeda", "NPR", 2 / 3, 1.0)
    one, three = (pooled_logits(network, variants[:7], policy(), jobs=jobs) for jobs in (1, 3))
    assert one.shape == (7,)
    assert np.array_equal(one, three)
    assert network.training
