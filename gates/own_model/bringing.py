"""What a team has before it comes: a pair of model files, a contract of its own, and labelled pictures."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from ecdd import cli
from ecdd.bundle import bundle_path
from ecdd.contract.value_lines import set_contract_values
from ecdd.evidence.declarations import load_specification
from ecdd.evidence.records import ExperimentRecord
from ecdd.golden.golden_sets import load_golden
from gates.mutants.warm_processes import Finished, run_pytest

ROOT = Path(__file__).resolve().parents[2]
TFLITE, ONNX = (Path(__file__).with_name(name) for name in ("own.tflite", "own.onnx"))
SHIFTS = (0.0, 0.02, 0.04)  # share of a side that is cut off, left and above
OWN_VALUES: dict[str, float | str] = {
    "patch_grid.input_operator": "raw",
    "patch_grid.operator_scale": 1.0,
    "pooling.rule": "mean",
}


def own_contract(folder: Path, **changes: float | str) -> Path:
    """The contract of `tiny` with the operator and the pooling of the own pair; more changes by ``section__key``."""
    text = (bundle_path("tiny") / "policy_contract.yaml").read_text(encoding="utf-8")
    values = OWN_VALUES | {key.replace("__", "."): value for key, value in changes.items()}
    path = folder / "own_contract.yaml"
    path.write_text(set_contract_values(text, values, None), encoding="utf-8")
    return path


def _pictures(shifts: Sequence[float]) -> Iterator[tuple[str, str, int, bytes]]:
    """Name, golden id, label and PNG of every golden face, shifted and mirrored: a calibration set in small."""
    golden = load_golden(ROOT / "golden")
    for item in golden.by_set("in_scope"):
        with Image.open(golden.root / item.path) as opened:
            image = opened.convert("RGB")
        for shift in shifts:
            cut = image.crop((int(shift * image.width), int(shift * image.height), image.width, image.height))
            for mirrored in (False, True):
                buffer = io.BytesIO()
                turned = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else cut
                turned.save(buffer, "PNG", compress_level=0)
                name = f"{item.id}_{round(shift * 100)}{'m' if mirrored else ''}.png"
                yield name, item.id, int(item.expected.label == "fake"), buffer.getvalue()


def own_data(folder: Path, shifts: Sequence[float] = SHIFTS) -> tuple[Path, Path]:
    """Manifest and split of labelled pictures, all tagged CALIBRATION; all of one golden face are one group."""
    folder.mkdir(parents=True)
    listed, tagged = [], []
    for name, item, label, content in _pictures(shifts):
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        listed.append([name, label, "face", "golden", digest])
        tagged.append(
            [digest, "CALIBRATION", hashlib.sha256(item.encode()).hexdigest(), "unknown", label, "face", "golden"]
        )
    manifest, split = folder / "manifest.csv", folder.parent / "split.csv"
    for path, header, rows in (
        (manifest, ["path", "label", "scope", "source", "sha256"], listed),
        (
            split,
            ["sha256", "lineage", "near_duplicate_group", "identity", "label", "scope", "source"],
            tagged,
        ),
    ):
        with path.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows([header, *rows])
    return manifest, split


def ecdd(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program in this process, in the project's folder."""
    typed = [str(one) for one in arguments]
    with contextlib.chdir(ROOT):
        said = CliRunner().invoke(cli.app, typed)
    return subprocess.CompletedProcess(["ecdd", *typed], said.exit_code, said.stdout, said.stderr)


def gates(bundle: Path, reports: Path, *arguments: str) -> Finished:
    """Run gates on a bundle, in one process."""
    return run_pytest(arguments, reports, options=("--bundle", str(bundle)), timeout=900)


def without_rules(*experiments: str) -> list[str]:
    """Node ids of what clauses measure of a bundle, without the rules that hold or fail whatever it is."""
    declared = load_specification()
    return [f"{declared[one].file}::{name}" for one in experiments for name in declared[one].tests]


def parts(reports: Path) -> dict[str, ExperimentRecord]:
    """Records of experiments of which a run was asked for a part, as `without_rules` is: no verdict follows."""
    stored = sorted(reports.glob("phase*_results/*.incomplete.json"))
    found = [ExperimentRecord.model_validate_json(path.read_bytes()) for path in stored]
    return {record.id: record for record in found}
