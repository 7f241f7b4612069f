"""Whether a PNG's compressed stream holds all of its pixels.

Pillow 13 leaves the rest of the picture black, without an error, when the stream of a PNG ends properly at the end of
a row that is not the last one; chunks and checksums are all right then. Counting the inflated bytes notices it, and
costs as much as decoding. So it is counted only where it can be: the last row of a picture that lost rows is zero.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from PIL import Image

if TYPE_CHECKING:
    from ecdd.pipeline.file_structure import Structure

_STEP: Final = 65536
# First row, row step, first column, column step of the seven interlace passes (PNG specification, section 8.2).
_PASSES: Final = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def lost_rows(data: bytes, structure: Structure, stored: Image.Image) -> bool:
    """Whether a loaded PNG is only the beginning of a picture.

    Parameters
    ----------
    data : bytes
        The whole file.
    structure : Structure
        What the walk found.
    stored : Image
        The picture as Pillow loaded it.

    Returns
    -------
    bool
        True when the compressed stream holds fewer bytes than the header asks for.
    """
    if not structure.staged:
        last = stored.crop((0, stored.height - 1, stored.width, stored.height))
        if any(last.tobytes()):
            return False
    return not _holds(data, structure.pixel_spans, _raw_bytes(structure))


def _raw_bytes(structure: Structure) -> int:
    """Bytes of the filtered rows, each with its filter byte, of all passes."""
    bits = structure.bits * structure.channels
    if not structure.staged:
        return structure.height * (1 + (structure.width * bits + 7) // 8)
    total = 0
    for row, row_step, column, column_step in _PASSES:
        rows = -(-(structure.height - row) // row_step)
        columns = -(-(structure.width - column) // column_step)
        if rows > 0 and columns > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _holds(data: bytes, spans: list[tuple[int, int]], wanted: int) -> bool:
    """Whether the stream in these spans inflates to at least `wanted` bytes; never holds more than one step."""
    inflater = zlib.decompressobj()
    view = memoryview(data)
    count = 0
    for start, end in spans:
        pending: bytes | memoryview = view[start:end]
        while len(pending) and count < wanted and not inflater.eof:
            count += len(inflater.decompress(pending, _STEP))
            pending = inflater.unconsumed_tail
    # output that did not fit into the last step may still wait inside
    while count < wanted and not inflater.eof:
        rest = inflater.decompress(inflater.unconsumed_tail, _STEP)
        if not rest:
            break
        count += len(rest)
    return count >= wanted
