"""The network in every mode that a bundle carries, scored on the calibration pictures and calibrated each by itself."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecdd.calibration.calibration_set_contract import ScoredPicture, score_pictures
from ecdd.contract.loading import LoadedContract
from ecdd.dataset_governance.usable_faces import TaggedRow
from ecdd.export.folding import FoldedNetwork
from ecdd.export.quantised_file import Mode
from ecdd.export.quantize import quantise
from ecdd.export.recalibrating import Variant
from ecdd.export.representative_data import RepresentativeSet

MODES: Final[tuple[Mode, ...]] = ("float32", "dynamic_range", "full_int8")  # what every bundle carries
MOST_REPRESENTATIVE: Final = 256  # pictures whose S4 (0.8 MB each) are held at once; ranges settle long before


@dataclass
class RepresentativePictures:
    """Keeps the pictures with the smallest SHA-256: a choice that neither order nor chance can change."""

    most: int = MOST_REPRESENTATIVE
    _kept: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)

    def __call__(self, sha256: str, batch: NDArray[np.float32]) -> None:
        """Offer a picture: its digest, and S4 of its faces, of which the first is kept."""
        entry = (-int(sha256, 16), batch[0])
        if len(self._kept) < self.most:
            heapq.heappush(self._kept, entry)
        elif entry[0] > self._kept[0][0]:
            heapq.heapreplace(self._kept, entry)

    def chosen(self, contract: LoadedContract) -> RepresentativeSet:
        """Give the kept pictures, sorted by digest."""
        ordered = sorted(self._kept, key=lambda entry: -entry[0])
        side = contract.policy.pixel_pipeline.input_size
        tensors = np.stack([tensor for _, tensor in ordered]) if ordered else np.empty((0, side, side, 3), np.float32)
        return RepresentativeSet(tuple(f"{-key:064x}" for key, _ in ordered), tensors, contract.tensor_digest)


def make_variants(
    folded: FoldedNetwork,
    float_model: bytes,
    rows: list[TaggedRow],
    contract: LoadedContract,
    progress: Callable[[ScoredPicture], None],
    modes: Sequence[Mode] = MODES,
) -> dict[str, Variant]:
    """Score the calibration pictures with the float model, quantise on them, and score them with the other modes.

    Parameters
    ----------
    folded : FoldedNetwork
        What `float_model` was made from.
    float_model : bytes
        TFLite file, float32.
    rows : list of (ManifestRow, SplitRow)
        CALIBRATION faces.
    contract : LoadedContract
        Pipeline, runtime and limits of the representative data.
    progress : callable
        Called after every picture of either pass.
    modes : sequence of str
        Modes to make; ``float32`` is always among them.

    Returns
    -------
    dict of str to Variant
        By mode.

    Raises
    ------
    ExportError
        If the representative data is refused or a file is not what its mode says.
    """
    kept, scored = RepresentativePictures(), []
    for (picture,) in score_pictures(rows, contract.policy, [float_model], kept):
        scored.append(picture)
        progress(picture)
    variants = {"float32": Variant(float_model, scored)}
    others = [mode for mode in modes if mode != "float32"]
    representative = kept.chosen(contract)
    made = [quantise(folded, mode, contract.policy, representative) for mode in others]
    columns: list[list[ScoredPicture]] = [[] for _ in made]
    for pictures in score_pictures(rows, contract.policy, [quantised.model for quantised in made]) if made else ():
        for column, picture in zip(columns, pictures, strict=True):
            column.append(picture)
        progress(pictures[0])
    for mode, quantised, column in zip(others, made, columns, strict=True):
        manifest = quantised.representative
        text = None if manifest is None else (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        variants[mode] = Variant(quantised.model, column, text)
    return variants
