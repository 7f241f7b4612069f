"""Training tensors on disk: S3 of every variant, made once by the canonical pipeline.

One pair of files a picture (``<sha256>.npy``, ``<sha256>.json``) in a folder named by the preprocessing digest and
the harmonising settings, so that tensors of another contract can never be mixed in. Quality gates are *not* part
of the key: measurements are stored, and gates are applied when tensors are read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecdd.contract.loading import LoadedContract
from ecdd.contract.pixel_sections import QualityGates
from ecdd.dataset_governance.manifest import ManifestRow
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.files import read_json, write_bytes, write_text
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.face import FaceBackend
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.quality import FaceQuality, face_codes
from ecdd.pipeline.reason_codes import Rejected
from ecdd.pipeline.stages import PreparedFace, prepare
from ecdd.training.config import HarmoniseSettings, TrainingConfig, TrainingError
from ecdd.training.harmonise import VariantPlan, is_grey, make_variant, plan_variants

FORMAT = 2
ORIGINAL = "original"
HARMONISED = "harmonised"
TWIN = "twin"
FORGED = "forged"


@dataclass(frozen=True)
class Variant:
    """One cached tensor and what is known of it.

    Attributes
    ----------
    sha256, group, source : str
        Original picture, its near-duplicate group and source.
    label : int
        1 fake, 0 real.
    kind : str
        ``original`` (the file as it is), ``harmonised``, ``forged`` (by a generator of our own) or ``twin`` (the
        untouched picture of the same history as a forgery).
    stratum : int
        Stratum of the crop side; -1 for originals.
    grey : bool
        Colour was taken away (harmonised) or never there (original).
    crop_side : int
        Side of the crop that was resized to S3, px.
    quality : FaceQuality
        What the gates measured.
    file, row : Path, int
        Where the tensor lies.
    generator : str
        Which of our generators forged it, or the twin's forgery; empty for other kinds.
    partner_group : str
        Near-duplicate group of the second person in a swap; empty where there is none.
    """

    sha256: str
    group: str
    source: str
    label: int
    kind: str
    stratum: int
    grey: bool
    crop_side: int
    quality: FaceQuality
    file: Path
    row: int
    generator: str = ""
    partner_group: str = ""

    @property
    def picture(self) -> str:
        """Name of the picture it is a tensor of: a forgery is a picture of its own."""
        return f"{self.generator}:{self.sha256}" if self.kind == FORGED else self.sha256

    @property
    def is_given(self) -> bool:
        """Whether it is a picture of the manifest that nothing but harmonising was done to."""
        return self.kind in {ORIGINAL, HARMONISED}

    def s3(self) -> NDArray[np.uint8]:
        """Read S3, uint8, shape (S, S, 3)."""
        return np.array(np.load(self.file, mmap_mode="r")[self.row])

    def mask(self) -> NDArray[np.uint8] | None:
        """Read the share of each pixel of S3 that is forged, uint8 0 … 255, shape (S, S).

        None where it is not known: a fake of the manifest. A real picture's mask is empty.
        """
        if self.kind == FORGED:
            return np.array(np.load(mask_file(self.file), mmap_mode="r")[self.row])
        if self.label:
            return None
        shape = np.load(self.file, mmap_mode="r").shape
        return np.zeros(shape[1:3], np.uint8)


def mask_file(tensors: Path) -> Path:
    """Name the file of masks beside a file of tensors."""
    return tensors.with_suffix(".masks.npy")


def cache_folder(root: Path, contract: LoadedContract, config: TrainingConfig) -> Path:
    """Name the folder for this contract's preprocessing and these harmonising settings."""
    text = json.dumps([FORMAT, config.seed, config.harmonise.model_dump(mode="json")], sort_keys=True)
    return root / f"{contract.tensor_digest[:16]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def fill_cache(rows: list[TaggedRow], contract: LoadedContract, config: TrainingConfig, folder: Path) -> Iterator[str]:
    """Make the missing tensors, one picture at a time.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        From `usable_faces`.
    contract : LoadedContract
        Pipeline settings.
    config : TrainingConfig
        Harmonising settings and seed.
    folder : Path
        From `cache_folder`.

    Yields
    ------
    str
        SHA-256 of each picture done, for a progress bar.
    """
    detector = load_detector(contract.policy.face_detector)
    for row, _ in rows:
        if not (folder / f"{row.sha256}.json").is_file():
            _fill_one(row, contract, config, detector, folder)
        yield row.sha256


def unreadable(rows: list[TaggedRow], folder: Path) -> list[str]:
    """List the pictures that could not be decoded: bad data, while a face that is missing or blurred is a finding.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        Pictures whose tensors are in the cache.
    folder : Path
        Filled cache.

    Returns
    -------
    list of str
        Name and reason code, one a picture.
    """
    lines = []
    for row, _ in rows:
        content: dict[str, Any] = read_json(folder / f"{row.sha256}.json")
        codes = [reason.removeprefix(f"{ORIGINAL}: ") for reason in content["dropped"] if reason.startswith(ORIGINAL)]
        lines += [f"{row.name}: {code}" for code in codes if not code.startswith("GR-")]
    return lines


