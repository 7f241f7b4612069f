"""Hashes made in bulk: uniform bits, and hashes of made windows of pictures, which are as uneven as real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.dataset_governance.near_pairs import Codes, pack

Bits = NDArray[np.bool_]
SIZE = 16
_SIDE = 64
_ROWS = 4000


def symmetric(bits: Bits) -> Codes:
    """Packed hashes under the eight symmetries: a mirror flips odd columns or rows, a quarter turn transposes."""
    odd = np.arange(bits.shape[-1]) % 2 == 1
    across, down, turned = (lambda b: b ^ odd), (lambda b: b ^ odd[:, None]), (lambda b: b.transpose(0, 2, 1))
    every = (
        bits, across(bits), down(bits), down(turned(bits)), across(down(bits)), across(turned(bits)), turned(bits),
        across(down(turned(bits))),
    )  # fmt: skip
    return np.stack([pack(one.reshape(len(bits), bits.shape[-1] ** 2)) for one in every], axis=1)


def uniform(n: int, rng: np.random.Generator) -> Bits:
    return np.unpackbits(rng.integers(0, 256, (n, SIZE * SIZE // 8), np.uint8), axis=1).reshape(n, SIZE, SIZE) == 1


def of_windows(pictures: list[NDArray[np.float32]], n: int, rng: np.random.Generator) -> tuple[Bits, Bits]:
    """Cosine hashes of n mixtures of two windows of pictures, and of the same with noise and another contrast.

    Parameters
    ----------
    pictures : list of ndarray, float32, shape (H, W)
        Grey levels, sides of at least 64.
    n : int
        Hashes.
    rng : Generator
        Of windows and noise.

    Returns
    -------
    tuple of (ndarray, ndarray), bool, shape (n, 16, 16)
        Originals and their changed copies.
    """
    from scipy.fft import dct

    basis = dct(np.eye(_SIDE, dtype=np.float32), axis=0)[:SIZE]

    def hashed(tiles: NDArray[np.float32]) -> Bits:
        low = basis @ tiles @ basis.T
        found: Bits = low > np.median(low.reshape(len(low), -1), axis=1)[:, None, None]
        return found

    originals, copies = [], []
    for start in range(0, n, _ROWS):
        count = min(_ROWS, n - start)
        tiles = sum(0.5 * np.stack(list(_windows(pictures, count, rng))) for _ in range(2))
        changed = tiles * 0.9 + rng.normal(0, 1, tiles.shape).astype(np.float32) * rng.uniform(0, 40, (count, 1, 1))
        originals.append(hashed(tiles))
        copies.append(hashed(changed.astype(np.float32)))
    return np.concatenate(originals), np.concatenate(copies)


def _windows(pictures: list[Any], n: int, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    for which in rng.integers(0, len(pictures), n):
        picture = pictures[which]
        top, left = (int(rng.integers(0, side - _SIDE + 1)) for side in picture.shape)
        yield picture[top : top + _SIDE, left : left + _SIDE]
