"""A small training set of drawn noise: fakes have noise in single pixels, reals in blocks of two."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecdd.bundle import load_bundle
from ecdd.contract.schema import PolicyContract
from ecdd.pipeline.quality import FaceQuality
from ecdd.training.cache import Variant
from ecdd.training.config import TrainingConfig, load_config
from ecdd.training.sampling import BalancedSet, balanced

ROOT = Path(__file__).resolve().parents[2]


def policy() -> PolicyContract:
    """The contract of the teacher and the student."""
    return load_bundle("tiny").contract.policy


def small_config(name: str = "student", **optimise: float) -> TrainingConfig:
    """A configuration of the project, cut down to seconds, without augmentation and forgeries."""
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    changes = {"epochs": 2, "draws": 32, "batch": 8, "crop": 64, "warmup_epochs": 0, "learning_rate": 0.02, **optimise}
    smaller = config.optimise.model_copy(update=changes)
    return config.model_copy(update={"optimise": smaller, "augment": None, "forgeries": None})


def training_set(folder: Path, pictures: int = 16) -> BalancedSet:
    """Write the tensors into a folder and arrange them."""
    rng, made = np.random.default_rng(0), []
    for k in range(pictures):
        label, noise = k % 2, rng.integers(-20, 20, (1, 256, 256, 3))
        if not label:
            noise = noise[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
        path = folder / f"{k:064x}.npy"
        np.save(path, (128 + noise).astype(np.uint8))
        quality = FaceQuality(100.0, 80.0, 80.0, "exact", 1.0)
        source = ("portraits", "generator")[label]
        made.append(Variant(path.stem, f"group {k}", source, label, "harmonised", 0, False, 130, quality, path, 0))
    return balanced(made, [1000.0])
