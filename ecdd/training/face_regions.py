"""Faces with their surroundings on disk, whatever the framing: what networks are fine-tuned on.

A file ``<sha256>.npy`` (uint8, height x width x 3, RGB) holds the face crop of the contract and a margin around it, at
native size or reduced once to `LARGEST_CROP`; ``<sha256>.s3.npy`` is S3 of the file as it is; ``<sha256>.json`` says
where the crop lies and how the face was found.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecdd.contract.loading import LoadedContract
from ecdd.contract.schema import PolicyContract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.files import read_json, write_bytes, write_text
from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.face import Face, FaceBackend, Point, face_crop_box
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.preprocess import CropBox, cut, resize
from ecdd.pipeline.reason_codes import Rejected
from ecdd.training.config import TrainingError
from ecdd.training.forgeries.latent_twin import LatentAutoencoder, make_twin
from ecdd.training.harmonise import KERNELS, is_grey

FORMAT: Final = 1
LARGEST_CROP: Final = 448  # px; more than the largest side a crop is reduced to while training
MARGIN: Final = 0.12  # of the crop side, kept around it where the picture has it
BORDER: Final = 0.5  # of the longer side, around the picture for the second look
ALL_FACE: Final = 1.25  # longer by shorter side: an undetected picture up to here is taken for all face
TWIN: Final = "latent_twin"


@dataclass(frozen=True)
class FaceRegion:
    """One cached face.

    Attributes
    ----------
    sha256, group, source : str
        Picture of the manifest, its near-duplicate group and source.
    label : int
        1 fake, 0 real.
    lineage : str
        Tag of the picture.
    pair : str
        Joins a manipulated picture with its untouched original; empty where there is none.
    crop : CropBox
        The face crop, px of the region.
    found : str
        ``portrait``, ``border`` (at the second look) or ``all_face`` (never found: the whole picture).
    score : float
        Of the detector; 0 where nothing was found.
    native_side : int
        Side of the crop in the file, px.
    grey : bool
        The picture has no colour.
    file : Path
        The tensor.
    landmarks : tuple of (x, y)
        The detector's, px of the region; empty for ``all_face``.
    generator : str
        What of ours made it of the picture named; empty for the picture itself.
    """

    sha256: str
    group: str
    source: str
    label: int
    lineage: str
    pair: str
    crop: CropBox
    found: str
    score: float
    native_side: int
    grey: bool
    file: Path
    landmarks: tuple[Point, ...]
    generator: str = ""

    def pixels(self) -> NDArray[np.uint8]:
        """Read the region, uint8, shape (height, width, 3)."""
        read: NDArray[np.uint8] = np.load(self.file)
        return read

    def s3(self) -> NDArray[np.uint8]:
        """Read S3 of the file as it is, uint8, shape (S, S, 3)."""
        read: NDArray[np.uint8] = np.load(self.file.with_suffix(".s3.npy"))
        return read

    @property
    def family_source(self) -> str:
        """What it counts as in sampling and in tables: a forgery of ours is a source of its own."""
        return self.generator or self.source


def region_folder(root: Path, contract: LoadedContract) -> Path:
    """Name the folder of a contract's face regions."""
    text = json.dumps([FORMAT, LARGEST_CROP, MARGIN, BORDER])
    return root / f"regions-{contract.tensor_digest[:16]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def find_face(image: Image.Image, policy: PolicyContract, detector: FaceBackend) -> tuple[Face | None, str]:
    """Find the largest face of a picture that is known to show one, whatever its framing.

    Looks at the picture, then at the picture with a border, then takes what scores less; a nearly square picture in
    which nothing is found is all face.

    Parameters
    ----------
    image : Image
        S1.
    policy : PolicyContract
        Thresholds of the detector.
    detector : FaceBackend
        Of the same contract.

    Returns
    -------
    face : Face or None
        In pixels of the picture; None where nothing was found and the picture is not square.
    found : str
        ``portrait``, ``border`` or ``all_face``.
    """
    threshold = policy.face_detector.score_threshold
    looks = [("portrait", detector.detect(image)), ("border", [])]
    certain = [face for face in looks[0][1] if face.score >= threshold]
    if not certain:
        looks[1] = ("border", _behind_border(image, detector))
        certain = [face for face in looks[1][1] if face.score >= threshold]
    if certain:
        return max(certain, key=lambda face: face.side), "portrait" if certain[0] in looks[0][1] else "border"
    candidates = [(face, name) for name, faces in looks for face in faces]
    if candidates:
        return max(candidates, key=lambda pair: pair[0].score)
    if max(image.size) > ALL_FACE * min(image.size):
        return None, "all_face"
    side = min(image.size) / policy.face_detector.crop_margin
    x, y = image.width / 2, image.height / 2
    return Face((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.0), "all_face"


def _behind_border(image: Image.Image, detector: FaceBackend) -> list[Face]:
    width = round(BORDER * max(image.size))
    framed = Image.new("RGB", (image.width + 2 * width, image.height + 2 * width), (127, 127, 127))
    framed.paste(image, (width, width))
    moved = []
    for face in detector.detect(framed):
        x0, y0, x1, y1 = (value - width for value in face.box)
        if 0 <= (x0 + x1) / 2 < image.width and 0 <= (y0 + y1) / 2 < image.height:
            marks = tuple((x - width, y - width) for x, y in face.landmarks)
            moved.append(Face((x0, y0, x1, y1), face.score, marks))
    return moved


def cut_region(
    image: Image.Image, crop: CropBox, landmarks: Sequence[Point], seed: int
) -> tuple[NDArray[np.uint8], CropBox, list[Point]]:
    """Cut a crop with its margin and reduce it to at most `LARGEST_CROP`, by a kernel drawn from the seed.

    Returns
    -------
    region : ndarray, uint8, shape (height, width, 3)
        RGB.
    crop : CropBox
        Where the crop lies in it, px.
    landmarks : list of (x, y)
        In pixels of the region.
    """
    side = crop.x1 - crop.x0
    extra = round(MARGIN * side)
    x0, y0 = max(crop.x0 - extra, 0), max(crop.y0 - extra, 0)
    x1, y1 = min(crop.x1 + extra, image.width), min(crop.y1 + extra, image.height)
    region = image.crop((x0, y0, x1, y1))
    factor = min(LARGEST_CROP / side, 1.0)
    if factor < 1:
        kernel = Image.Resampling[KERNELS[seed % len(KERNELS)].upper()]
        region = region.resize((round(region.width * factor), round(region.height * factor)), kernel)
    left, top = round((crop.x0 - x0) * factor), round((crop.y0 - y0) * factor)
    inner = min(round(side * factor), region.width - left, region.height - top)
    marks = [((x - x0) * factor, (y - y0) * factor) for x, y in landmarks]
    return np.asarray(region), CropBox(left, top, left + inner, top + inner), marks


def fill_regions(rows: Sequence[TaggedRow], contract: LoadedContract, folder: Path) -> Iterator[str]:
    """Cut the regions that are missing, one picture at a time.

    Yields
    ------
    str
        SHA-256 of each picture done, for a progress bar.
    """
    detector = load_detector(contract.policy.face_detector)
    for row, _ in rows:
        if not (folder / f"{row.sha256}.json").is_file():
            _fill_one(row.path, row.sha256, contract.policy, detector, folder)
        yield row.sha256


def _fill_one(path: Path, sha256: str, policy: PolicyContract, detector: FaceBackend, folder: Path) -> None:
    entry: dict[str, Any] = {"dropped": ""}
    try:
        image = decode(read_file(path, policy.pixel_pipeline), policy.pixel_pipeline).image
    except Rejected as rejected:
        entry["dropped"] = str(rejected.codes[0])
    else:
        face, found = find_face(image, policy, detector)
        if face is None:
            entry["dropped"] = "no face"
        else:
            box = face_crop_box(face, image.size, policy.face_detector)
            pixels, crop, marks = cut_region(image, box, face.landmarks, int(sha256[:8], 16))
            entry |= {"crop": list(crop), "found": found, "score": face.score, "grey": is_grey(image)}
            entry |= {"native_side": box.x1 - box.x0, "landmarks": marks}
            write_array(folder / f"{sha256}.npy", pixels)
            s3 = resize(cut(image, box, policy.face_detector), policy.pixel_pipeline)
            write_array(folder / f"{sha256}.s3.npy", s3)
    write_text(folder / f"{sha256}.json", json.dumps(entry, sort_keys=True))


def write_array(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an array, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    write_bytes(path, buffer.getvalue())


def load_regions(rows: Sequence[TaggedRow], folder: Path) -> tuple[list[FaceRegion], dict[str, dict[str, int]]]:
    """List the cached regions, and count by source how faces were found and what was dropped.

    Parameters
    ----------
    rows : sequence of (ManifestRow, SplitRow)
        Labelled faces.
    folder : Path
        Filled cache.

    Returns
    -------
    regions : list of FaceRegion
        Sorted by SHA-256.
    outcomes : dict of str to dict of str to int
        By source: ``portrait``, ``border``, ``all_face``, or the reason for which a picture was dropped.

    Raises
    ------
    TrainingError
        If a picture is not in the cache.
    """
    regions = []
    outcomes: dict[str, dict[str, int]] = {}
    for row, tag in sorted(rows, key=lambda pair: pair[0].sha256):
        path = folder / f"{row.sha256}.json"
        if not path.is_file():
            msg = f"{path.name}: {row.name} is not among the face regions; fill the cache first"
            raise TrainingError(msg)
        entry = read_json(path)
        counts = outcomes.setdefault(row.source, {})
        outcome = entry["dropped"] or entry["found"]
        counts[outcome] = counts.get(outcome, 0) + 1
        if not entry["dropped"]:
            crop = CropBox(*entry["crop"])
            known = (row.sha256, tag.near_duplicate_group, row.source, int(row.label or 0), tag.lineage.value, row.pair)
            seen = (entry["found"], float(entry["score"]), int(entry["native_side"]), bool(entry["grey"]))
            marks = tuple((float(x), float(y)) for x, y in entry["landmarks"])
            regions.append(FaceRegion(*known, crop, *seen, path.with_suffix(".npy"), marks))
    return regions, outcomes


def fill_twins(regions: Sequence[FaceRegion], autoencoder: LatentAutoencoder, folder: Path) -> Iterator[str]:
    """Make the latent twins that are missing, each beside its original of the same size.

    Yields
    ------
    str
        SHA-256 of each picture done, for a progress bar.
    """
    for region in regions:
        path = folder / f"{region.sha256}.json"
        if not path.is_file():
            twin, original, crop = make_twin(region.pixels(), region.crop, autoencoder, int(region.sha256[:12], 16))
            write_array(folder / f"{region.sha256}.1.npy", twin)
            write_array(folder / f"{region.sha256}.0.npy", original)
            write_text(path, json.dumps({"crop": list(crop)}))
        yield region.sha256


def load_twins(regions: Sequence[FaceRegion], folder: Path) -> list[FaceRegion]:
    """List the twins (label 1) and their originals (label 0) of real faces, both named `TWIN`."""
    found = []
    for region in regions:
        crop = CropBox(*read_json(folder / f"{region.sha256}.json")["crop"])
        for label in (0, 1):
            file = folder / f"{region.sha256}.{label}.npy"
            found.append(replace(region, label=label, pair="", crop=crop, file=file, landmarks=(), generator=TWIN))
    return found


def twin_candidates(regions: Sequence[FaceRegion], count: int) -> list[FaceRegion]:
    """Choose real faces to make twins of: the sources by turns, each in the order of its digests."""
    queues: dict[str, list[FaceRegion]] = {}
    for region in sorted(regions, key=lambda region: region.sha256):
        if not region.label and not region.generator:
            queues.setdefault(region.source, []).append(region)
    turns = zip_longest(*(queues[source] for source in sorted(queues)))
    return [region for turn in turns for region in turn if region is not None][:count]
