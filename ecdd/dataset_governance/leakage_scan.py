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
no near-duplicates at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.contract.pixel_sections import PixelPipeline
from ecdd.contract.process_sections import DatasetGovernance
from ecdd.dataset_governance.photograph_match import LocalFeatures, local_features, shared_points
from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.reason_codes import Rejected

# The eight symmetries of a square: a copy may be turned, mirrored or both.
_SYMMETRIES: Final = (None, *Image.Transpose)
_THUMBNAIL_FACTOR: Final = 4


class UnreadableError(Exception):
    """Pictures that could not be hashed; a scan never leaves one out."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class HashedPicture:
    """Perceptual hashes of one picture: row 0 as it is, the others under the seven other symmetries.

    Attributes
    ----------
    key : str
        SHA-256 of the file.
    bits : ndarray, bool, shape (8, hash_size**2)
        Hash bits.
    """

    key: str
    bits: NDArray[np.bool_]


def hash_picture(image: Image.Image, hash_size: int) -> NDArray[np.bool_]:
    """Hash a picture under the eight symmetries of the square.

    Parameters
    ----------
    image : Image
        S1.
    hash_size : int
        Side of the hash; bits = side squared.

    Returns
    -------
    ndarray, bool, shape (8, hash_size**2)
        DCT hashes (``imagehash.phash``).
    """
    import imagehash

    side = hash_size * _THUMBNAIL_FACTOR
    small = image.convert("L").resize((side, side), Image.Resampling.LANCZOS)  # phash's own first step, done once
    variants = [small if symmetry is None else small.transpose(symmetry) for symmetry in _SYMMETRIES]
    return np.stack([_flat(imagehash.phash(variant, hash_size)) for variant in variants])


def _flat(value: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - imagehash is untyped
    return np.asarray(value.hash, dtype=bool).reshape(-1)


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
    """

    groups: dict[str, str]
    hash_groups: dict[str, str]
    pairs: tuple[NearDuplicate, ...]


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


def scan(files: Sequence[tuple[str, Path]], pixels: PixelPipeline, governance: DatasetGovernance) -> ScanResult:
    """Scan files for near-duplicates, whole pictures by perceptual hash and crops by local features.

    Parameters
    ----------
    files : sequence of (key, path)
        Key is the SHA-256; files with one key are one picture.
    pixels : PixelPipeline
        Decoding policy. A wrong extension does not matter here: the content is compared.
    governance : DatasetGovernance
        Gives ``near_duplicate_hash_size``, ``near_duplicate_max_distance`` and ``near_duplicate_min_points``.

    Returns
    -------
    ScanResult
        A group for every file.

    Raises
    ------
    UnreadableError
        Naming every file that cannot be decoded, or that there is no file at all.
    """
    hashed, features = _read(files, pixels, governance)
    distances = pair_distances(hashed)
    shared = shared_points(features)
    joined = {(int(a), int(b)) for a, b in np.argwhere(distances <= governance.near_duplicate_max_distance) if a < b}
    joined |= {pair for pair, count in shared.items() if count >= governance.near_duplicate_min_points}
    pairs = []
    for a, b in joined:
        first, second = sorted((hashed[a].key, hashed[b].key))
        pairs.append(NearDuplicate(first, second, int(distances[a, b]), shared.get((a, b), 0)))
    pairs.sort(key=lambda pair: (pair.first, pair.second))
    keys = [picture.key for picture in hashed]
    limit = governance.near_duplicate_max_distance
    return ScanResult(
        groups=union_groups(keys, [(pair.first, pair.second) for pair in pairs]),
        hash_groups=union_groups(keys, [(pair.first, pair.second) for pair in pairs if pair.distance <= limit]),
        pairs=tuple(pairs),
    )


def _read(
    files: Sequence[tuple[str, Path]], pixels: PixelPipeline, governance: DatasetGovernance
) -> tuple[list[HashedPicture], list[LocalFeatures]]:
    hashed: list[HashedPicture] = []
    features: list[LocalFeatures] = []
    problems: list[str] = [] if files else ["no files to scan"]
    for key, path in files:
        try:
            image = decode(read_file(path, pixels), pixels).image
        except Rejected as rejected:
            problems.append(f"{path.name}: {rejected}")
            continue
        hashed.append(HashedPicture(key, hash_picture(image, governance.near_duplicate_hash_size)))
        features.append(local_features(key, image))
    if problems:
        raise UnreadableError(problems)
    return hashed, features


def pair_distances(pictures: Sequence[HashedPicture]) -> NDArray[np.int16]:
    """Smallest Hamming distance of each pair over the symmetries.

    Parameters
    ----------
    pictures : sequence of HashedPicture
        N pictures.

    Returns
    -------
    ndarray, int16, shape (N, N)
        Symmetric, zero on the diagonal.
    """
    base = np.stack([picture.bits[0] for picture in pictures]).astype(np.float32)
    best = np.full((len(pictures), len(pictures)), base.shape[1], np.float32)
    for symmetry in range(len(_SYMMETRIES)):
        other = np.stack([picture.bits[symmetry] for picture in pictures]).astype(np.float32)
        best = np.minimum(best, base @ (1 - other.T) + (1 - base) @ other.T)
    distances: NDArray[np.int16] = np.minimum(best, best.T).astype(np.int16)
    return distances


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
