"""Training from the tensor cache against a loader that decodes every epoch, and scoring from a warm cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecdd.bundle import load_bundle
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.lineage_tags import LineageTag, SplitRow
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.models.architectures import build_network
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.preprocess import normalise
from ecdd.pipeline.stages import prepare
from ecdd.training.batches import make_batch, pooled_logits
from ecdd.training.cache import ORIGINAL, Variant, fill_cache, load_variants
from ecdd.training.config import TrainingConfig, load_config
from ecdd.training.losses import picture_loss
from gates.benchmarks.pictures import write_picture

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIDE = 1024  # px, as generated pictures often have it
BATCH, BATCHES, ROUNDS = 16, 4, 5


@pytest.fixture(scope="session")
def contract() -> LoadedContract:
    """That of the teacher and the student, whatever network is the default bundle's."""
    return load_bundle("tiny").contract


@pytest.fixture(scope="session")
def config() -> TrainingConfig:
    return load_config(CONFIGS / "teacher.yaml")


@pytest.fixture(scope="session")
def rows(golden: Any, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[ManifestRow, SplitRow]]:
    """The in-scope golden faces on canvases of 1024x1024, as rows of a manifest."""
    import hashlib

    folder, made = tmp_path_factory.mktemp("bench_training"), []
    for item in golden.by_set("in_scope"):
        path = write_picture(Path(item.path), (SIDE, SIDE), folder / f"{item.id}.jpg")
        sha256, label = hashlib.sha256(path.read_bytes()).hexdigest(), int(item.expected.label == "fake")
        row = ManifestRow(path, path.name, label, "face", "golden", None, sha256)
        made.append((row, SplitRow(sha256, LineageTag.TRAIN, sha256, "unknown", str(label), "face", "golden")))
    return made


@pytest.fixture(scope="session")
def variants(
    rows: Any, contract: LoadedContract, config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> list[Variant]:
    """Every tensor of the pictures, in a cache that is warm."""
    folder = tmp_path_factory.mktemp("bench_tensors")
    for _ in fill_cache(rows, contract, config, folder):
        pass
    gates = contract.policy.quality_gates.model_copy(update={"blur_threshold": 0.0, "min_face_side": 1})
    found, _ = load_variants(rows, folder, gates)
    assert len(found) >= 2 * BATCH, f"{len(found)} tensors: too few to measure on"
    return found


def train(network: Any, batches: Any, contract: LoadedContract) -> None:
    """Steps of the optimiser on the batches that an iterator makes while it goes."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    for tensors, labels in batches:
        optimiser.zero_grad()
        picture_loss(network(tensors), labels, 0.0, contract.policy.pooling).backward()
        optimiser.step()


def from_cache(variants: list[Variant], contract: LoadedContract, config: TrainingConfig) -> Any:
    rng = np.random.default_rng(0)
    for _ in range(BATCHES):
        drawn = [variants[int(k)] for k in rng.integers(len(variants), size=BATCH)]
        batch = make_batch(drawn, contract.policy, config.optimise.crop, None, rng)
        yield batch.tensors, batch.labels


def decoding(rows: Any, contract: LoadedContract, config: TrainingConfig, finder: Any) -> Any:
    """The peer: every picture of every batch is read, decoded, searched for a face, cut and resized."""
    rng, policy, crop = np.random.default_rng(0), contract.policy, config.optimise.crop
    for _ in range(BATCHES):
        drawn = [rows[int(k)][0] for k in rng.integers(len(rows), size=BATCH)]
        parts = []
        for row in drawn:
            face = prepare(read_file(row.path, policy.pixel_pipeline), policy, finder).faces[0]
            parts.append(normalise(np.ascontiguousarray(face.s3[:crop, :crop]), policy.pixel_pipeline))
        labels = torch.tensor([float(row.label) for row in drawn])
        yield torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2), labels


@pytest.mark.parametrize("loader", ["cached", "decoding"])
@pytest.mark.parametrize("kind", ["student", "teacher", "none"])
def test_training(
    benchmark: Any, kind: str, loader: str, rows: Any, variants: Any, contract: Any, config: Any, detector: Any
) -> None:
    """Images a second of a training; ``none``: of the loader alone."""
    torch.set_num_threads(1)
    grid = contract.policy.patch_grid
    name, width = {"student": ("tiny_ladeda", 1.0)}.get(kind, ("ladeda9", config.architecture.width))
    network = build_network(name, grid.input_operator, grid.operator_scale, width).train()

    def once() -> None:
        if loader == "cached":
            batches = from_cache(variants, contract, config)
        else:
            batches = decoding(rows, contract, config, detector.face_backend)
        if kind == "none":
            for _ in batches:
                pass
        else:
            train(network, batches, contract)

    benchmark.extra_info["images"] = BATCH * BATCHES
    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)


def test_scoring_from_a_warm_cache(benchmark: Any, variants: list[Variant], contract: LoadedContract) -> None:
    """Every picture's own face by the student in torch, two jobs: what a whole data folder is scored with."""
    torch.set_num_threads(1)
    grid = contract.policy.patch_grid
    network = build_network("tiny_ladeda", grid.input_operator, grid.operator_scale, 1.0).eval()
    own = [v for v in variants if v.kind == ORIGINAL] * 8
    benchmark.extra_info["images"] = len(own)
    benchmark.pedantic(pooled_logits, args=(network, own, contract.policy, "cpu", 2), rounds=ROUNDS, warmup_rounds=1)
