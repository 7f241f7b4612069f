"""``ecdd export``: a checkpoint to TFLite and ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    weights: Annotated[Path, typer.Argument(help="weights.safetensors of a training.")],
    out: Annotated[Path, typer.Option(help="Folder for model.tflite and model.onnx.")],
    contract: Annotated[Path, typer.Option(help="Policy contract.")] = Path("contracts/policy_contract.yaml"),
) -> None:
    """Export a teacher or student to folded float32 TFLite and ONNX, compare both with it, and time the TFLite file."""
    from ecdd.bundle.manifest import MODEL_FILE
    from ecdd.contract.loading import ContractError, load_contract
    from ecdd.export.artifact_manifest import ONNX_FILE, check_identity, export_model
    from ecdd.export.exported_parity import tflite_latency
    from ecdd.export.folding import ExportError
    from ecdd.files import write_bytes
    from ecdd.models.checkpoint import load_weights
    from ecdd.models.state_dicts import CheckpointError

    try:
        policy = load_contract(contract)
        model, identity = load_weights(weights)
        check_identity(identity, policy, weights)
        exported = export_model(model, policy)
        write_bytes(out / MODEL_FILE, exported.tflite)
        write_bytes(out / ONNX_FILE, exported.onnx)
    except (ExportError, CheckpointError, ContractError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    parity = exported.parity
    typer.echo(
        f"max |difference| of a patch logit on {parity.n} tensors: TFLite {parity.tflite_max:.3g}, "
        f"ONNX {parity.onnx_max:.3g}; spread of the map {parity.spread:.3g}"
    )
    typer.echo(f"TFLite, one thread, one face, median: {tflite_latency(exported.tflite):.2f} ms")
