"""Golden sets: 30 faces in scope, 20 pictures out of scope, 30 edge cases, with origin, licence and expectation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecdd.errors import ListedError
from ecdd.files import read_yaml
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.specification import GOLDEN

SetName = Literal["in_scope", "out_of_scope", "edge_cases"]
Outcome = Literal["reaches_model", "abstain", "rejected"]
SETS: Final[tuple[SetName, ...]] = ("in_scope", "out_of_scope", "edge_cases")
SIZES: Final[Mapping[SetName, int]] = {"in_scope": 30, "out_of_scope": 20, "edge_cases": 30}
MANIFEST: Final = "manifest.yaml"
MAX_BYTES: Final = 1_000_000  # of one picture
DEFAULT_ROOT: Final = GOLDEN
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class GoldenError(ListedError):
    """Everything that is wrong with a golden set, one problem a line."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Expected(_Strict):
    """What the picture is, and what a system with the default contract must do with it.

    ``outcome`` is what happens to the picture as a whole: at least one face reaches the model, or the system
    abstains before that with ``reason_codes``, or it rejects the file.
    """

    scope: Literal["face", "none"]
    label: Literal["real", "fake"] | None
    outcome: Outcome
    reason_codes: Annotated[list[str], Field(default_factory=list)]

    @model_validator(mode="after")
    def _consistent(self) -> Expected:
        if (self.scope == "face") != (self.label is not None):
            raise ValueError("label: real or fake with scope face, null with scope none")
        if (self.outcome == "reaches_model") != (not self.reason_codes):
            raise ValueError("reason_codes: none with outcome reaches_model, at least one otherwise")
        unknown = sorted(set(self.reason_codes) - {code.value for code in ReasonCode})
        if unknown:
            raise ValueError(f"reason_codes: {', '.join(unknown)} unknown; the codes of the contract are allowed")
        return self


class GoldenItem(_Strict):
    """One picture.

    Attributes
    ----------
    id : str
        Unique, the file's name without its suffix.
    path : str
        Relative to the folder of the manifest, with ``/``.
    licence, licence_reason : str
        Of this picture, and why it holds.
    origin : str
        ``package version: path inside``, or ``generated``.
    generator, seed, parameters
        How it was made; generator ``none`` is a file kept byte for byte as its package ships it.
    derived_from : list of str
        Golden ids, or paths below ``sources/``, whose pixels are in it.
    photograph : str or None
        The photograph behind it; several pictures may share one.
    people : list of str
        Who is to be seen; unnamed people have a name of their own here.
    hard_negative : bool
        Out of scope, and made or chosen to resemble a face.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    path: str
    set: SetName
    sha256: Sha256
    category: str
    licence: Annotated[str, Field(min_length=1)]
    licence_reason: Annotated[str, Field(min_length=1)]
    attribution: str | None = None
    origin: Annotated[str, Field(min_length=1)]
    generator: str
    seed: int | None
    parameters: dict[str, str | int | float | bool | list[int] | list[str]]
    derived_from: list[str]
    photograph: str | None
    people: list[str]
    hard_negative: bool
    expected: Expected

    @model_validator(mode="after")
    def _consistent(self) -> GoldenItem:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or path.parts[0] != self.set or path.stem != self.id:
            raise ValueError(f"path {self.path!r}: {self.set}/{self.id} and a suffix is expected")
        if self.set == "out_of_scope" and self.expected.scope != "none":
            raise ValueError("expected.scope: none in out_of_scope")
        if self.set != "out_of_scope" and self.expected.scope != "face":
            raise ValueError(f"expected.scope: face in {self.set}")
        return self


class GoldenManifest(_Strict):
    """The file ``golden/manifest.yaml``."""

    manifest_version: Literal[1]
    about: str
    distinct_people: int
    distinct_photographs: int
    sources: dict[str, Sha256]
    items: list[GoldenItem]

    @model_validator(mode="after")
    def _consistent(self) -> GoldenManifest:
        ids = [item.id for item in self.items]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"items: {', '.join(twice)} listed more than once")
        digests = [item.sha256 for item in self.items]
        same = sorted(item.id for item in self.items if digests.count(item.sha256) > 1)
        if same:
            raise ValueError(f"items: {', '.join(same)} hold the same bytes")
        real = [item for item in self.items if item.set == "in_scope" and item.expected.label == "real"]
        people = {person for item in real for person in item.people}
        photographs = {item.photograph for item in real}
        if (len(people), len(photographs)) != (self.distinct_people, self.distinct_photographs):
            raise ValueError(
                f"distinct_people, distinct_photographs: {self.distinct_people}, {self.distinct_photographs} stated, "
                f"{len(people)}, {len(photographs)} counted among the real pictures in scope"
            )
        known = set(ids) | {f"sources/{name}" for name in self.sources}
        lost = sorted(
            {f"{item.id} <- {name}" for item in self.items for name in item.derived_from if name not in known}
        )
        if lost:
            raise ValueError(f"derived_from: unknown {', '.join(lost)}")
        return self


@dataclass(frozen=True)
class GoldenSet:
    """A loaded golden set.

    Attributes
    ----------
    root : Path
        Folder of the manifest.
    manifest : GoldenManifest
        Its content.
    """

    root: Path
    manifest: GoldenManifest

    @property
    def items(self) -> tuple[GoldenItem, ...]:
        """Every picture, in the order of the manifest."""
        return tuple(self.manifest.items)

    def by_set(self, name: SetName) -> tuple[GoldenItem, ...]:
        """Pictures of one set."""
        return tuple(item for item in self.items if item.set == name)

    def item(self, name: str) -> GoldenItem:
        """One picture by its id.

        Raises
        ------
        KeyError
            No such id.
        """
        for item in self.items:
            if item.id == name:
                return item
        raise KeyError(f"golden item {name!r} is not in {MANIFEST}")

    def file(self, item: GoldenItem) -> Path:
        """Where a picture lies."""
        return self.root / item.path

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises
        ------
        GoldenError
            Listing files that are missing, that the manifest does not list, that differ, or that are too large,
            and sets of the wrong size.
        """
        problems = [
            f"{name}: {len(self.by_set(name))} pictures, {SIZES[name]} are expected"
            for name in SETS
            if len(self.by_set(name)) != SIZES[name]
        ]
        listed = {item.path: item.sha256 for item in self.items}
        listed |= {f"sources/{name}": digest for name, digest in self.manifest.sources.items()}
        present = {
            path.relative_to(self.root).as_posix()
            for folder in (*SETS, "sources")
            for path in (self.root / folder).rglob("*")
            if path.is_file()
        }
        problems += [
            f"{path}: listed in {MANIFEST}, but missing; restore it or rebuild the set"
            for path in sorted(set(listed) - present)
        ]
        problems += [
            f"{path}: not in {MANIFEST}; remove it or give it an entry" for path in sorted(present - set(listed))
        ]
        for path in sorted(set(listed) & present):
            content = (self.root / path).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if digest != listed[path]:
                problems.append(
                    f"{path}: sha256 is {digest}, {MANIFEST} has {listed[path]}; restore it or rebuild the set"
                )
            if len(content) > MAX_BYTES:
                problems.append(f"{path}: {len(content)} bytes, at most {MAX_BYTES} are allowed")
        if problems:
            raise GoldenError(problems)


