"""Forged training tensors on disk: each beside the untouched picture of exactly the same history, and its mask.

Both go through one drawn JPEG and the canonical pipeline. Partners of a face swap come from the same source, so that a
source that is left out is left out of swaps too; whose group a partner has is kept, so that no swap crosses a split.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ecdd.files import read_json, write_bytes, write_text
from ecdd.pipeline.face import FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.quality import FaceQuality, face_codes
from ecdd.pipeline.stages import prepare
from ecdd.training.cache import FORGED, TWIN, Variant, mask_file
from ecdd.training.config import TrainingError
from ecdd.training.forgeries.face_reader import CutSettings
from ecdd.training.forgeries.forging import Forged, NotForged, forge_part, prepare_forgery, seed_for
from ecdd.training.harmonise import is_grey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.pixel_sections import QualityGates
    from ecdd.dataset_governance.usable_faces import TaggedRow
    from ecdd.pipeline.stages import PreparedFace
    from ecdd.training.config import TrainingConfig

FORMAT = 1
Outcomes = dict[str, dict[str, int]]


def forged_folder(root: Path, contract: LoadedContract, config: TrainingConfig, generator: str) -> Path:
    """Name the folder of one generator for this contract's preprocessing and these settings."""
    text = json.dumps([FORMAT, config.seed, config.harmonise.model_dump(mode="json"), generator], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return root / f"{contract.tensor_digest[:16]}-{generator}-{digest}"


def fill_forged_cache(
    rows: list[TaggedRow], contract: LoadedContract, config: TrainingConfig, generator: str, folder: Path
) -> Iterator[str]:
    """Forge every real face once by one generator, and cache both tensors and the mask.

    A source is finished or not: an interrupted one is forged again from its beginning, which gives the same files.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        TRAIN faces; forged ones are passed over.
    contract : LoadedContract
        Pipeline and detector.
    config : TrainingConfig
        Sizes, JPEG qualities and seed.
    generator : str
        A name of `ecdd.training.forgeries.registry`.
    folder : Path
        From `forged_folder`.

    Yields
    ------
    str
        SHA-256 of each picture done.
    """
    edges = config.harmonise.crop_side_edges
    cut = CutSettings((edges[0], edges[-1]), config.harmonise.max_factor)
    detector = load_detector(contract.policy.face_detector)
    real = [pair for pair in rows if pair[0].label == 0]
    for source in sorted({row.source for row, _ in real}):
        part = [pair for pair in real if pair[0].source == source]
        if all((folder / f"{row.sha256}.json").is_file() for row, _ in part):
            yield from (row.sha256 for row, _ in part)
            continue
        groups = {row.sha256: tag.near_duplicate_group for row, tag in part}
        for made in forge_part(part, generator, config.seed, contract, cut):
            _store(made, groups, contract, config, detector, folder)
            yield made.row.sha256


def load_forged(
    rows: list[TaggedRow], folder: Path, gates: QualityGates, config: TrainingConfig, generator: str
) -> tuple[list[Variant], Outcomes]:
    """List cached forgeries and their untouched twins; a pair is used only when both pass the quality gates.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        Pictures to list.
    folder : Path
        Filled cache.
    gates : QualityGates
        Applied here.
    config : TrainingConfig
        Edges of the size strata.
    generator : str
        Name of the generator.

    Returns
    -------
    variants : list of Variant
        Sorted by picture; the untouched twin first, with label 0.
    outcomes : dict of str to dict of str to int
        By source: pairs kept, and dropped by reason.
    """
    variants: list[Variant] = []
    outcomes: Outcomes = {}
    for row, tag in rows:
        if row.label != 0:
            continue
        path = folder / f"{row.sha256}.json"
        if not path.is_file():
            msg = f"{path.name}: {row.name} is not in the cache of {generator}; fill it first"
            raise TrainingError(msg)
        content: dict[str, Any] = read_json(path)
        pair = [
            _variant(content["tensors"][k], k, path, (row, tag), config, generator)
            for k in range(len(content["tensors"]))
        ]
        reason = content["reason"] or _refused(pair, gates)
        counts = outcomes.setdefault(row.source, {})
        counts[f"{generator}: {reason or 'kept'}"] = counts.get(f"{generator}: {reason or 'kept'}", 0) + 1
        if not reason:
            variants += pair
    return variants, outcomes


def _refused(pair: list[Variant], gates: QualityGates) -> str:
    codes = sorted({str(code) for variant in pair for code in face_codes(variant.quality, gates)})
    if codes:
        return ", ".join(codes)
    return "outside every stratum" if min(variant.stratum for variant in pair) < 0 else ""


def _variant(
    entry: dict[str, Any], row: int, path: Path, pair: TaggedRow, config: TrainingConfig, generator: str
) -> Variant:
    edges = config.harmonise.crop_side_edges
    stratum = int(np.searchsorted(edges, entry["crop_side"], side="right")) - 1
    return Variant(
        sha256=pair[0].sha256,
        group=pair[1].near_duplicate_group,
        source=pair[0].source,
        label=row,
        kind=(TWIN, FORGED)[row],
        stratum=stratum if 0 <= stratum < len(edges) - 1 else -1,
        grey=entry["grey"],
        crop_side=entry["crop_side"],
        quality=FaceQuality(**entry["quality"]),
        file=path.with_suffix(".npy"),
        row=row,
        generator=generator,
        partner_group=entry["partner_group"] if row else "",
    )


def _store(
    made: Forged | NotForged,
    groups: dict[str, str],
    contract: LoadedContract,
    config: TrainingConfig,
    detector: FaceBackend,
    folder: Path,
) -> None:
    name, tensors, entries, reason = made.row.sha256, [], [], ""
    masks: list[NDArray[np.uint8]] = []
    if isinstance(made, NotForged):
        reason = made.reason
    else:
        found = _twins(made, contract, config, detector)
        reason = found if isinstance(found, str) else ""
        partner = "" if made.partner is None else groups[made.partner.sha256]
        for face, mask in () if isinstance(found, str) else found:
            tensors.append(face.s3)
            masks.append(mask)
            entries.append(
                {
                    "grey": is_grey(Image.fromarray(face.s3)),
                    "crop_side": face.crop_box.x1 - face.crop_box.x0,
                    "quality": vars(face.quality),
                    "partner_group": partner,
                }
            )
    if tensors:
        _write(folder / f"{name}.npy", np.stack(tensors))
        _write(mask_file(folder / f"{name}.npy"), np.stack(masks))
    write_text(folder / f"{name}.json", json.dumps({"tensors": entries, "reason": reason}, sort_keys=True))


def _twins(
    made: Forged, contract: LoadedContract, config: TrainingConfig, detector: FaceBackend
) -> list[tuple[PreparedFace, NDArray[np.uint8]]] | str:
    """Encode the untouched picture and the forgery alike and take both through the pipeline; or why that failed."""
    policy, forgery = contract.policy, made.forgery
    rng = np.random.default_rng(seed_for(made.row.sha256, f"{forgery.generator} jpeg", config.seed))
    low, high = config.harmonise.jpeg_quality
    quality, chroma = int(rng.integers(low, high + 1)), ("4:4:4", "4:2:0")[int(rng.integers(2))]
    plain = prepare(_jpeg(made.before, quality, chroma), policy, detector)
    before = max(plain.faces, key=lambda face: face.face.side, default=None)
    after = prepare_forgery(forgery, policy, detector, _jpeg(forgery.picture, quality, chroma))
    if before is None or after is None:
        return "face lost"
    empty = np.zeros(before.s3.shape[:2], np.uint8)
    return [(before, empty), (after.face, np.rint(after.mask * 255).astype(np.uint8))]


def _jpeg(picture: NDArray[np.uint8], quality: int, chroma: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=chroma)
    return buffer.getvalue()


def _write(path: Path, array: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())
