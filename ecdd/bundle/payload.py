"""The files of a bundle and the digest over them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ecdd.bundle.bundle_error import BundleError
from ecdd.bundle.manifest import FILE_NAME_PATTERN, MANIFEST_FILE, RELEASE_FOLDER, FileEntry

_NAME = re.compile(FILE_NAME_PATTERN)
_CHUNK = 2**20
MAX_FILES = 2000
_LONGEST_HASHED = 2**28


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _walk(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Yield relative name and size of every regular file; refuse everything else."""
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise BundleError(root, f"{name!a} is a symbolic link; a bundle holds plain files only")
        if not _NAME.match(name):
            raise BundleError(root, f"the name {name!a} is not allowed; use letters, digits, '.', '_', '-', not hidden")
        if stat.S_ISDIR(mode):
            yield from _walk(root, path)
        elif stat.S_ISREG(mode):
            yield name, entry.stat(follow_symlinks=False).st_size
        else:
            raise BundleError(root, f"{name} is neither a file nor a folder; a bundle holds plain files only")


def payload_sizes(root: Path) -> dict[str, int]:
    """List the payload: every file but ``manifest.json`` and the ``release/`` folder.

    Parameters
    ----------
    root : Path
        The bundle's directory.

    Returns
    -------
    dict of str to int
        Relative POSIX name to size in bytes, sorted by name.

    Raises
    ------
    BundleError
        No directory, a symbolic link, a special file, a name that is not allowed, or too many files.
    """
    if not root.is_dir():
        raise BundleError(root, "no such bundle directory" if not root.exists() else "not a directory")
    sizes: dict[str, int] = {}
    try:
        for name, size in _walk(root, root):
            if name == MANIFEST_FILE or name.startswith(f"{RELEASE_FOLDER}/"):
                continue
            sizes[name] = size
            if len(sizes) > MAX_FILES:
                raise BundleError(root, f"more than {MAX_FILES} files; this is no bundle")
    except OSError as error:
        raise BundleError(root, f"{error.filename or ''} cannot be read: {error.strerror}") from None
    return dict(sorted(sizes.items()))


def payload_entries(root: Path) -> dict[str, FileEntry]:
    """Hash every file of the payload.

    Parameters
    ----------
    root : Path
        The bundle's directory.

    Returns
    -------
    dict of str to FileEntry
        By relative name, sorted.

    Raises
    ------
    BundleError
        As `payload_sizes`, or a file cannot be read.
    """
    try:
        return {
            name: FileEntry(sha256=file_sha256(root / name), bytes=size) for name, size in payload_sizes(root).items()
        }
    except OSError as error:
        raise BundleError(root, f"{error.filename} cannot be read: {error.strerror}") from None


def entries_digest(entries: Mapping[str, FileEntry]) -> str:
    """Digest a list of files: SHA-256 over ``name NUL sha256 LF``, sorted by name."""
    text = "".join(f"{name}\0{entries[name].sha256}\n" for name in sorted(entries))
    return hashlib.sha256(text.encode()).hexdigest()


def payload_digest(path: Path | str) -> str:
    """Compute the payload digest of a bundle directory from its files.

    Parameters
    ----------
    path : Path or str
        The bundle's directory.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.

    Raises
    ------
    BundleError
        As `payload_entries`.
    """
    return entries_digest(payload_entries(Path(path)))


def compare(root: Path, listed: Mapping[str, FileEntry]) -> None:
    """Compare the files of a bundle with its list.

    Parameters
    ----------
    root : Path
        The bundle's directory.
    listed : mapping of str to FileEntry
        What the manifest says.

    Raises
    ------
    BundleError
        With the three lists: extra, missing and mismatched files.
    """
    sizes = payload_sizes(root)
    mismatched: set[str] = set()
    try:
        for name in sorted(sizes.keys() & listed.keys()):
            # no file of a bundle is that long: such a one is not read at all
            same = sizes[name] <= _LONGEST_HASHED and file_sha256(root / name) == listed[name].sha256
            if not same:
                mismatched.add(name)
            elif sizes[name] != listed[name].bytes:
                mismatched.add(MANIFEST_FILE)  # the content is the listed one: the length was edited
    except OSError as error:
        raise BundleError(root, f"{error.filename} cannot be read: {error.strerror}") from None
    extra = sorted(sizes.keys() - listed.keys())
    missing = sorted(listed.keys() - sizes.keys())
    if extra or missing or mismatched:
        raise BundleError(
            root,
            "the files are not those of the manifest; take the bundle as it was published",
            extra=extra,
            missing=missing,
            mismatched=sorted(mismatched),
        )
