"""Forge the pictures of one part of a split: only real TRAIN faces, and partners from the same part only.

Each face is first cut out with its surroundings and reduced to a drawn size, then forged: traces that were written
before a reduction would be averaged away by it. The untouched cut is kept beside the forgery, so that a trainer can
give a real picture of exactly the same history for every fake.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag, SplitRow
from ecdd.inference.patch_grid import standing_for
from ecdd.pipeline.face import FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.stages import prepare
from ecdd.training.forgeries.face_reader import CutSettings, FaceReader
from ecdd.training.forgeries.forged_cells import cell_shares, mask_in_s3
from ecdd.training.forgeries.forgery import Forgery, ForgeryRefused, Mask, Picture
from ecdd.training.forgeries.registry import find_generator, forge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.schema import PolicyContract
    from ecdd.dataset_governance.manifest import ManifestRow
    from ecdd.dataset_governance.usable_faces import TaggedRow
    from ecdd.pipeline.stages import PreparedFace

UNKNOWN_IDENTITY: Final = "unknown"
PARTNERS_TRIED: Final = 4


@dataclass(frozen=True, eq=False)
class Forged:
    """One forged picture with its origin.

    Attributes
    ----------
    row : ManifestRow
        The real picture.
    partner : ManifestRow or None
        Whose face was used.
    before : ndarray of uint8, (h, w, 3)
        The cut before it was forged.
    forgery : Forgery
        Of the same size, unless the generator makes pictures of its own.
    """

    row: ManifestRow
    partner: ManifestRow | None
    before: Picture
    forgery: Forgery


@dataclass(frozen=True)
class NotForged:
    """A picture that could not be forged, and why: to be counted."""

    row: ManifestRow
    reason: str
    detail: str


def forge_part(
    rows: Sequence[TaggedRow],
    generator: str,
    seed: int,
    contract: LoadedContract,
    settings: CutSettings | None = None,
) -> Iterator[Forged | NotForged]:
    """Forge every real face of one part of a split.

    Parameters
    ----------
    rows : sequence of (ManifestRow, SplitRow)
        *One* part: the training or the validation pictures, never both, because partners are drawn from it.
        Forged rows (label 1) are passed over.
    generator : str
        A name of the registry.
    seed : int
        With the picture's digest it decides everything; order and neighbours of the rows do not matter, but for the
        choice of partners.
    contract : LoadedContract
        Decoder and face detector.
    settings : CutSettings, optional
        Sizes and margins.

    Yields
    ------
    Forged or NotForged
        One for each real row, in an order that the seed decides.

    Raises
    ------
    LineageError
        A row is not tagged TRAIN; listed before any picture is read.
    UnknownGeneratorError
        No such generator.
    """
    chosen = find_generator(generator)
    wrong = [f"{row.name}: tagged {tag.lineage}, only TRAIN may be forged" for row, tag in rows
             if tag.lineage != LineageTag.TRAIN or tag.sha256 != row.sha256]  # fmt: skip
    if wrong:
        raise LineageError(wrong)
    real = sorted((pair for pair in rows if pair[0].label == 0), key=lambda pair: pair[0].sha256)
    order = np.random.default_rng([seed, 0]).permutation(len(real))
    shuffled = [real[int(k)] for k in order]
    reader = FaceReader(contract.policy, load_detector(contract.policy.face_detector), settings or CutSettings(), seed)
    for place, (row, tag) in enumerate(shuffled):
        own_seed = seed_for(row.sha256, generator, seed)
        try:
            if chosen.needs_partner:
                others = shuffled[place + 1 :] + shuffled[:place]
                yield _swapped(generator, (row, tag), others, reader, own_seed)
            else:
                source = reader.reduced(row)
                yield Forged(row, None, source.picture, forge(generator, source, own_seed))
        except ForgeryRefused as refused:
            yield NotForged(row, refused.reason, str(refused))


def seed_for(sha256: str, generator: str, seed: int) -> int:
    """Seed of one forgery, from the picture's digest, the generator's name and the run's seed: 0 … 2^63 - 1."""
    words = np.random.SeedSequence([seed, int(sha256[:16], 16), zlib.crc32(generator.encode())])
    return int(words.generate_state(1, np.uint64)[0] >> 1)


def _are_strangers(one: SplitRow, other: SplitRow) -> bool:
    """Whether two pictures may be of two people: other groups, and not one known identity.

    Where identities are unknown, two unlike photographs of one person pass: their swap is a forgery all the same.
    """
    same_person = one.identity != UNKNOWN_IDENTITY and one.identity == other.identity
    return not (same_person or one.near_duplicate_group == other.near_duplicate_group)


def _swapped(generator: str, pair: TaggedRow, partners: list[TaggedRow], reader: FaceReader, seed: int) -> Forged:
    """Try the first few partners that fit in colour; a swap that none permits is refused for the last one's reason."""
    source, grey = reader.reduced(pair[0]), reader.region(pair[0]).grey
    reason: ForgeryRefused | None = None
    tried = 0
    for partner, tag in partners:
        if tried == PARTNERS_TRIED:
            break
        if not _are_strangers(pair[1], tag):
            continue
        try:
            region = reader.region(partner)
            if region.grey and not grey:  # a grey face on a coloured head would give the swap away
                continue
            tried += 1
            return Forged(pair[0], partner, source.picture, forge(generator, source, seed, region.source))
        except ForgeryRefused as refused:
            reason = refused
    raise reason or ForgeryRefused("no partner", "no other person of the same part, with colour where this one has")


def as_png(picture: Picture | Image.Image) -> bytes:
    """Encode without loss, so that the canonical pipeline can read an array as a file."""
    stored = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stored, "PNG", compress_level=1)
    return stored.getvalue()


@dataclass(frozen=True, eq=False)
class ForgedTensor:
    """A forgery as the model will see it.

    Attributes
    ----------
    face : PreparedFace
        Of the largest face; its ``reason_codes`` say which gates it fails.
    mask : ndarray of float32, (S, S)
        Generator's share of each S3 pixel, 0 … 1.
    shares : ndarray of float32, (rows, cols)
        Share of each cell's receptive field that is forged, 0 … 1.
    """

    face: PreparedFace
    mask: Mask
    shares: NDArray[np.float32]


def prepare_forgery(
    forgery: Forgery, policy: PolicyContract, detector: FaceBackend, data: bytes | None = None
) -> ForgedTensor | None:
    """Pass a forgery through the canonical pipeline and take its mask along.

    Parameters
    ----------
    forgery : Forgery
        Picture and mask.
    policy : PolicyContract
        The whole contract.
    detector : FaceBackend
        The contract's.
    data : bytes, optional
        The forged picture as a file of the *same size in pixels* (a JPEG, post-processed, …); a PNG of it where not
        given.

    Returns
    -------
    ForgedTensor or None
        None where no face is found.

    Raises
    ------
    ValueError
        ``data`` has another size than the mask.
    """
    prepared = prepare(as_png(forgery.picture) if data is None else data, policy, detector)
    if (size := prepared.decoded.image.size) != forgery.mask.shape[::-1]:
        raise ValueError(f"data: {size} pixels, but the mask has {forgery.mask.shape[::-1]}; keep the size")
    face = max(prepared.faces, key=lambda found: found.face.side, default=None)
    if face is None:
        return None
    mask = mask_in_s3(forgery.mask, face, policy)
    return ForgedTensor(
        face, mask, cell_shares(mask, standing_for(policy.patch_grid, policy.pixel_pipeline.input_size))
    )
