"""Pictures of a report: each is kept once, however often it is shown."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecdd.errors import EcddError
from ecdd.evidence.records import RunIdentity
from ecdd.evidence.session import RunOptions
from ecdd.files import parse_json

if TYPE_CHECKING:
    from PIL import Image

    from ecdd.bundle.loading import Bundle
    from ecdd.golden.golden_sets import GoldenItem

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_THUMBNAIL: Final = 160  # pixels; shown smaller, sharp on dense screens too
_HEATMAP: Final = 256
_WEBP_QUALITY: Final = 80


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes
    ----------
    key : str
        Its id in the page.
    width, height : int
        Pixels.
    uri : str
        All of it, as a data URI.
    """

    key: str
    width: int
    height: int
    uri: str


@dataclass(frozen=True)
class Sample:
    """A golden picture that a metric names as its worst.

    Attributes
    ----------
    thumbnail : Picture or None
        As the contract decodes it.
    heatmap : Picture or None
        The patch-logit map over the face; None where no face was judged.
    caption : str
        What the heatmap shows, or why there is none.
    """

    name: str
    thumbnail: Picture | None
    heatmap: Picture | None
    caption: str


class Pictures:
    """The pictures of one page, by content."""

    def __init__(self) -> None:
        self._held: dict[str, Picture] = {}

    def __iter__(self) -> Any:  # noqa: ANN401 - an iterator of pictures
        return iter(self._held.values())

    def add(self, content: bytes, media_type: str, size: tuple[int, int]) -> Picture:
        """Keep a picture; the same bytes give the same one."""
        key = f"p{hashlib.sha256(content).hexdigest()[:16]}"
        if key not in self._held:
            uri = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
            self._held[key] = Picture(key, *size, uri)
        return self._held[key]

    def add_png(self, content: bytes) -> Picture | None:
        """Keep a PNG file; None where it is no PNG."""
        if content[:8] != _PNG or content[12:16] != b"IHDR" or len(content) < 24:
            return None
        size = (int.from_bytes(content[16:20]), int.from_bytes(content[20:24]))
        return self.add(content, "image/png", size) if min(size) else None

    def add_image(self, image: Image.Image) -> Picture:
        """Keep a small picture that was drawn here."""
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=_WEBP_QUALITY, method=4)
        return self.add(buffer.getvalue(), "image/webp", image.size)


class GoldenSamples:
    """Golden pictures that metrics name as worst: thumbnail, and heatmap where the bundle keeps the map.

    Parameters
    ----------
    options : RunOptions
        The run: its golden set and bundle.
    judged : RunIdentity
        What the run judged.
    pictures : Pictures
        Where they are kept.
    """

    def __init__(self, options: RunOptions, judged: RunIdentity, pictures: Pictures) -> None:
        self._options, self._judged, self._pictures = options, judged, pictures
        self._found: dict[tuple[str, int | None, bool], Sample] = {}

    def find(self, name: str, identity: RunIdentity) -> Sample | None:
        """The golden picture that a metric names.

        Parameters
        ----------
        name : str
            ``"real_collins"`` or ``"real_collins face 0 …"``; a path of somebody's data is never a golden picture.
        identity : RunIdentity
            Of the record: pictures of another golden set are not shown for it, nor maps of another bundle.

        Returns
        -------
        Sample or None
            None where it is none of the golden pictures at hand.
        """
        words = name.split()
        if not words or identity.golden_digest != self._judged.golden_digest or words[0] not in self._items:
            return None
        face = int(words[2]) if len(words) > 2 and words[1] == "face" and words[2].isdecimal() else None
        key = (words[0], face, identity.payload_digest == self._judged.payload_digest)
        if key not in self._found:
            drawn, caption = self._heatmap(*key[:2]) if key[2] else (None, "no heatmap: a record of another bundle")
            self._found[key] = Sample(words[0], self._thumbnail(words[0]), drawn, caption)
        return self._found[key]

    @functools.cached_property
    def _items(self) -> Mapping[str, GoldenItem]:
        """By id; none where the golden set or the bundle cannot be read, which the gates report."""
        from ecdd.golden.golden_sets import GoldenError, load_golden

        try:
            return {} if self._bundle is None else {item.id: item for item in load_golden(self._options.golden).items}
        except GoldenError:
            return {}

    @functools.cached_property
    def _bundle(self) -> Bundle | None:
        from ecdd.bundle import BundleError, load_bundle

        try:
            return load_bundle(self._options.bundle)
        except BundleError:
            return None

    def _thumbnail(self, name: str) -> Picture | None:
        from ecdd.pipeline.decode import decode
        from ecdd.pipeline.reason_codes import Rejected

        assert self._bundle is not None
        item = self._items[name]
        try:
            content = (self._options.golden / item.path).read_bytes()
            if hashlib.sha256(content).hexdigest() != item.sha256:
                return None
            image = decode(content, self._bundle.contract.policy.pixel_pipeline, name=item.path).image
        except (OSError, Rejected):
            return None
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return self._pictures.add_image(image)

    def _heatmap(self, name: str, face: int | None) -> tuple[Picture | None, str]:
        from ecdd.golden.golden_hashes import read_s3, s3_path
        from ecdd.golden.golden_outputs import OUTPUTS_FOLDER, read_index, read_npy, why_not_comparable
        from ecdd.heatmap import NO_MAP, colour_limit, has_cells, overlay

        assert self._bundle is not None
        if why := why_not_comparable(read_index(self._bundle), self._judged.golden_digest):
            return None, f"no heatmap: {why}"
        stem = f"{OUTPUTS_FOLDER}/{self._items[name].set}/{name}"
        try:
            stored = parse_json(self._bundle.read(f"{stem}.json"), f"{stem}.json")
            judged = [number for number, entry in enumerate(stored["faces"]) if "S5" in entry]
            if face is None:
                face = stored["S8"]["deciding_face"] if judged else None
            if face not in judged:
                return (
                    None,
                    f"no heatmap: no such face reached the model ({' '.join(_codes(stored, face)) or 'no face'})",
                )
            patch_map = read_npy(self._bundle.read(f"{stem}.npy"))[judged.index(face)]
            s3 = read_s3(s3_path(self._options.golden, name, face).read_bytes())
        except (EcddError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
            return None, f"no heatmap: a stored stage cannot be read ({type(error).__name__})"
        if not has_cells(patch_map):
            return None, f"no heatmap: {NO_MAP}"
        drawn = overlay(s3, patch_map, self._bundle.contract.policy).resize((_HEATMAP, _HEATMAP))
        s5, probability = stored["faces"][face]["S5"], stored["faces"][face]["S7"]["probability"]
        caption = f"face {face}, P(fake) = {probability:.3f}; box: largest cell {tuple(s5['argmax'])}, "
        caption += f"{s5['max']:+.2f}; full colour from {colour_limit(patch_map):.2f} logits on"
        return self._pictures.add_image(drawn), caption


def _codes(stored: Mapping[str, Any], face: int | None) -> list[str]:
    """Why a face, or the picture, was not judged."""
    faces = stored["faces"]
    return list(faces[face]["reason_codes"] if face is not None and face < len(faces) else stored["S8"]["reason_codes"])
