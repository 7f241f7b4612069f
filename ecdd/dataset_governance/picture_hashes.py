"""Perceptual hashes of files, in several processes, kept in a folder so that a stopped scan goes on where it was."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.contract.pixel_sections import PixelPipeline
from ecdd.dataset_governance.near_pairs import Codes, pack
from ecdd.dataset_governance.photograph_match import LocalFeatures, local_features
from ecdd.dataset_governance.spreading import Engine, spread
from ecdd.errors import ListedError
from ecdd.files import write_bytes
from ecdd.pipeline.decode import decode, decoder_fingerprint, read_file
from ecdd.pipeline.reason_codes import Rejected

# The eight symmetries of a square: a copy may be turned, mirrored or both.
_SYMMETRIES: Final = (None, *Image.Transpose)
_THUMBNAIL_FACTOR: Final = 4
SHARD: Final = 2048
_DIED: Final = "the process that read it ended"

Keyed = tuple[str, Path]


class UnreadableError(ListedError):
    """Pictures that could not be hashed; a scan never leaves one out."""


@dataclass(frozen=True)
class Work:
    """How many processes, where, and the folder that keeps hashes.

    Attributes
    ----------
    jobs : int
        Processes.
    engine : {"local", "ray"}
        Where they run; the hashes are the same.
    kept : Path or None
        Folder of hashes by SHA-256, written every `SHARD` pictures and read again by the next scan.
    progress : callable
        Called with hashed and all pictures.
    """

    jobs: int = 1
    engine: Engine = "local"
    kept: Path | None = None
    progress: Callable[[int, int], None] = lambda _done, _all: None


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


def _read(path: Path, pixels: PixelPipeline) -> Image.Image | str:
    try:
        return decode(read_file(path, pixels), pixels).image
    except Rejected as rejected:
        return f"{path.name}: {rejected}"


def _hashed(file: Keyed, pixels: PixelPipeline, hash_size: int) -> Codes | str:
    image = _read(file[1], pixels)
    return image if isinstance(image, str) else pack(hash_picture(image, hash_size))


def _described(file: Keyed, pixels: PixelPipeline) -> LocalFeatures | str:
    image = _read(file[1], pixels)
    return image if isinstance(image, str) else local_features(file[0], image)


def _died(file: Keyed) -> str:
    return f"{file[1].name}: {_DIED}"


def features_of(files: Sequence[Keyed], pixels: PixelPipeline, work: Work) -> list[LocalFeatures]:
    """Local features of every file; `UnreadableError` names each that has none."""
    describe: Callable[[Keyed], LocalFeatures | str] = partial(_described, pixels=pixels)
    found = list(spread(describe, files, _died, jobs=work.jobs, engine=work.engine))
    _refuse([one for one in found if isinstance(one, str)])
    return [one for one in found if isinstance(one, LocalFeatures)]


def hashes_of(files: Sequence[Keyed], pixels: PixelPipeline, hash_size: int, work: Work) -> Codes:
    """Hash files, or read their hashes where an earlier scan kept them.

    Parameters
    ----------
    files : sequence of (key, path)
        Key is the SHA-256 of the content.
    pixels : PixelPipeline
        Decoding policy. A wrong extension does not matter here: the content is compared.
    hash_size : int
        Side of a hash, bits.
    work : Work
        Processes and the folder of hashes.

    Returns
    -------
    ndarray, uint64, shape (n, 8, words)
        Packed, in the order of the files.

    Raises
    ------
    UnreadableError
        Naming every file that cannot be decoded, or that there is no file at all, or a file of hashes that is damaged.
    """
    _refuse([] if files else ["no files to scan"])
    hashed: Callable[[Keyed], Codes | str] = partial(_hashed, pixels=pixels, hash_size=hash_size)
    about = _about(pixels, hash_size)
    known = {} if work.kept is None else _kept(work.kept, about)
    missing = [file for file in files if file[0] not in known]
    problems: list[str] = []
    results = zip(missing, spread(hashed, missing, _died, jobs=work.jobs, engine=work.engine), strict=True)
    for shard in _shards(results):
        fresh = {key: codes for (key, _), codes in shard if not isinstance(codes, str)}
        problems += [codes for _, codes in shard if isinstance(codes, str)]
        if work.kept is not None and fresh:
            _keep(work.kept, about, fresh)
        known |= fresh
        work.progress(len(known), len(files))
    _refuse(problems)
    return np.stack([known[key] for key, _ in files])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UnreadableError(problems)


def _shards(results: Iterator[Any]) -> Iterator[list[Any]]:
    while shard := list(itertools.islice(results, SHARD)):
        yield shard


def _about(pixels: PixelPipeline, hash_size: int) -> str:
    """What a hash depends on beside the picture."""
    policy = pixels.model_dump(mode="json")
    return json.dumps({"hash_size": hash_size, "pixels": policy, **decoder_fingerprint()}, sort_keys=True)


def _keep(folder: Path, about: str, fresh: dict[str, Codes]) -> None:
    buffer, keys = io.BytesIO(), sorted(fresh)
    np.savez_compressed(buffer, about=about, keys=keys, codes=np.stack([fresh[key] for key in keys]))
    name = hashlib.sha256("".join([about, *keys]).encode()).hexdigest()[:16]
    write_bytes(folder / f"{name}.npz", buffer.getvalue())


def _kept(folder: Path, about: str) -> dict[str, Codes]:
    """Hashes of the folder that were made as they would be made now; others are left where they are."""
    known: dict[str, Codes] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["about"]) == about:
                    known.update(zip(stored["keys"].tolist(), stored["codes"], strict=True))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _refuse([f"{path}: no file of hashes ({type(error).__name__}); remove it"])
    return known
