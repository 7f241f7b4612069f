"""The command line. Thin: every command lives in `ecdd.commands` and is imported only when it runs.

A module of `ecdd.commands` has either ``app`` (a `typer.Typer`) or a function of the command's name.
"""

from __future__ import annotations

import importlib
import os
import traceback
from dataclasses import dataclass
from typing import Annotated, Any

# pydantic would look through the metadata of every installed package for plugins: 30 ms of each start
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer
from typer.core import TyperCommand, TyperGroup

from ecdd.commands.terminal import echo
from ecdd.errors import EcddError

USAGE_ERROR = 2
# click's ClickException, a wrong call: newer versions of Typer carry click inside, older ones depend on it
_WrongCall: type[Exception] = typer.BadParameter.__mro__[2]


@dataclass(frozen=True)
class _Entry:
    module: str
    help: str


COMMANDS: dict[str, _Entry] = {
    "predict": _Entry("ecdd.commands.predict", "Judge pictures: label, probability, reason codes."),
    "trace": _Entry("ecdd.commands.trace", "Show the stages S0 to S8 of one picture."),
    "contract": _Entry("ecdd.commands.contract", "Make, check, show and compare policy contracts."),
    "onboard": _Entry("ecdd.commands.onboard", "Take your model files to a report: contract, bundle, gates."),
    "bundle": _Entry("ecdd.commands.bundle", "Build, verify and show bundles."),
    "govern": _Entry("ecdd.commands.govern", "Lineage tags of a data set, and manual review."),
    "train": _Entry("ecdd.commands.train", "Train a teacher or a student."),
    "models": _Entry("ecdd.commands.models", "Read checkpoints of other projects, and store weights smaller."),
    "forgeries": _Entry("ecdd.commands.forgeries", "Make forgeries and look at them."),
    "calibrate": _Entry("ecdd.commands.calibrate", "Fit calibration and thresholds on a calibration split."),
    "export": _Entry("ecdd.commands.export", "Turn a checkpoint into TFLite and ONNX."),
    "parity": _Entry("ecdd.commands.parity", "Compare two model files on pictures, down to the layers."),
    "device": _Entry("ecdd.commands.device", "Prove another implementation: pack a kit, dump stages, judge a dump."),
    "web": _Entry("ecdd.commands.web", "Build a page that judges in the browser."),
    "score": _Entry("ecdd.commands.score", "Score a labelled manifest into a table for the release battery."),
    "release": _Entry("ecdd.commands.release", "Approve a bundle from its evidence and sign it, or refuse it."),
    "mutants": _Entry("ecdd.commands.mutants", "Plant every known defect: each must turn its gate red."),
    "gates": _Entry("ecdd.commands.gates", "Run the specification on a bundle: records, report, JUnit."),
    "init": _Entry("ecdd.commands.init", "Make a team's project: contract, manifest, workflow of a CI service."),
    "report": _Entry("ecdd.commands.report", "Write the HTML report of a run."),
    "judge": _Entry("ecdd.commands.judge", "Check stored evidence and hold it to a contract again."),
    "serve": _Entry("ecdd.commands.serve", "Start the local site."),
    "monitor": _Entry("ecdd.commands.monitor", "Judge a monitoring log."),
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
}


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
    module = importlib.import_module(COMMANDS[name].module)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, name))
    command = typer.main.get_command(app)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """Commands by name; listing them imports none of them."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        """List the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """Import one command; while help is listed, only its name and one line."""
        if cmd_name not in COMMANDS:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help)
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
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _WrongCall, BrokenPipeError):
            raise  # Typer's own ends: an exit code, a wrong call, a reader that went away
        except Exception as error:  # noqa: BLE001 - the one place where errors become a message and an exit code
            if ctx.params["with_traceback"]:
                traceback.print_exc()
            echo(_message(error), err=True)
            raise typer.Exit(USAGE_ERROR) from None


def _message(error: Exception) -> str:
    """What is wrong and what to do, one problem a line."""
    if isinstance(error, EcddError):
        return f"ecdd: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("ecdd"):
        library = error.name.split(".")[0]
        extra = EXTRAS.get(library)
        how = f"pip install 'ecdd[{extra}]'" if extra else f"pip install {library}"
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
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from ecdd import __version__

        echo(f"ecdd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    with_traceback: Annotated[
        bool, typer.Option("--traceback", help="Where a command fails, also show where in the program; for reports.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: 0 done or yes, 1 the answer is no, 2 no answer (see `ecdd.errors`)."""
    app()