def load_variants(
    rows: list[TaggedRow], folder: Path, gates: QualityGates
) -> tuple[list[Variant], dict[str, dict[str, int]]]:
    """List the cached tensors that pass the quality gates, and count what was left out.

    Parameters
    ----------
    rows : list of (ManifestRow, SplitRow)
        Pictures to list.
    folder : Path
        Filled cache.
    gates : QualityGates
        Applied here, face size first.

    Returns
    -------
    variants : list of Variant
        Sorted by picture, then row.
    left_out : dict of str to dict of str to int
        By source and kind: tensors kept, and dropped by reason.
    """
    variants: list[Variant] = []
    left_out: dict[str, dict[str, int]] = {}
    for row, tag in rows:
        path = folder / f"{row.sha256}.json"
        if not path.is_file():
            msg = f"{path.name}: {row.name} is not in the tensor cache; fill the cache first"
            raise TrainingError(msg)
        content: dict[str, Any] = read_json(path)
        counts = left_out.setdefault(row.source, {})
        for reason in content["dropped"]:
            counts[reason] = counts.get(reason, 0) + 1
        for index, entry in enumerate(content["variants"]):
            quality = FaceQuality(**entry["quality"])
            codes = face_codes(quality, gates)
            outcome = f"{entry['kind']}: " + (", ".join(codes) if codes else "kept")
            counts[outcome] = counts.get(outcome, 0) + 1
            if not codes:
                variants.append(
                    Variant(
                        sha256=row.sha256,
                        group=tag.near_duplicate_group,
                        source=row.source,
                        label=int(row.label or 0),
                        kind=entry["kind"],
                        stratum=entry["stratum"],
                        grey=entry["grey"],
                        crop_side=entry["crop_side"],
                        quality=quality,
                        file=path.with_suffix(".npy"),
                        row=index,
                    )
                )
    return variants, left_out


def _fill_one(
    row: ManifestRow, contract: LoadedContract, config: TrainingConfig, detector: FaceBackend, folder: Path
) -> None:
    tensors: list[NDArray[np.uint8]] = []
    entries: list[dict[str, Any]] = []
    dropped: list[str] = []

    def keep(face: PreparedFace, kind: str, stratum: int, grey: bool) -> None:
        tensors.append(face.s3)
        entries.append(
            {
                "kind": kind,
                "stratum": stratum,
                "grey": grey,
                "crop_side": face.crop_box.x1 - face.crop_box.x0,
                "quality": vars(face.quality),
            }
        )

    policy = contract.policy
    try:
        original = prepare(read_file(row.path, policy.pixel_pipeline), policy, detector, name=row.path.name)
    except Rejected as rejected:
        original = None
        dropped.append(f"{ORIGINAL}: {rejected.codes[0]}")
    face = None if original is None else _largest(original.faces)
    if original is not None and face is None:
        dropped.append(f"{ORIGINAL}: {', '.join(original.reason_codes)}")
    if original is not None and face is not None:
        grey = is_grey(original.decoded.image)
        keep(face, ORIGINAL, -1, grey)
        plans = plan_variants(face.crop_box.x1 - face.crop_box.x0, grey, config.harmonise, config.seed, row.sha256)
        if not plans:
            dropped.append(f"{HARMONISED}: face too small for every stratum")
        for plan in plans:
            data = make_variant(original.decoded.image, face.crop_box, plan)
            again = _largest(prepare(data, policy, detector).faces)
            outside = None if again is None else _outside(again, plan, config.harmonise)
            if again is None or outside:
                dropped.append(f"{HARMONISED}: {outside or 'face lost'}")
            else:
                keep(again, HARMONISED, plan.stratum, plan.grey)
    side = policy.pixel_pipeline.input_size
    buffer = io.BytesIO()
    np.save(buffer, np.stack(tensors) if tensors else np.zeros((0, side, side, 3), np.uint8))
    write_bytes(folder / f"{row.sha256}.npy", buffer.getvalue())
    write_text(folder / f"{row.sha256}.json", json.dumps({"variants": entries, "dropped": dropped}, sort_keys=True))


def _outside(face: PreparedFace, plan: VariantPlan, settings: HarmoniseSettings) -> str | None:
    """Refuse a variant whose re-detected crop left its stratum by more than a tenth: sizes must stay matched."""
    low, high = settings.crop_side_edges[plan.stratum], settings.crop_side_edges[plan.stratum + 1]
    side = face.crop_box.x1 - face.crop_box.x0
    return None if 0.9 * low <= side <= 1.1 * high else "crop side left its stratum"


def _largest(faces: tuple[PreparedFace, ...]) -> PreparedFace | None:
    return max(faces, key=lambda face: face.face.side, default=None)
