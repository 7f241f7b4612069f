"""The page's files: a fixed table of names, read once. No path of a request ever reaches the file system."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ecdd.pipeline.reason_codes import ReasonCode

FOLDER: Final = Path(__file__).resolve().parent / "static"
INDEX: Final = "index.html"
REASON_CODES: Final = "reason_codes.js"  # made from `ReasonCode`, not stored
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".json": "application/json",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True)
class StaticFile:
    """One file of the page: content, media type, and its entity tag."""

    content: bytes
    media_type: str
    etag: str


# the page that judges in the browser compiles a runtime; nothing else is allowed that the site's own page is not
DEVICE_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def device_files(contents: Mapping[str, bytes]) -> dict[str, StaticFile]:
    """Files of a page of ``ecdd web build``, by their path below ``/device/``; ``""`` is the page itself."""
    found = {
        name: StaticFile(content, _TYPES.get(Path(name).suffix, "application/octet-stream"), _tag(content))
        for name, content in contents.items()
    }
    return found | {"": found[INDEX]}


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def load_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """Read the page's files.

    Parameters
    ----------
    folder : Path
        Its files with a known extension are served, and the script of the reason codes.

    Returns
    -------
    dict of str to StaticFile
        By name; empty when the folder is missing.
    """
    if not folder.is_dir():
        return {}
    contents = {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _TYPES
    }
    contents[REASON_CODES] = reason_codes_script().encode()
    found = {}
    for name, content in contents.items():
        found[name] = StaticFile(content, _TYPES[Path(name).suffix], _tag(content))
    return found


def reason_codes_script() -> str:
    """Write the script that tells the page what every reason code means, and what to do about it."""
    table = {code.value: [code.sentence, code.advice] for code in ReasonCode}
    return f"export const REASONS = {json.dumps(table, indent=2)};\n"
