"""The command line. Thin: every command lives in `ecdd.commands` and is imported only when it runs.

A command is the module of its name in `ecdd.commands`, with either ``app`` (a `typer.Typer`) or a function so named.
"""

from __future__ import annotations

import functools
import importlib
import os
import time
import traceback
from dataclasses import dataclass
from typing import Annotated, Any

# pydantic would look through the metadata of every installed package for plugins: 30 ms of each start
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer
from typer.core import TyperCommand, TyperGroup

from ecdd.commands.renamed import accept_old_names
from ecdd.commands.terminal import detail, echo, speak
from ecdd.errors import EcddError, how_to_install

USAGE_ERROR = 2
_ANYWHERE = frozenset({"-q", "--quiet", "-v", "--verbose"})
# click's ClickException, a wrong call: newer versions of Typer carry click inside, older ones depend on it
_WrongCall: type[Exception] = typer.BadParameter.__mro__[2]


@dataclass(frozen=True)
class _Entry:
    help: str
    panel: str

    def module(self, name: str) -> str:
        return f"ecdd.commands.{name}"


_JUDGE = "Judge pictures"
_BRING = "Bring a model"
_RELEASE = "Gates and release"
_OPERATE = "Operate"
_WORKSHOP = "Workshop"

COMMANDS: dict[str, _Entry] = {
    "predict": _Entry("Judge pictures: label, probability, reason codes.", _JUDGE),
    "trace": _Entry("Show the stages S0 to S8 of one picture.", _JUDGE),
    "serve": _Entry("Start the local site.", _JUDGE),
    "onboard": _Entry("Take your model files to a report: contract, bundle, gates.", _BRING),
    "init": _Entry("Make a team's project: contract, manifest, workflow of a CI service.", _BRING),
    "contract": _Entry("Make, check, show and compare policy contracts.", _BRING),
    "bundle": _Entry("Build, verify and show bundles.", _BRING),
    "parity": _Entry("Compare two model files on pictures, down to the layers.", _BRING),
    "calibrate": _Entry("Fit calibration and thresholds on a calibration split.", _BRING),
    "gates": _Entry("Run the specification on a bundle: records, report, JUnit.", _RELEASE),
    "report": _Entry("Write the HTML report of a run.", _RELEASE),
    "diff": _Entry("Compare two runs: verdicts, metrics, limits, versions.", _RELEASE),
    "judge": _Entry("Check stored evidence and hold it to a contract again.", _RELEASE),
    "release": _Entry("Approve a bundle from its evidence and sign it, or refuse it.", _RELEASE),
    "mutants": _Entry("Plant every known defect: each must turn its gate red.", _RELEASE),
    "web": _Entry("Build a page that judges in the browser.", _OPERATE),
    "device": _Entry("Prove another implementation: pack a kit, dump stages, judge a dump.", _OPERATE),
    "monitor": _Entry("Judge a monitoring log.", _OPERATE),
    "govern": _Entry("Lineage tags of a data set, and manual review.", _OPERATE),
    "score": _Entry("Score a labelled manifest into a table for the release battery.", _OPERATE),
    "train": _Entry("Train a teacher or a student.", _WORKSHOP),
    "export": _Entry("Turn a checkpoint into TFLite and ONNX.", _WORKSHOP),
    "models": _Entry("Read checkpoints of other projects, and store weights smaller.", _WORKSHOP),
    "forgeries": _Entry("Make forgeries and look at them.", _WORKSHOP),
}

# the extra to install where a library is missing
EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "scipy": "train",
    "imagehash": "train",
    "cv2": "train",
    "safetensors": "train",
    "tensorflow": "export",
    "onnx": "export",
    "onnxruntime": "gates",
    "matplotlib": "gates",
    "jinja2": "gates",
    "psutil": "gates",
    "pytest": "gates",
    "xdist": "gates",
    "dlib": "dlib",
    "cryptography": "serve",
    "pyarrow": "gates",
    "sqlalchemy": "serve",
    "psycopg": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "ray": "scale",
    "securesystemslib": "gates",
    "in_toto_attestation": "gates",
    "google": "gates",
    "model_signing": "release",
    "av": "video",
}


