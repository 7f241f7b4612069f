"""Running benchmark files, and what their numbers depend on beside the code."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

LIBRARIES: Final = ("numpy", "pillow", "ai-edge-litert", "onnxruntime", "pydantic", "typer", "torch", "dlib-bin")

Measured = dict[str, dict[str, Any]]


def run_files(files: Sequence[Path], needed: Mapping[str, str], bundle: Path | None = None) -> Measured:
    """Run benchmark files in this process.

    Parameters
    ----------
    files : sequence of Path
        To be given to pytest.
    needed : mapping of str to str
        Tests without which no table is written, and an entry of their ``extra_info`` that says that they came to
        their end; an empty one where it has none.
    bundle : Path, optional
        Bundle to measure; the default one where not given.

    Returns
    -------
    dict of str to dict
        pytest-benchmark's entry of each test, by the test's name.

    Raises
    ------
    SystemExit
        With pytest's exit code when a needed benchmark failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "benchmarks.json"
        options = ["-n", "0", "-p", "no:cacheprovider", "-q", "--report-dir", folder, f"--benchmark-json={result}"]
        options += [] if bundle is None else [f"--bundle={bundle}"]
        code = pytest.main([*map(str, files), *options])
        if not result.exists():
            sys.exit(int(code) or 1)
        found = {entry["name"]: entry for entry in json.loads(result.read_text("utf-8"))["benchmarks"]}
    ended = {name for name, key in needed.items() if name in found and (not key or key in found[name]["extra_info"])}
    if missing := sorted(needed.keys() - ended):
        sys.stderr.write(f"benchmarks failed, nothing was written: {', '.join(missing)}\n")
        sys.exit(int(code) or 1)
    return found


def machine() -> dict[str, str]:
    """What the numbers depend on beside the code."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = "absent"
    return {
        "processor": _processor(),
        "processors": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
