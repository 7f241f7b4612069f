"""Fit the re-synthesis autoencoder: ``python -m ecdd.training.forgeries.fit_autoencoder --data DIR``.

Float16 weights are kept. The same data, seed and number of threads give the same file.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from ecdd.contract.loading import load_contract
from ecdd.files import write_bytes
from ecdd.specification import CONTRACT, SPLIT
from ecdd.training.forgeries.face_shape import frame_of
from ecdd.training.forgeries.fitting_faces import FittingFace, fitting_faces
from ecdd.training.forgeries.forgery import Picture
from ecdd.training.forgeries.resynthesis import LATENT, STRIDE, WEIGHTS, FaceAutoencoder

log = logging.getLogger(__name__)
TILE = 96  # side of a training tile, pixels


def head(face: FittingFace, eye_distance: float = 72.0) -> Picture:
    """The head at up to ``eye_distance`` pixels between the eyes, reduced when larger, never enlarged."""
    frame = frame_of(face.landmarks)
    centre = frame[:, :2] @ np.array([0.0, 0.5]) + frame[:, 2]
    reach = 2.6 * face.eye_distance
    image = Image.fromarray(face.picture)
    box = (
        max(int(centre[0] - reach), 0),
        max(int(centre[1] - reach), 0),
        min(int(centre[0] + reach), image.width),
        min(int(centre[1] + reach), image.height),
    )
    factor = min(eye_distance / face.eye_distance, 1.0)
    size = (max(round((box[2] - box[0]) * factor), TILE), max(round((box[3] - box[1]) * factor), TILE))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=box))


def tiles(heads: list[Picture], count: int, rng: np.random.Generator) -> torch.Tensor:
    """Random tiles, mirrored at random, float32 (count, 3, TILE, TILE) in 0 … 1."""
    batch = np.empty((count, TILE, TILE, 3), dtype=np.float32)
    for k in range(count):
        picture = heads[int(rng.integers(len(heads)))]
        y = int(rng.integers(picture.shape[0] - TILE + 1))
        x = int(rng.integers(picture.shape[1] - TILE + 1))
        tile = picture[y : y + TILE, x : x + TILE]
        batch[k] = tile[:, ::-1] if rng.integers(2) else tile
    return torch.from_numpy(batch.transpose(0, 3, 1, 2) / np.float32(255))


def fit(heads: list[Picture], seed: int, steps: int) -> tuple[FaceAutoencoder, float]:
    """Minimise the L1 error of pixels and of their horizontal and vertical differences.

    Returns
    -------
    tuple
        The network, and the mean L1 error of the last 50 steps in grey levels.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = FaceAutoencoder()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps)
    errors: list[float] = []
    for step in range(steps):
        batch = tiles(heads, 8, rng)
        made = network(batch, 0.02 * torch.randn(8, LATENT, TILE // STRIDE, TILE // STRIDE))
        error = (made - batch).abs().mean()
        edges = sum((made.diff(dim=d) - batch.diff(dim=d)).abs().mean() for d in (2, 3))
        loss = error + 2.0 * edges
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        errors.append(float(error) * 255)
        if step % 200 == 0:
            log.info("step %d of %d: error %.2f grey levels", step, steps, float(np.mean(errors[-50:])))
    return network.eval(), float(np.mean(errors[-50:]))


def main() -> None:
    """Read the arguments, fit, write the weights atomically."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="manifest or its folder")
    parser.add_argument("--split", type=Path, default=SPLIT)
    parser.add_argument("--contract", type=Path, default=CONTRACT)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    policy = load_contract(args.contract).policy
    heads = [head(face) for face in fitting_faces(args.data, args.split, policy, min_eye_distance=30)]
    log.info("%d heads", len(heads))
    network, error = fit(heads, args.seed, args.steps)
    log.info("final error %.2f grey levels", error)
    state = {name: tensor.half().contiguous() for name, tensor in sorted(network.state_dict().items())}
    notes = {"heads": str(len(heads)), "seed": str(args.seed), "steps": str(args.steps), "error": f"{error:.3f}"}
    write_bytes(args.out, save(state, metadata=notes))


if __name__ == "__main__":
    main()
