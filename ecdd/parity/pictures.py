"""Pictures for a comparison: from files to the tensors that the models read, through the canonical pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecdd.contract.contract_error import ContractError
from ecdd.parity.parity_metric import ParityError
from ecdd.pipeline import preprocess
from ecdd.pipeline.decode import decode, read_file
from ecdd.pipeline.face_detectors import load_detector
from ecdd.pipeline.reason_codes import Rejected
from ecdd.pipeline.stages import cut_face, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from ecdd.contract.loading import LoadedContract
    from ecdd.contract.yaml_reading import Value

GOLDEN = "golden"


@dataclass(frozen=True)
class InputRule:
    """How a face, or a whole picture, becomes the tensor that a model reads.

    Attributes
    ----------
    contract : LoadedContract
        Decoding, faces, gates, resize kernel and normalisation.
    size : (int, int)
        Height and width of the tensor, px.
    whole_picture : bool
        The middle of the picture in the shape of the tensor, in place of faces: for models that are no face detectors.
    """

    contract: LoadedContract
    size: tuple[int, int]
    whole_picture: bool = False


@dataclass(frozen=True, eq=False)
class PreparedTensors:
    """What one file gives.

    Attributes
    ----------
    name : str
        Of the file.
    s3 : ndarray, uint8, shape (n, H, W, 3)
        Faces that may be judged; none where codes keep the picture from the model.
    s4 : ndarray, float32, shape (n, H, W, 3)
        The same, normalised.
    codes : tuple of tuple of str
        Reason codes of every face that counts.
    picture_codes : tuple of str
        Reason codes of the picture as a whole.
    """

    name: str
    s3: NDArray[np.uint8]
    s4: NDArray[np.float32]
    codes: tuple[tuple[str, ...], ...]
    picture_codes: tuple[str, ...]


class PicturePipeline:
    """The canonical pipeline for one rule.

    Parameters
    ----------
    rule : InputRule
        What to make.

    Raises
    ------
    ParityError
        If faces, which are cut square, are wanted for a tensor that is not.
    """

    def __init__(self, rule: InputRule) -> None:
        self.rule = rule
        height, width = rule.size
        if height != width and not rule.whole_picture:
            msg = f"the model reads {height}x{width} and faces are cut square; compare it with --whole-picture"
            raise ParityError(msg)
        self._policy = rule.contract.policy
        self._detector = None if rule.whole_picture else load_detector(self._policy.face_detector)

    def prepare(self, path: Path) -> PreparedTensors:
        """Send one file through S0 to S4.

        Parameters
        ----------
        path : Path
            A file; one that is rejected, or has no face that may be judged, gives codes and no tensor.

        Returns
        -------
        PreparedTensors
            What it gives.
        """
        pixels = self._policy.pixel_pipeline
        try:
            content = read_file(path, pixels)
            if self._detector is None:
                return self._tensors(path.name, [self._middle(decode(content, pixels, name=path.name).image)])
            found = prepare(content, self._policy, self._detector, name=path.name)
        except Rejected as rejected:
            return self._tensors(path.name, [], (), tuple(str(code) for code in rejected.codes))
        own = self.rule.size == (pixels.input_size, pixels.input_size)
        image, faces = found.decoded.image, found.faces
        rows = [
            faces[k].s3
            if own
            else self._resized(cut_face(image, faces[k].face, faces[k].crop_box, self._policy.face_detector))
            for k in found.judgeable
        ]
        codes = tuple(tuple(str(code) for code in of_face) for of_face in found.counting_codes)
        return self._tensors(path.name, rows, codes, tuple(str(code) for code in found.reason_codes))

    def _middle(self, image: Image.Image) -> NDArray[np.uint8]:
        """The largest middle part in the tensor's shape, resized."""
        height, width = self.rule.size
        scale = min(image.width / width, image.height / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (image.width - across) // 2, (image.height - down) // 2
        return self._resized(image.crop((left, top, left + across, top + down)))

    def _resized(self, cut: Image.Image) -> NDArray[np.uint8]:
        height, width = self.rule.size
        return preprocess.resize(cut, self._policy.pixel_pipeline, (width, height))

    def _tensors(
        self,
        name: str,
        rows: list[NDArray[np.uint8]],
        codes: tuple[tuple[str, ...], ...] = (),
        picture_codes: tuple[str, ...] = (),
    ) -> PreparedTensors:
        s3 = np.stack(rows) if rows else np.empty((0, *self.rule.size, 3), np.uint8)
        s4 = np.empty(s3.shape, np.float32)
        for index, levels in enumerate(s3):
            s4[index] = preprocess.normalise(levels, self._policy.pixel_pipeline)
        return PreparedTensors(name, s3, s4, codes, picture_codes)


def find_pictures(data: str, most: int | None = None) -> list[tuple[str, Path]]:
    """List the pictures to compare on.

    Parameters
    ----------
    data : str
        ``golden`` for the golden set, a manifest or a folder that holds one, a folder of pictures, or one picture.
    most : int, optional
        At most so many: those whose content has the smallest SHA-256, a choice that neither order nor name can change.

    Returns
    -------
    list of (str, Path)
        Names to report and files.

    Raises
    ------
    ParityError
        If there are none.
    GoldenError, ManifestError
        If golden set or manifest are not in order.
    """
    pictures = list(_listed(data))
    if not pictures:
        raise ParityError(f"{data}: no pictures; give a folder of pictures, a manifest, or {GOLDEN}")
    if most is not None and most < len(pictures):
        chosen = sorted(range(len(pictures)), key=lambda k: _digest(pictures[k][1]))[:most]
        pictures = [pictures[k] for k in sorted(chosen)]
    return pictures


def _listed(data: str) -> Iterator[tuple[str, Path]]:
    if data == GOLDEN:
        from ecdd.golden.golden_sets import load_golden

        golden = load_golden()
        golden.verify()
        yield from ((item.path, golden.file(item)) for item in golden.items)
        return
    from ecdd.batch import find_files
    from ecdd.dataset_governance.manifest import load_manifest, manifest_path

    path = Path(data)
    if not path.exists():
        raise ParityError(f"{data}: no such file or folder; a folder of pictures, a manifest, or {GOLDEN} is needed")
    if manifest_path(path).suffix == ".csv" and manifest_path(path).is_file():
        yield from ((row.name, row.path) for row in load_manifest(path))
        return
    folder = path if path.is_dir() else path.parent
    yield from ((file.relative_to(folder).as_posix(), file) for file in find_files([path])[0])


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def with_normalisation(
    contract: LoadedContract,
    scale: float | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
) -> LoadedContract:
    """Replace the contract's normalisation for a model that was trained with another one.

    Raises
    ------
    ParityError
        If the contract's own ranges refuse a value.
    """
    given: dict[str, Value | None] = {
        "pixel_pipeline.pixel_scale": scale,
        "pixel_pipeline.normalisation_mean": None if mean is None else list(mean),
        "pixel_pipeline.normalisation_std": None if std is None else list(std),
    }
    values = {key: value for key, value in given.items() if value is not None}
    try:
        return contract.with_values(values) if values else contract
    except ContractError as error:
        raise ParityError(f"normalisation: {error}") from None
