"""What a run was asked for: whether an experiment was collected as a whole, or only a part of it was selected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ecdd.errors import EcddError
from ecdd.files import read_json

_COLLECTION: Final = "collection-*.json"
_STOPS_EARLY: Final = ("lf", "stepwise", "stepwise_skip", "maxfail", "ignore", "ignore_glob")


@dataclass
class Collection:
    """Node ids by experiment and by what collection did with them; every worker collects the same.

    Attributes
    ----------
    collected, deselected : dict of str to set of str
        By experiment; tests without one stand under the empty name.
    plugins : dict of str to str
        What took part beside pytest and the gates' code, see `ecdd.evidence.soundness`.
    """

    collected: dict[str, set[str]] = field(default_factory=dict)
    deselected: dict[str, set[str]] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path, worker: str) -> None:
        """Store for the controller, which collects nothing itself when there are workers."""
        content = {
            "collected": {key: sorted(ids) for key, ids in sorted(self.collected.items())},
            "deselected": {key: sorted(ids) for key, ids in sorted(self.deselected.items())},
            "plugins": self.plugins,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"collection-{worker}.json").write_text(json.dumps(content), encoding="utf-8")


def read_collection(folder: Path) -> Collection:
    """Join what the workers collected.

    Parameters
    ----------
    folder : Path
        Folder of the run's fragments.

    Returns
    -------
    Collection
        Empty when nothing was collected.

    Raises
    ------
    EcddError
        A file of a worker is damaged.
    """
    joined = Collection()
    for path in sorted(folder.glob(_COLLECTION)):
        content = read_json(path)
        try:
            for part, into in (("collected", joined.collected), ("deselected", joined.deselected)):
                for key, ids in content[part].items():
                    into.setdefault(key, set()).update(ids)
            joined.plugins |= content["plugins"]
        except (KeyError, TypeError, AttributeError):
            raise EcddError(f"{path}: does not say what was collected; run the gates again") from None
    return joined


@dataclass(frozen=True)
class Selection:
    """What the command line asked for.

    Attributes
    ----------
    whole : tuple of Path
        Files and folders that were asked for without naming a test in them.
    stops_early : bool
        An option may leave tests out without saying which (``--lf``, ``-x``, ``--ignore`` …).
    """

    whole: tuple[Path, ...]
    stops_early: bool

    def covers(self, file: Path) -> bool:
        """Whether all tests of a file were asked for."""
        return not self.stops_early and any(file == path or path in file.parents for path in self.whole)


def with_rules(arguments: Iterable[str], invoked_in: Path, files: Iterable[Sequence[Path]]) -> list[str]:
    """Add to the files that are asked for the rules that they rest on.

    Parameters
    ----------
    arguments : iterable of str
        Files, folders and node ids, relative to `invoked_in`.
    invoked_in : Path
        Folder.
    files : iterable of sequence of Path
        Of every experiment its clause file, and behind it the file of its rules where there is one.

    Returns
    -------
    list of str
        The arguments, none twice.
    """
    found = list(map(str, arguments))
    asked = {(invoked_in / argument).resolve() for argument in found}
    rules = [rule for clause, *more in files if clause.resolve() in asked for rule in more]
    return [*found, *(str(rule) for rule in rules if rule.resolve() not in asked)]


def selection_of(arguments: Iterable[str], invoked_in: Path, options: object) -> Selection:
    """Read the selection from pytest's arguments and options.

    Parameters
    ----------
    arguments : iterable of str
        Files, folders and node ids.
    invoked_in : Path
        Folder that they are relative to.
    options : object
        pytest's parsed options.

    Returns
    -------
    Selection
        What is asked for as a whole.
    """
    whole = tuple((invoked_in / argument).resolve() for argument in map(str, arguments) if "::" not in argument)
    return Selection(whole, any(bool(getattr(options, name, None)) for name in _STOPS_EARLY))


def is_complete(experiment: str, files: Iterable[Path], selection: Selection, collection: Collection) -> bool:
    """Whether a run was asked for the whole of an experiment.

    Parameters
    ----------
    experiment : str
        Id.
    files : iterable of Path
        Its test files; none for an experiment that nobody declared, which is never a part of one.
    selection : Selection
        The command line.
    collection : Collection
        What came of it.

    Returns
    -------
    bool
        False when a test of it was not asked for or was deselected.
    """
    files = tuple(files)
    return not files or (all(map(selection.covers, files)) and not collection.deselected.get(experiment))


def unfinished(collected: Mapping[str, set[str]], finished: Iterable[str]) -> dict[str, list[str]]:
    """Tests that were collected and never finished, by experiment: a worker that crashed loses them."""
    done = set(finished)
    lost = {key: sorted(ids - done) for key, ids in collected.items() if key}
    return {key: ids for key, ids in sorted(lost.items()) if ids}
