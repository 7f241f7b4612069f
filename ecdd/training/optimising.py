"""Which weights learn, how fast, and the running average of them that ships."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from ecdd.models.patch_network import PatchNetwork
from ecdd.training.config import OptimiseSettings, TrainingError


def freeze(model: PatchNetwork, patterns: tuple[str, ...]) -> list[torch.nn.Module]:
    """Freeze parameters by name; gives the batch norms among them.

    Raises
    ------
    TrainingError
        A pattern is no regular expression or matches nothing, or nothing would be left to train.
    """
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        msg = f"--freeze: {error.pattern!r} is not a regular expression ({error})"
        raise TrainingError(msg) from error
    for pattern in compiled:
        matched = [parameter for name, parameter in model.named_parameters() if pattern.match(name)]
        if not matched:
            beginnings = ", ".join(sorted({name.split(".")[0] for name, _ in model.named_parameters()}))
            msg = f"--freeze {pattern.pattern}: no parameter begins so; there are {beginnings}"
            raise TrainingError(msg)
        for parameter in matched:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        msg = f"--freeze {' '.join(patterns)}: every parameter is frozen, nothing would be trained"
        raise TrainingError(msg)
    return [norm for norm in norms(model) if not any(parameter.requires_grad for parameter in norm.parameters())]


def norms(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Batch norms of a network."""
    return [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def parameter_groups(model: PatchNetwork, settings: OptimiseSettings) -> tuple[list[dict[str, Any]], list[float]]:
    """Trained parameters, the heads apart where they learn at a rate of their own, and each group's factor."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if settings.head_learning_rate is None:
        return [{"params": [parameter for _, parameter in named]}], [1.0]
    heads = [parameter for name, parameter in named if name.startswith("heads.")]
    trunk = [parameter for name, parameter in named if not name.startswith("heads.")]
    return [{"params": trunk}, {"params": heads}], [1.0, settings.head_learning_rate / settings.learning_rate]


def learning_rate(step: int, settings: OptimiseSettings) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    per_epoch = settings.draws // settings.batch
    warm, total = settings.warmup_epochs * per_epoch, settings.epochs * per_epoch
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    return settings.learning_rate * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(total - warm, 1))))


def move_average(averaged: PatchNetwork, model: PatchNetwork, decay: float, step: int) -> None:
    """Move averaged weights and batch-norm statistics towards the current ones; faster in the beginning."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def mean_with_start(trained: PatchNetwork, start: PatchNetwork, kept: float) -> PatchNetwork:
    """Mean of trained weights and those begun with, which weigh ``kept``; ``trained`` itself is changed."""
    with torch.no_grad():
        for value, old in zip(trained.state_dict().values(), start.state_dict().values(), strict=True):
            if kept and value.is_floating_point():
                value.lerp_(old, kept)
    return trained.eval()


def precision(settings: OptimiseSettings, device: str) -> AbstractContextManager[Any]:
    """Choose mixed precision: bfloat16 on CUDA where asked for; the CPU computes in float32."""
    if settings.precision == "float32" or not device.startswith("cuda"):
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16)
