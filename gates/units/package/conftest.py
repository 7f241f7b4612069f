"""A wheel built from the checkout, installed in an environment of its own, and an empty folder to use it in."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Installed:
    """An environment that holds the wheel.

    Attributes
    ----------
    wheel : Path
        The file.
    programs : Path
        Folder of ``python`` and ``ecdd``.
    """

    wheel: Path
    programs: Path

    def run(self, folder: Path, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in a folder, without this checkout, without a browser."""
        command = [str(self.programs / program), *arguments]
        return subprocess.run(
            command, cwd=folder, env=clean_environment(environment), capture_output=True, text=True, check=False,
            timeout=900,
        )  # fmt: skip


def clean_environment(more: dict[str, str]) -> dict[str, str]:
    """The environment without what names this checkout, a browser, or the run that these tests belong to."""
    hidden = ("PYTHONPATH", "ECDD_CHROMIUM", "CI", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    return kept | {"PATH": "/nowhere"} | more


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built and installed once for all workers of a run; third-party libraries are those of this environment."""
    if os.environ.get("CI") != "true":  # there it must be installed
        pytest.importorskip("hatchling", reason="building a wheel needs the extra dev")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "installed"
    with (base / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").is_file():
            _install(folder)
            (folder / "done").touch()
    return Installed(next((folder / "wheel").glob("*.whl")), folder / "environment" / "bin")


def _install(folder: Path) -> None:
    environment = folder / "environment"
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel")])
    venv.create(environment, symlinks=True, with_pip=False)
    python = environment / "bin" / "python"
    wheel = next((folder / "wheel").glob("*.whl"))
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)])
    own = next(environment.glob("lib/python*/site-packages"))
    # behind the wheel's own folder, and its .pth files are not read: an editable ECDD stays out
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
