"""A small bundle that can be approved: the shipped model, two claims, and evidence really measured on it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ecdd.bundle import bundle_path, write_manifest
from ecdd.bundle.manifest import REQUIRED_FILES

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = ("E1.7", "E1.9")
TESTS = ("gates/g1/test_e1_7_alpha.py", "gates/g1/test_e1_9_normalisation.py")


def make_bundle(folder: Path) -> Path:
    """Copy what a bundle must hold, claim two experiments and freeze the rest."""
    folder.mkdir(parents=True)
    for name in (*REQUIRED_FILES, "weights.safetensors"):
        shutil.copy(bundle_path("tiny") / name, folder / name)
    contract = folder / "policy_contract.yaml"
    text = contract.read_text(encoding="utf-8").replace("status: proposed", "status: frozen")
    claimed = ", ".join(f'"{key}"' for key in CLAIMS)
    contract.write_text(re.sub(r"claims: \{value: \[[^]]*\]", f"claims: {{value: [{claimed}]", text), encoding="utf-8")
    write_manifest(folder, name="releasable")
    return folder


def measure(bundle: Path, reports: Path, tests: tuple[str, ...] = TESTS) -> Path:
    """Run the claimed experiments on the bundle; their records cite its digests."""
    from gates.mutants.warm_processes import run_pytest  # not for the clause that makes bundles alone

    finished = run_pytest(tests, reports, options=("--bundle", str(bundle)))
    if finished.exit_code:
        raise RuntimeError(finished.output[-2000:])
    return reports