@functools.cache
def load_command(name: str) -> Any:  # noqa: ANN401 - a command object of the library that Typer builds on
    """Import the module of a command and build the command.

    Parameters
    ----------
    name : str
        A key of `COMMANDS`.

    Returns
    -------
    command
        Typer's command or group.

    Raises
    ------
    ModuleNotFoundError
        A library that the command needs is not installed.
    """
    module = importlib.import_module(COMMANDS[name].module(name))
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, name))
    command = typer.main.get_command(app)
    command.name = name
    accept_old_names(command, name)
    return command


class LazyGroup(TyperGroup):
    """Commands by name; listing them imports none of them."""

    _listing = False

    def __init__(self, **attrs: Any) -> None:  # noqa: ANN401
        super().__init__(**attrs)
        # what a mistyped name is compared with; `get_command` imports the real ones
        self.commands = {name: TyperCommand(name) for name in COMMANDS}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Take --quiet and --verbose from wherever they stand; what is behind ``--`` is not looked at."""
        end = args.index("--") if "--" in args else len(args)
        ours = [word for word in args[:end] if word in _ANYWHERE]
        rest = [word for word in args[:end] if word not in _ANYWHERE]
        return list(super().parse_args(ctx, ours + rest + args[end:]))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        """List the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """Import one command; while help is listed, only its name and one line."""
        if cmd_name not in COMMANDS:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help, rich_help_panel=COMMANDS[cmd_name].panel)
        return load_command(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the help without importing a command."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run a command; what it raises becomes one message and exit code 2, here and nowhere else."""
        started = time.monotonic()
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _WrongCall, BrokenPipeError):
            raise  # Typer's own ends: an exit code, a wrong call, a reader that went away
        except Exception as error:  # noqa: BLE001 - the one place where errors become a message and an exit code
            if ctx.params["with_traceback"]:
                traceback.print_exc()
            echo(_message(error), err=True)
            raise typer.Exit(USAGE_ERROR) from None
        finally:
            detail(f"{time.monotonic() - started:.1f} s")


def _message(error: Exception) -> str:
    """What is wrong and what to do, one problem a line."""
    if isinstance(error, EcddError):
        return f"ecdd: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("ecdd"):
        library = error.name.split(".")[0]
        extra = EXTRAS.get(library)
        how = how_to_install(extra) if extra else f"pip install {library}"
        return f"ecdd: this command needs {library}, which is not installed; {how}"
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        return f"ecdd: {where}{error.strerror or error}"
    said = " ".join(str(error).split())
    if isinstance(error, RecursionError | UnicodeError):
        return f"ecdd: a file that was given is nested too deeply, or is no UTF-8 text: {said}"
    if isinstance(error, MemoryError):
        return "ecdd: there is not enough memory for what was given"
    return (
        f"ecdd: SY-001: {type(error).__name__}: {said}; this is a defect of ecdd: report it with what "
        "`ecdd --traceback` and the same command write"
    )


app = typer.Typer(
    cls=LazyGroup,
    help="Edge deepfake detection, and the specification that decides whether a detector may ship.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from ecdd import __version__

        echo(f"ecdd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    with_traceback: Annotated[  # noqa: ARG001 - read in `LazyGroup.invoke`
        bool, typer.Option("--traceback", help="Where a command fails, also show where in the program; for reports.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Answers and errors only; also behind the command's name.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="More details, and the time taken; also behind the command's name.")
    ] = False,
) -> None:
    speak("quiet" if quiet else "verbose" if verbose else "normal")


def main() -> None:
    """Run the command line: 0 done or yes, 1 the answer is no, 2 no answer (see `ecdd.errors`)."""
    app()
