"""Reading a model file, and recognising what it really is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ecdd.runtimes.base import RuntimeFileError

# How files begin: offset, bytes, what it is. ONNX has no magic number; it begins with its field 1, ir_version.
_BEGINNINGS: Final = (
    (4, b"TFL3", "a TFLite file"),
    (8, b'{"', "a safetensors file"),
    (0, b"PK\x03\x04", "a zip archive (a torch checkpoint or a Keras file)"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights)"),
    (0, b"\x80", "a pickle"),
    (0, b"\x08", "an ONNX file"),
)


def recognise(content: bytes) -> str:
    """Say what a file is by how it begins.

    Parameters
    ----------
    content : bytes
        All of it.

    Returns
    -------
    str
        In words, with the length.
    """
    kind = next((kind for place, magic, kind in _BEGINNINGS if content[place:].startswith(magic)), "an unknown kind")
    return f"{kind} of {len(content)} bytes" if content else "an empty file"


def read_model(model: Path | bytes, name: str) -> tuple[str, bytes]:
    """Read a model file once, so that what is described, checked and computed is the same content.

    Parameters
    ----------
    model : Path or bytes
        File, or its content.
    name : str
        For messages, where content is given.

    Returns
    -------
    tuple of (str, bytes)
        Name and content.

    Raises
    ------
    RuntimeFileError
        If it cannot be read.
    """
    if isinstance(model, bytes):
        return name, model
    try:
        return str(model), model.read_bytes()
    except OSError as error:
        raise RuntimeFileError(str(model), "a file that can be read", str(error.strerror)) from None
