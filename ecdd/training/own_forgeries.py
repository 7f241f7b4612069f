"""Fakes that this project makes itself, as further sources of a fine-tuning: re-synthesised and generated faces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from ecdd.dataset_governance.lineage_tags import LineageTag
from ecdd.files import read_json, write_text
from ecdd.pipeline.face import face_crop_box
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.preprocess import CropBox
from ecdd.training.face_regions import FaceRegion, cut_region, find_face, twin_candidates, write_array
from ecdd.training.forgeries import generated, resynthesis
from ecdd.training.forgeries.forgery import ForgeryRefused

if TYPE_CHECKING:
    from ecdd.contract.loading import LoadedContract

FIRST_SEED: Final = 1000  # of generated faces; those of the golden set have smaller ones


def fill_forgeries(regions: Sequence[FaceRegion], contract: LoadedContract, count: int, folder: Path) -> Iterator[str]:
    """Make the forgeries that are missing: ``count`` generated faces, ``count`` real ones through the autoencoder.

    Parameters
    ----------
    regions : sequence of FaceRegion
        Those of TRAIN are re-synthesised, the sources by turns; faces without landmarks cannot be.
    contract : LoadedContract
        Finds and cuts the generated faces.
    count : int
        Of each kind.
    folder : Path
        Cache.

    Yields
    ------
    str
        Name of each forgery done.
    """
    statistics, detector = generated.load_statistics(), load_detector(contract.policy.face_detector)
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        path = folder / f"{generated.NAME}-{seed}.json"
        if not path.is_file():
            image = Image.fromarray(generated.generate_face(statistics, seed).picture)
            face, found = find_face(image, contract.policy, detector)
            entry: dict[str, Any] = {"crop": None}
            if face is not None:
                box = face_crop_box(face, image.size, contract.policy.face_detector)
                pixels, crop, marks = cut_region(image, box, face.landmarks, seed)
                write_array(path.with_suffix(".npy"), pixels)
                entry |= {"crop": list(crop), "found": found, "score": face.score, "landmarks": marks}
            write_text(path, json.dumps(entry))
        yield path.stem
    network = resynthesis.load_autoencoder()
    for region in _resynthesised(regions, count):
        path = folder / f"{resynthesis.NAME}-{region.sha256}.json"
        if not path.is_file():
            try:
                seed = int(region.sha256[:8], 16)
                forged = resynthesis.resynthesise(region.pixels(), region.landmarks, network, seed)
            except ForgeryRefused as refused:
                write_text(path, json.dumps({"refused": str(refused)}))
            else:
                write_array(path.with_suffix(".npy"), forged.picture)
                write_text(path, json.dumps({"refused": None}))
        yield path.stem


def load_forgeries(regions: Sequence[FaceRegion], count: int, folder: Path) -> list[FaceRegion]:
    """List the forgeries that `fill_forgeries` made, each re-synthesised face beside its original.

    Returns
    -------
    list of FaceRegion
        Named by their kind; refused ones are left out.
    """
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        path = folder / f"{generated.NAME}-{seed}.json"
        entry = read_json(path)
        if entry["crop"] is not None:
            digest = hashlib.sha256(path.stem.encode()).hexdigest()
            known = (digest, digest, generated.NAME, 1, LineageTag.TRAIN.value, "")
            crop = CropBox(*entry["crop"])
            seen = (entry["found"], float(entry["score"]), crop.x1 - crop.x0, False, path.with_suffix(".npy"))
            found.append(FaceRegion(*known, crop, *seen, _points(entry["landmarks"]), generated.NAME))
    for region in _resynthesised(regions, count):
        path = folder / f"{resynthesis.NAME}-{region.sha256}.json"
        if read_json(path)["refused"] is None:
            one = replace(region, pair="", generator=resynthesis.NAME)
            found += [one, replace(one, label=1, file=path.with_suffix(".npy"))]
    return found


def _resynthesised(regions: Sequence[FaceRegion], count: int) -> list[FaceRegion]:
    own = [region for region in regions if region.lineage == LineageTag.TRAIN and region.landmarks]
    return twin_candidates(own, count)


def _points(marks: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in marks)
