"""Whether a release can rest on a run at all: it was clean, of this package's specification, and of no unknown plugin.

A plugin of pytest can patch whatever measures, so none that took part goes unnamed. A process that was changed before
pytest began (``sitecustomize``, another interpreter) cannot be seen from inside; only the signature of a runner whom
one trusts speaks of that.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Final

from ecdd.evidence.head import RunEntry
from ecdd.evidence.session import is_gates_code, not_the_specification
from ecdd.specification import GATES, ROOT

if TYPE_CHECKING:
    import pytest

# of these distributions the gates use plugins, or they come with libraries that the gates need
_KNOWN: Final = frozenset(
    {"pytest", "pluggy", "pytest-xdist", "syrupy", "pytest-benchmark", "hypothesis", "anyio", "schemathesis"}
    | {"platformdirs"}
)


def foreign_plugins(manager: pytest.PytestPluginManager) -> dict[str, str]:
    """Name every plugin that is neither pytest's own nor part of the gates' code.

    Parameters
    ----------
    manager : pytest.PytestPluginManager
        Of the session.

    Returns
    -------
    dict of str to str
        Module to distribution and version, or to ``sha256 DIGEST`` of its file where no distribution has it.
    """
    import _pytest  # a release reads evidence without pytest

    own, found = Path(_pytest.__file__).parent, {}
    for _name, plugin in manager.list_name_plugin():
        module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(type(plugin).__module__)
        if plugin is None or _is_worker_of_xdist(plugin):
            continue
        named = module.__name__ if module is not None else type(plugin).__module__
        file = Path(getattr(module, "__file__", None) or "/")
        if not is_gates_code(file) and not file.is_relative_to(own):
            found[named] = _origin(module, file) if module is not None else origin_of(file)
    return dict(sorted(found.items()))


def _is_worker_of_xdist(plugin: object) -> bool:
    """Whether this is what pytest-xdist runs in a worker: its own class, sent as source and so of no module there."""
    kind = type(plugin)
    found = importlib.util.find_spec("xdist") if kind.__module__ == "__channelexec__" else None
    if found is None or not found.submodule_search_locations:
        return False
    source = Path(found.submodule_search_locations[0], "remote.py").read_text(encoding="utf-8")
    theirs = _codes_within(
        _codes_within(compile(source, "", "exec", dont_inherit=True)).get(kind.__name__, compile("", "", "exec"))
    )
    own = {name: one.__code__ for name, one in vars(kind).items() if hasattr(one, "__code__")}
    return own.keys() <= theirs.keys() and all(code == theirs[name] for name, code in own.items())


def _codes_within(code: CodeType) -> dict[str, CodeType]:
    return {one.co_name: one for one in code.co_consts if isinstance(one, CodeType)}


def _origin(module: ModuleType, file: Path) -> str:
    if "site-packages" in file.parts:
        if known := _known_distribution(file):
            return known
        for name in _distributions().get(module.__name__.partition(".")[0], ()):
            return f"{name} {importlib.metadata.version(name)}"
    return origin_of(file)


def _known_distribution(file: Path) -> str:
    """Distribution of `_KNOWN` whose list of files has this one: a few lists, where all that is installed are slow."""
    for name in sorted(_KNOWN):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        root = Path(str(found.locate_file("")))
        listed = "\n" + (found.read_text("RECORD") or "")
        if file.is_relative_to(root) and f"\n{file.relative_to(root).as_posix()}," in listed:
            return f"{name} {found.version}"
    return ""


def origin_of(file: Path) -> str:
    """Digest of a file that belongs to no distribution."""
    return f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}" if file.is_file() else "of no file"


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def unknown_plugins(plugins: Mapping[str, str]) -> list[str]:
    """Plugins of a run that may have changed what it measured: of no distribution that the gates use.

    Parameters
    ----------
    plugins : mapping of str to str
        As `foreign_plugins` named them.

    Returns
    -------
    list of str
        Module and origin; a ``conftest.py`` of this package, as it is here, is none of them.
    """
    return [
        f"{name} ({origin})"
        for name, origin in plugins.items()
        if origin.partition(" ")[0].lower() not in _KNOWN and not _is_own_conftest(name, origin)
    ]


def _is_own_conftest(name: str, origin: str) -> bool:
    file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return file.name == "conftest.py" and origin == origin_of(file)


def unsound_runs(runs: Sequence[RunEntry]) -> list[str]:
    """Why no release can rest on runs, whatever their records say; the same reason of several runs once.

    Parameters
    ----------
    runs : sequence of RunEntry
        Of the head of a folder.

    Returns
    -------
    list of str
        Tests that were red, lost or skipped without a reason; parts that are not those of this package's
        specification; plugins that may have changed what was measured.
    """
    found = []
    for run in runs:
        found += run.unclean() + not_the_specification(run.identity)
        if not any(test.startswith(f"{GATES.name}/") for test in run.tests):
            continue  # clauses of a project's own: no experiment of the specification rests on them
        found += [f"a plugin took part that the gates do not know: {name}" for name in unknown_plugins(run.plugins)]
    return list(dict.fromkeys(found))
