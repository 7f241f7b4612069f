"""Pairs of perceptual hashes within a Hamming distance, among millions, under the eight symmetries of a square.

A small set is compared pair by pair. A large one is searched with many tables: each takes about log2(n) random bits of
every hash as a key and compares the hashes that share it. Two hashes d of b bits apart share the key of k bits with
probability (1 - d/b)^k, so the recall of `TABLES` tables is known and measured (``gates/benchmarks/near_pairs``).

Mirroring a picture negates the odd coefficients of its cosine transform, so it flips the odd columns or rows of the
hash. Each table turns every hash to where one odd column and one odd row of its own read 1: four symmetries for two
more bits in the key. The transposed hash is an entry of its own: a pair has two chances in each table.

Weighed and not taken: exact multi-index hashing (36 of 256 bits need 37 chunks of 7 bits, which all pairs share), exact
comparison (4e12 comparisons of 256 bits for a million pictures), a graph or a library such as faiss (the same tables as
``IndexBinaryMultiHash``, without the symmetries and with 25 MB more to install).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Pairs = NDArray[np.int64]

EXACT_UP_TO: Final = 4096
TABLES: Final = 96
TRANSPOSED: Final = 5 + 1  # place of the transposed picture among the variants, after the picture itself
_WINDOW: Final = 32  # neighbours that an entry is compared with in one table, nearest in the key's further bits
_FURTHER_BITS: Final = 12
_SLACK: Final = 8  # a mirrored hash is not to the bit the hash with its odd columns flipped
_BLOCK: Final = 2**18
_BALANCED: Final = (0.1, 0.9)


def pack(bits: NDArray[np.bool_]) -> Codes:
    """Pack hashes into words.

    Parameters
    ----------
    bits : ndarray, bool, shape (..., b)
        Hash bits, row by row.

    Returns
    -------
    ndarray, uint64, shape (..., ceil(b / 64))
        Filled up with zeros.
    """
    lacking = -bits.shape[-1] % 64
    padded = np.concatenate([bits, np.zeros((*bits.shape[:-1], lacking), bool)], axis=-1)
    return np.ascontiguousarray(np.packbits(padded, axis=-1, bitorder="little")).view(np.uint64)


def near_pairs(
    variants: Codes,
    hash_size: int,
    limit: int,
    *,
    tables: int = TABLES,
    exact_up_to: int = EXACT_UP_TO,
    threads: int = 2,
    seed: int = 0,
) -> tuple[Pairs, NDArray[np.int16]]:
    """Find the pairs of pictures whose hashes are near under any symmetry.

    Parameters
    ----------
    variants : ndarray, uint64, shape (n, 8, w)
        Hashes of every picture as it is and under the seven other symmetries, in the order of `hash_picture`.
    hash_size : int
        Side of a hash, in bits.
    limit : int
        Largest Hamming distance of a pair, bits.
    tables, exact_up_to, threads, seed : int
        Of the search; up to ``exact_up_to`` pictures every pair is compared.

    Returns
    -------
    pairs : ndarray, int64, shape (p, 2)
        Positions, first < second, sorted.
    distances : ndarray, int16, shape (p,)
        Smallest over the symmetries.
    """
    n = len(variants)
    if n <= exact_up_to:
        chunks = list(_every_pair(n))
    else:
        chunks = list(_blocks(_Tables(variants, hash_size, limit + _SLACK, seed).candidates(tables, threads)))
    found, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int16)]
    with ThreadPoolExecutor(threads) as pool:
        for pairs, distance in zip(chunks, pool.map(lambda one: distances_of(variants, one), chunks), strict=True):
            near = distance <= limit
            found.append(pairs[near])
            distances.append(distance[near])
    return np.concatenate(found), np.concatenate(distances)


def distances_of(variants: Codes, pairs: Pairs) -> NDArray[np.int16]:
    """Smallest Hamming distance of pairs over the symmetries of either picture.

    Parameters
    ----------
    variants : ndarray, uint64, shape (n, 8, w)
        Hashes.
    pairs : ndarray, int64, shape (p, 2)
        Positions.

    Returns
    -------
    ndarray, int16, shape (p,)
        0 to the bits of a hash.
    """
    best = np.full(len(pairs), np.iinfo(np.int16).max, np.int16)
    for one, other in (pairs.T, pairs.T[::-1]):
        base = variants[one, 0]
        for symmetry in range(variants.shape[1]):
            differing = np.bitwise_count(base ^ variants[other, symmetry]).sum(axis=1, dtype=np.int16)
            np.minimum(best, differing, out=best)
    return best


def _every_pair(n: int) -> Iterator[Pairs]:
    rows = max(1, _BLOCK // max(n, 1))
    for start in range(0, n, rows):
        first, second = np.mgrid[start : min(start + rows, n), 0:n]
        later = second > first
        yield np.stack([first[later], second[later]], axis=1)


def _blocks(pairs: Pairs) -> Iterator[Pairs]:
    for start in range(0, len(pairs), _BLOCK):
        yield pairs[start : start + _BLOCK]


class _Tables:
    """Hashes and transposed hashes as bit planes, and the tables over them."""

    def __init__(self, variants: Codes, hash_size: int, limit: int, seed: int) -> None:
        self._n, self._limit, self._seed = len(variants), limit, seed
        self._codes = np.concatenate([variants[:, 0], variants[:, TRANSPOSED]])
        place = np.arange(hash_size**2)
        row, column = place // hash_size, place % hash_size
        self._odd = np.stack([column % 2 == 1, row % 2 == 1])  # what a mirror, and one upside down, flips
        self._planes = np.stack([self._plane(int(bit)) for bit in place])
        share = self._planes.mean(axis=1, dtype=np.float64)
        # a bit that all hashes share splits nothing; one that mirroring flips is balanced once it is turned
        useful = ((share > _BALANCED[0]) & (share < _BALANCED[1])) | self._odd.any(axis=0)
        self._useful = np.flatnonzero(useful)
        self._pivots = [np.flatnonzero(self._odd[k] & ~self._odd[1 - k]) for k in (0, 1)]
        flips = [np.zeros(hash_size**2, bool), self._odd[0], self._odd[1], self._odd[0] ^ self._odd[1]]
        self._flips = pack(np.stack(flips))

    def _plane(self, bit: int) -> NDArray[np.uint8]:
        word = self._codes[:, bit // 64] >> np.uint64(bit % 64)
        return (word & np.uint64(1)).astype(np.uint8)

    def candidates(self, tables: int, threads: int) -> Pairs:
        """Pairs that share a key in a table and are within the limit there, each once, sorted."""
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(self._table, range(tables)))
        keys = np.unique(np.concatenate(found))
        return np.stack([keys // self._n, keys % self._n], axis=1)

    def _table(self, number: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, number])
        turned = np.zeros(len(self._codes), np.uint8)  # which of the four flips makes the pivots 1
        pivots = [int(rng.choice(places)) for places in self._pivots]
        for k, pivot in enumerate(pivots):
            turned |= (1 - self._planes[pivot]) << np.uint8(k)
        length = int(np.ceil(np.log2(len(self._codes))))
        usable = self._useful[~np.isin(self._useful, pivots)]
        bits = rng.permutation(usable)[: length + _FURTHER_BITS]
        # key above, place below: one sort of plain integers
        under = np.uint64(length)
        entries = self._key(bits, turned) << under
        entries |= np.arange(len(self._codes), dtype=np.uint64)
        entries.sort()
        places = (entries & ((np.uint64(1) << under) - np.uint64(1))).astype(np.int64)
        keys = entries >> np.uint64(under + np.uint64(len(bits) - min(length, len(bits))))
        return self._compare(keys, places, turned)

    def _key(self, bits: NDArray[np.int64], turned: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Bits of the turned hashes, the first in the highest place."""
        key = np.zeros(len(self._codes), np.uint64)
        odd = np.zeros(2, np.uint64)
        for bit in bits:
            key <<= np.uint64(1)
            key |= self._planes[bit]
            odd = (odd << np.uint64(1)) | self._odd[:, bit].astype(np.uint64)
        flips = np.array([0, odd[0], odd[1], odd[0] ^ odd[1]], np.uint64)
        turned_key: NDArray[np.uint64] = key ^ flips[turned]
        return turned_key

    def _compare(
        self, keys: NDArray[np.uint64], places: NDArray[np.int64], turned: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        """Compare every entry with the next ones of its key."""
        found = [np.zeros(0, np.int64)]
        here = np.arange(len(keys))
        for step in itertools.count(1):
            here = here[here + step < len(keys)]
            here = here[keys[here] == keys[here + step]]
            if not len(here) or step > _WINDOW:
                return np.unique(np.concatenate(found))
            one, other = places[here], places[here + step]
            differing = self._codes[one] ^ self._codes[other] ^ self._flips[turned[one] ^ turned[other]]
            near = np.bitwise_count(differing).sum(axis=1, dtype=np.int16) <= self._limit
            first, second = one[near] % self._n, other[near] % self._n
            low, high = np.minimum(first, second), np.maximum(first, second)
            found.append((low * self._n + high)[low < high])
        raise AssertionError
