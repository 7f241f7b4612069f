"""The page's files: a fixed table of names, read once. No path of a request ever reaches the file system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent / "static"
INDEX: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class StaticFile:
    """One file of the page: content, media type, and its entity tag."""

    content: bytes
    media_type: str
    etag: str


def load_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """Read the page's files.

    Parameters
    ----------
    folder : Path
        Its files (not its folders) with a known extension are served.

    Returns
    -------
    dict of str to StaticFile
        By name; empty when the folder is missing.
    """
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file() and path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = StaticFile(content, _TYPES[path.suffix], tag)
    return found
