"""Imports point one way, and predicting loads none of the libraries of training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "tensorflow", "sklearn", "scipy", "matplotlib", "cv2", "onnxruntime", "pandas", "skimage")
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def _lint(root: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def test_imports_point_one_way() -> None:
    result = _lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "imports point one way" in result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("contract/knob.py", "import ecdd.bundle"),
        ("bundle/manifest.py", "import ecdd.runtimes.base"),
        ("runtimes/base.py", "import ecdd.pipeline.reason_codes"),
        ("pipeline/reason_codes.py", "import ecdd.inference"),
        ("pipeline/reason_codes.py", "import cv2"),
        ("training/__init__.py", "import ecdd.cli"),
        ("inference/__init__.py", "import PIL"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, module: str, line: str) -> None:
    shutil.copytree(ROOT / "ecdd", tmp_path / "ecdd", ignore=shutil.ignore_patterns("__pycache__", "*.tflite", "*.npz"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "ecdd" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    result = _lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def _modules(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def _run(*arguments: str) -> str:
    return (
        f"import ecdd.cli\nsys.argv = ['ecdd', *{list(arguments)!r}]\n"
        "try:\n    ecdd.cli.main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["contract", "--help"], ["bundle", "--help"]])
def test_help_imports_no_numpy(arguments: list[str]) -> None:
    assert not _modules(_run(*arguments)) & {"numpy", "PIL", "ai_edge_litert", *HEAVY}


def test_contract_commands_import_no_numpy() -> None:
    modules = _modules(_run("contract", "show", "contracts/policy_contract.yaml", "--json"))
    assert "ecdd.contract.loading" in modules
    assert not modules & {"numpy", "PIL", "ai_edge_litert", *HEAVY}


def test_predict_loads_no_heavy_library(request: pytest.FixtureRequest) -> None:
    """A whole prediction of a picture with a face, in a process of its own."""
    pictures = sorted((ROOT / "golden" / "in_scope").glob("*.jpg"))
    assert pictures, "golden/in_scope has no JPEG"
    bundle = request.config.getoption("--bundle", default=None)
    option = ["--bundle", str(Path(bundle).resolve())] if bundle else []
    modules = _modules(_run("predict", str(pictures[0]), *option))
    assert {"numpy", "PIL", "ai_edge_litert", "ecdd.detector"} <= modules
    assert not modules & set(HEAVY)