def load_golden(root: Path | str | None = None) -> GoldenSet:
    """Load a golden set; its files are checked by :meth:`GoldenSet.verify`.

    Parameters
    ----------
    root : Path or str, optional
        Folder with ``manifest.yaml``; the project's own set by default.

    Raises
    ------
    GoldenError
        No manifest, or one that does not hold what it must; every problem is listed.
    """
    folder = DEFAULT_ROOT if root is None else Path(root)
    path = folder / MANIFEST
    if not path.is_file():
        raise GoldenError([f"{path}: no such manifest; give a folder with {MANIFEST}"])
    try:
        content = read_yaml(path)
        return GoldenSet(folder, GoldenManifest.model_validate(content))
    except ValidationError as error:
        raise GoldenError(
            [f"{MANIFEST}: {_where(problem['loc'], content)}: {problem['msg']}" for problem in error.errors()]
        ) from error


def load_checked(root: Path | str | None = None) -> GoldenSet:
    """Load a golden set, compare every file with the manifest, and make the paths absolute.

    Parameters
    ----------
    root : Path or str, optional
        Folder with ``manifest.yaml``; the project's own set by default.

    Returns
    -------
    GoldenSet
        Its items' ``path`` is absolute.

    Raises
    ------
    GoldenError
        A file is extra, missing, changed or too large.
    """
    golden = load_golden(root)
    golden.verify()
    items = [item.model_copy(update={"path": str((golden.root / item.path).absolute())}) for item in golden.items]
    return GoldenSet(golden.root, golden.manifest.model_copy(update={"items": items}))


def _where(location: tuple[int | str, ...], content: object) -> str:
    """Key of a problem, with the picture's id in place of its number."""
    names = [str(part) for part in location]
    if len(location) > 1 and location[0] == "items" and isinstance(location[1], int) and isinstance(content, dict):
        entry = content["items"][location[1]]
        names[1] = str(entry.get("id", location[1])) if isinstance(entry, dict) else names[1]
    return ".".join(names) or "manifest"
