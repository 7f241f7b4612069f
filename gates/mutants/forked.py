"""What a forked process does: nothing of this project may be imported here before pytest is, see `preloaded`."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Final, TextIO

ROOT = Path(__file__).resolve().parents[2]
_NO_AUTOLOAD: Final = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")  # what `preloaded` sets where nobody did


class _Inside:
    """Plugin: what a test runs as a process of its own finds its plugins as always."""

    def pytest_configure(self) -> None:
        os.environ.pop(_NO_AUTOLOAD, None)


def run(arguments: list[str], output: str, environment: dict[str, str]) -> None:
    """Run pytest and end the process with its exit code.

    Parameters
    ----------
    arguments : list of str
        Of pytest.
    output : str
        File that takes all that is written.
    environment : dict of str to str
        All variables; those that the server was started with are not the caller's of today.
    """
    with Path(output).open("w", encoding="utf-8") as stream:
        _begin(stream, stream, environment)
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
            del os.environ[name]
        import pytest

        plugins: list[object] = []
        if pytest.version_tuple >= (8, 4):
            # no plugin of ours: evidence of a run with a plugin that the gates do not know is refused
            os.environ.pop(_NO_AUTOLOAD, None)
            arguments = [*arguments, "--disable-plugin-autoload"]
        else:
            os.environ[_NO_AUTOLOAD] = "1"
            plugins = [_Inside()]
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            code = int(pytest.main(arguments, plugins=plugins))
            stream.flush()
    os._exit(code)  # threads of the runtimes have nothing left to do


def command(arguments: list[str], output: str, errors: str, environment: dict[str, str]) -> None:
    """Run the program `ecdd` and end the process with its exit code.

    Parameters
    ----------
    arguments : list of str
        Of the program.
    output, errors : str
        Files that take standard output and standard error.
    environment : dict of str to str
        All variables.
    """
    with (
        Path(output).open("w", encoding="utf-8", errors="backslashreplace") as out,
        Path(errors).open("w", encoding="utf-8", errors="backslashreplace") as err,
    ):
        _begin(out, err, environment)
        code = _ended(arguments)
        out.flush()
        err.flush()
        os._exit(code)


def _ended(arguments: list[str]) -> int:
    """Exit code of the program; what nobody caught is shown, as the interpreter does."""
    sys.argv = ["ecdd", *arguments]
    try:
        from ecdd.cli import main

        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
        return 1
    return 0


def _begin(out: TextIO, err: TextIO, environment: dict[str, str]) -> None:
    """Be in the project's folder, where the project is found, and write into files whoever writes."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdout, sys.stderr = out, err
    threads = {name: os.environ[name] for name in _THREADS if name in os.environ}
    os.environ.clear()
    os.environ.update(threads | environment)
    os.chdir(ROOT)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
