"""Which code made a dump: one digest over the package."""

from __future__ import annotations

import hashlib

from ecdd.specification import PACKAGE


def code_digest() -> str:
    """SHA-256 over the package's Python files: a dump of other code is made again."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
