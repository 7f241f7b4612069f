"""Near-duplicate scan (E8.1): perceptual hashes of whole pictures, local features for crops of one photograph.

Measured on 808 pictures (portraits, generated faces, pictures without a face). Planted copies are of every eighth
picture for hashes and of every sixth (124 faces, 11 without) for local features.

Hashes, 256 bits, eight symmetries: true copies lie at 0 to 24 bits, the next pair of different pictures at 52; the
contract's limit is 36. Planted copies, worst: JPEG quality 40 14 bits, half size 10, mirrored 0, turned by
90 degrees 6. A crop by 5 % on each side lies at 82 (median), so hashes alone miss it. 64-bit hashes put different
portraits before plain backgrounds 4 bits apart: too short for faces.

Local features, points shared: the five true pairs have 28 to 103, the next pair of different photographs 17; the limit
is the contract's `near_duplicate_min_points`. Found of planted copies of faces: 5 % crops 100 % (also mirrored),
off-centre crops to 70 % of each side 97 %, to 50 % 67 %. Of pictures without a face: 82 %, 45 % and 9 %: text and flat
drawings have few points. So a strong crop can still be missed; pictures of one person that are not one photograph are
no near-duplicates at all. Comparing local features takes time with the square of the pictures: above `CROPS_UP_TO` of
them the scan is by hash alone, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ecdd.contract.pixel_sections import PixelPipeline
from ecdd.contract.process_sections import DatasetGovernance
from ecdd.dataset_governance import near_pairs
from ecdd.dataset_governance.photograph_match import shared_points
from ecdd.dataset_governance.picture_hashes import Keyed, Work, features_of, hashes_of

CROPS_UP_TO: Final = 4000


@dataclass(frozen=True)
class ScanResult:
    """What a scan found.

    Attributes
    ----------
    groups : dict of str to str
        SHA-256 to near-duplicate group: the smallest SHA-256 in it.
    hash_groups : dict of str to str
        The same by perceptual hash alone, so without crops.
    pairs : tuple of NearDuplicate
        Every pair that joined two pictures, by key.
    crops : bool
        Whether crops were looked for.
    """

    groups: dict[str, str]
    hash_groups: dict[str, str]
    pairs: tuple[NearDuplicate, ...]
    crops: bool


@dataclass(frozen=True)
class NearDuplicate:
    """Two pictures that are one photograph, and what showed it.

    Attributes
    ----------
    first, second : str
        SHA-256, first < second.
    distance : int
        Hamming distance of the perceptual hashes, bits.
    shared_points : int
        Local features that one similarity maps onto each other; 0 where too few matched to try.
    """

    first: str
    second: str
    distance: int
    shared_points: int


def scan(
    files: Sequence[Keyed], pixels: PixelPipeline, governance: DatasetGovernance, work: Work | None = None
) -> ScanResult:
    """Scan files for near-duplicates, whole pictures by perceptual hash and crops by local features.

    Parameters
    ----------
    files : sequence of (key, path)
        Key is the SHA-256; files with one key are one picture.
    pixels : PixelPipeline
        Decoding policy. A wrong extension does not matter here: the content is compared.
    governance : DatasetGovernance
        Gives ``near_duplicate_hash_size``, ``near_duplicate_max_distance`` and ``near_duplicate_min_points``.
    work : Work, optional
        Processes, and where hashes are kept.

    Returns
    -------
    ScanResult
        A group for every file.

    Raises
    ------
    UnreadableError
        Naming every file that cannot be decoded, or that there is no file at all.
    """
    how = work or Work()
    limit = governance.near_duplicate_max_distance
    codes = hashes_of(files, pixels, governance.near_duplicate_hash_size, how)
    places, distances = near_pairs.near_pairs(
        codes, governance.near_duplicate_hash_size, limit, threads=max(1, how.jobs)
    )
    joined = {(int(a), int(b)): int(d) for (a, b), d in zip(places, distances, strict=True)}
    shared: dict[tuple[int, int], int] = {}
    if crops := len(files) <= CROPS_UP_TO:
        counted = shared_points(features_of(files, pixels, how))
        shared = {pair: n for pair, n in counted.items() if n >= governance.near_duplicate_min_points or pair in joined}
        only = [pair for pair in sorted(shared) if pair not in joined]
        found = near_pairs.distances_of(codes, np.array(only, np.int64).reshape(-1, 2))
        joined |= {pair: int(distance) for pair, distance in zip(only, found, strict=True)}
    keys = [key for key, _ in files]
    pairs = []
    for (a, b), distance in joined.items():
        first, second = sorted((keys[a], keys[b]))
        pairs.append(NearDuplicate(first, second, distance, shared.get((a, b), 0)))
    pairs.sort(key=lambda pair: (pair.first, pair.second))
    return ScanResult(
        groups=union_groups(keys, [(pair.first, pair.second) for pair in pairs]),
        hash_groups=union_groups(keys, [(pair.first, pair.second) for pair in pairs if pair.distance <= limit]),
        pairs=tuple(pairs),
        crops=crops,
    )


def union_groups(keys: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Group keys that are linked by pairs, transitively.

    Parameters
    ----------
    keys : sequence of str
        Every key; equal keys are one picture.
    pairs : sequence of (str, str)
        Links.

    Returns
    -------
    dict of str to str
        Key to its group: the smallest key in it.
    """
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for first, second in pairs:
        one, two = sorted((root(first), root(second)))
        parent[two] = one
    return {key: root(key) for key in parent}
