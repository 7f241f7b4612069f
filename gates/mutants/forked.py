"""What a forked process does: nothing of this project may be imported here before pytest is, see `preloaded`."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class _Inside:
    """Plugin: what a test runs as a process of its own finds its plugins as always."""

    def pytest_configure(self) -> None:
        os.environ.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)


def run(arguments: list[str], output: str, environment: dict[str, str]) -> None:
    """Run pytest and end the process with its exit code.

    Parameters
    ----------
    arguments : list of str
        Of pytest.
    output : str
        File that takes all that is written.
    environment : dict of str to str
        Variables to add.
    """
    with Path(output).open("w", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        os.chdir(ROOT)
        os.environ.update(environment, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
            del os.environ[name]
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
        import pytest

        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            code = int(pytest.main(arguments, plugins=[_Inside()]))
            stream.flush()
    os._exit(code)  # threads of the runtimes have nothing left to do
