"""A dump: the stages S0 to S8 that any implementation of a bundle computed of the golden pictures, and its two forms.

Form one is an ``.npz`` file with a member ``dump.json`` beside its arrays. Form two, for a program that writes no zip
files, is a folder with ``dump.json`` and ``dump.bin``, whose arrays lie one behind the other, little-endian. What is in
them is written down in ``docs/device_kit.md``.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecdd.errors import EcddError
from ecdd.files import parse_json, read_json, write_output

DUMP_VERSION: Final = 1
HEAD: Final = "dump.json"
FLAT: Final = "dump.bin"
PLATFORM_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}"
MAX_ARRAY_BYTES: Final = 2**28
_DTYPES: Final = {"S1": "uint8", "S3": "uint8", "S4": "float32", "S5": "float32"}
_DIMENSIONS: Final = {"S1": 3, "S3": 3, "S4": 3, "S5": 2}

Array = NDArray[Any]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DumpError(EcddError):
    """A dump that cannot be read; the message names file and key, and what is expected there."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Platform(_Strict):
    """Which implementation made the dump.

    Attributes
    ----------
    name : str
        Its own name, under which it stands in evidence: ``"pixel-8-nnapi"``.
    kind : {"device", "emulated", "browser"}
        Emulated: the machine's instructions, but neither its times nor its drivers.
    about : dict of str to str
        Versions, delegate, anything a reader wants to know.
    """

    name: Annotated[str, Field(pattern=f"^{PLATFORM_NAME}$")]
    kind: Literal["device", "emulated", "browser"]
    about: dict[str, str] = {}


class DumpedFace(_Strict):
    """S2, S6 and S7 of one face; the arrays stand beside it. S6 and S7 are None where no model read it."""

    box: tuple[float, float, float, float]
    score: float
    crop_box: tuple[int, int, int, int]
    reason_codes: list[str] = []
    pooled_logit: float | None = None
    calibrated_logit: float | None = None
    probability: float | None = None


class DumpedDecision(_Strict):
    """S8."""

    label: Literal["real", "fake", "abstain"]
    reason_codes: list[str] = []
    deciding_face: int | None = None


class DumpedPicture(_Strict):
    """One picture: digests of S0 and S1, faces by falling score, the decision, milliseconds by stage if measured."""

    s0: Digest
    s1: str | None = None
    faces: list[DumpedFace] = []
    s8: DumpedDecision
    milliseconds: dict[str, float] = {}


class DumpHead(_Strict):
    """All of a dump but its arrays."""

    dump_version: Literal[1]
    platform: Platform
    bundle_digest: Digest
    pictures: Annotated[dict[str, DumpedPicture], Field(min_length=1)]


@dataclass(frozen=True, eq=False)
class Dump:
    """A dump in memory.

    Attributes
    ----------
    head : DumpHead
        What is no array.
    arrays : mapping of str to ndarray
        By name: ``<golden id>/S1``, ``<golden id>/face<k>/S3``, ``S4``, ``S5``; each may be absent.
    """

    head: DumpHead
    arrays: Mapping[str, Array]

    def of(self, picture: str, stage: str, face: int | None = None) -> Array | None:
        """One array; None where the dump does not hold it."""
        return self.arrays.get(array_name(picture, stage, face))


def array_name(picture: str, stage: str, face: int | None = None) -> str:
    """Name of an array in a dump: ``real_oath_a/face0/S3``.

    >>> array_name("real_oath_a", "S3", 0), array_name("real_oath_a", "S1")
    ('real_oath_a/face0/S3', 'real_oath_a/S1')
    """
    return f"{picture}/{stage}" if face is None else f"{picture}/face{face}/{stage}"


