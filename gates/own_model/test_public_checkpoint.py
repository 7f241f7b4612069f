"""A public Tiny-LaDeDa, with the operator and factor it was trained with: import, contract, export, calibration, gates.

The state dict has the names and shapes of the public file and seeded weights; the operator is the public default for
this network, ``right_diag`` times 1, which is not the one of `ecdd/bundles/tiny`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ecdd.contract.loading import load_contract
from ecdd.evidence.merging import read_records
from gates.own_model.bringing import ecdd, gates, own_data

torch = pytest.importorskip("torch", reason="extra `train` is not installed")
pytest.importorskip("tensorflow", reason="extra `export` is not installed")

SEED = 5  # of these weights the judged golden fakes score above the reals, as a calibration needs it
# a team that is content with each golden face and its mirror image
FEW = {"calibration.min_samples_per_class": 15, "quantization.min_representative": 40}


def _done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stdout[-1000:] + run.stderr[-2000:]
    return run.stdout


def test_a_public_checkpoint_goes_from_import_to_gates(tmp_path: Path) -> None:
    from gates.support.public_networks import public_student

    torch.save(public_student(SEED), tmp_path / "public.pth")
    weights, contract, bundle = tmp_path / "T" / "weights.safetensors", tmp_path / "contract.yaml", tmp_path / "bundle"
    kind = ("--arch", "tiny_ladeda", "--operator", "right_diag")
    assert "right_diag x 1," in _done(ecdd("models", "import", tmp_path / "public.pth", *kind, "--out", weights))
    said = _done(ecdd("contract", "init", "--checkpoint", weights, "--pooling", "mean", "--out", contract))
    assert "right_diag x 1, 256 px, a map of 31x31 cells" in said
    grid = load_contract(contract).policy.patch_grid
    assert (grid.input_operator, grid.operator_scale, grid.receptive_field) == ("right_diag", 1.0, 11), (
        "nine pixels and one around them"
    )

    _done(ecdd("export", "--checkpoint", weights, "--contract", contract, "--out", tmp_path / "exported"))
    load_contract(contract).with_values(FEW).dump(contract)
    manifest, split = own_data(tmp_path / "data", shifts=(0.0,))
    given = ("--training", weights.parent, "--contract", contract, "--data", manifest, "--split", split)
    # this network's logits all lie between 0 and 1, and somebody has to say that they are no probabilities
    said = _done(ecdd("calibrate", *given, "--method", "platt", "--small-logits", "--out", bundle))
    assert "nothing says what this model was trained on" in said
    assert "has AUC" in said, "the shortcut baseline of the pictures is said"
    exported = (tmp_path / "exported" / "model.tflite").read_bytes()
    assert (bundle / "model.tflite").read_bytes() == exported, "what was exported is what was calibrated"

    # shape and operator; both files against each other, and the file's own pooling against the rule
    clauses = ("gates/g3/test_e3_1_grid_shape.py", "gates/g5/test_e5_3_pooled_logit_parity.py")
    done = gates(bundle, tmp_path / "reports", *clauses)
    verdicts = {key: record.verdict for key, record in read_records(tmp_path / "reports").items()}
    assert (verdicts["E3.1"], verdicts["E5.3"]) == ("pass", "pass"), done.output[-3000:]
