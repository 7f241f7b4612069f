"""The command line. Thin: every command lives in `ecdd.commands` and is imported only when it runs.

A module of `ecdd.commands` has either ``app`` (a `typer.Typer`) or a function of the command's name.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

# pydantic would look through the metadata of every installed package for plugins: 30 ms of each start
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer
from typer.core import TyperCommand, TyperGroup

USAGE_ERROR = 2


@dataclass(frozen=True)
class _Entry:
    module: str
    help: str


COMMANDS: dict[str, _Entry] = {
    "predict": _Entry("ecdd.commands.predict", "Judge pictures: label, probability, reason codes."),
    "trace": _Entry("ecdd.commands.trace", "Show the stages S0 to S8 of one picture."),
    "contract": _Entry("ecdd.commands.contract", "Check, show and compare policy contracts."),
    "bundle": _Entry("ecdd.commands.bundle", "Build, verify and show bundles."),
    "golden": _Entry("ecdd.commands.golden", "Golden sets: show, check and freeze."),
    "govern": _Entry("ecdd.commands.govern", "Lineage tags of a data set, and manual review."),
    "train": _Entry("ecdd.commands.train", "Train a teacher or a student."),
    "models": _Entry("ecdd.commands.models", "Read checkpoints of other projects, and store weights smaller."),
    "forgeries": _Entry("ecdd.commands.forgeries", "Make forgeries and look at them."),
    "calibrate": _Entry("ecdd.commands.calibrate", "Fit calibration and thresholds on a calibration split."),
    "export": _Entry("ecdd.commands.export", "Turn a checkpoint into TFLite and ONNX."),
    "parity": _Entry("ecdd.commands.parity", "Compare two model files on pictures, down to the layers."),
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
}

# errors whose message is written for the user; looked up only where their module was imported
_OWN_ERRORS = (
    ("ecdd.contract.contract_error", "ContractError"),
    ("ecdd.bundle.bundle_error", "BundleError"),
    ("ecdd.pipeline.face", "DetectorError"),
)


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
        """List the commands that this installation has."""
        return [name for name, entry in COMMANDS.items() if importlib.util.find_spec(entry.module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Import one command; while help is listed, only its name and one line."""
        if cmd_name not in self.list_commands(ctx):
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

        typer.echo(f"ecdd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _is_own(error: Exception) -> bool:
    kinds = tuple(getattr(sys.modules[module], name) for module, name in _OWN_ERRORS if module in sys.modules)
    return isinstance(error, kinds)


def _message(error: Exception) -> str | None:
    """Say in one line what to do; None for an error that is a defect of the program."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("ecdd"):
        library = error.name.split(".")[0]
        extra = EXTRAS.get(library)
        how = f"pip install 'ecdd[{extra}]'" if extra else f"pip install {library}"
        return f"this command needs {library}, which is not installed; {how}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) if _is_own(error) else None


def main() -> None:
    """Run the command line; the exit code of a wrong call, file, contract or bundle is 2."""
    try:
        app()
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        typer.echo(f"ecdd: {message}", err=True)
        sys.exit(USAGE_ERROR)