def write_npz(path: Path, dump: Dump, inputs: Iterable[Path] = ()) -> None:
    """Write a dump as one ``.npz`` file, over none of the inputs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr(HEAD, dump.head.model_dump_json(indent=1))
        for name, values in dump.arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
            packed.writestr(f"{name}.npy", member.getvalue())
    write_output(path, buffer.getvalue(), inputs=inputs)


def write_flat(folder: Path, dump: Dump) -> None:
    """Write a dump as a folder with ``dump.json`` and ``dump.bin``."""
    table, content = {}, io.BytesIO()
    for name, values in dump.arrays.items():
        table[name] = {"dtype": str(values.dtype), "shape": list(values.shape), "offset": content.tell()}
        content.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    head = dump.head.model_dump(mode="json") | {"arrays": table}
    write_output(folder / FLAT, content.getvalue())
    write_output(folder / HEAD, (json.dumps(head, indent=1) + "\n").encode())


def read_dump(path: Path) -> Dump:
    """Read a dump of either form.

    Parameters
    ----------
    path : Path
        ``.npz`` file, or a folder with ``dump.json`` and ``dump.bin``.

    Raises
    ------
    DumpError
        Not readable, of another version, or an array of another kind than its stage's.
    """
    if not path.exists():
        raise DumpError(f"{path}: no such dump; name an .npz file, or a folder with {HEAD} and {FLAT}")
    head, arrays = _read_flat(path) if path.is_dir() else _read_npz(path)
    if isinstance(head, dict) and head.get("dump_version") != DUMP_VERSION:
        raise DumpError(f"{path}: dump_version is {head.get('dump_version')!r}; this version reads {DUMP_VERSION}")
    try:
        parsed = DumpHead.model_validate(head)
    except ValidationError as error:
        lines = [f"{path}: {HEAD}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:20]]
        raise DumpError("\n".join(lines)) from None
    _check_arrays(path, parsed, arrays)
    return Dump(parsed, arrays)


def _read_npz(path: Path) -> tuple[Any, dict[str, Array]]:
    try:
        with zipfile.ZipFile(path) as packed:
            if HEAD not in packed.namelist():
                raise DumpError(f"{path}: no member {HEAD}; it holds {', '.join(packed.namelist()[:3]) or 'nothing'}")
            large = [one.filename for one in packed.infolist() if one.file_size > MAX_ARRAY_BYTES]
            if large:
                raise DumpError(f"{path}: {large[0]} is larger than {MAX_ARRAY_BYTES} bytes")
            arrays = {
                name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(packed.read(name)), allow_pickle=False)
                for name in packed.namelist()
                if name != HEAD
            }
            return parse_json(packed.read(HEAD), f"{path}: {HEAD}"), arrays
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise DumpError(f"{path}: not a dump: {error}") from None


def _read_flat(folder: Path) -> tuple[Any, dict[str, Array]]:
    head = read_json(folder / HEAD)
    table = head.pop("arrays", None) if isinstance(head, dict) else None
    if not isinstance(table, dict):
        raise DumpError(f"{folder / HEAD}: arrays: a table of name, dtype, shape and offset is needed")
    content = (folder / FLAT).read_bytes()
    arrays = {}
    for name, about in table.items():
        try:
            dtype = np.dtype(about["dtype"]).newbyteorder("<")
            count, offset = math.prod(int(n) for n in about["shape"]), int(about["offset"])
            values = np.frombuffer(content, dtype, count, offset)
            arrays[name] = values.reshape(about["shape"]).astype(dtype.newbyteorder("="))
        except (KeyError, TypeError, ValueError) as error:
            raise DumpError(f"{folder / HEAD}: arrays.{name}: {error}; {FLAT} has {len(content)} bytes") from None
    return head, arrays


def _check_arrays(path: Path, head: DumpHead, arrays: Mapping[str, Array]) -> None:
    """Every array belongs to a picture and face of the dump, and is of its stage's kind."""
    for name, values in arrays.items():
        picture, _, rest = name.partition("/")
        stage = rest.rpartition("/")[2]
        known = head.pictures.get(picture)
        faces = [f"face{k}/{s}" for k in range(0 if known is None else len(known.faces)) for s in ("S3", "S4", "S5")]
        if known is None or rest not in ("S1", *faces):
            raise DumpError(f"{path}: array {name}: the dump lists no such picture or face")
        if str(values.dtype) != _DTYPES[stage] or values.ndim != _DIMENSIONS[stage] or not values.size:
            wanted = f"{_DTYPES[stage]} of {_DIMENSIONS[stage]} dimensions"
            raise DumpError(f"{path}: array {name} is {values.dtype} {values.shape}; {stage} is {wanted}")
