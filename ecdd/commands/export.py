"""``ecdd export``: a checkpoint to TFLite and ONNX, in one or more modes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, watched, write_json
from ecdd.specification import CONTRACT, SPLIT

if TYPE_CHECKING:
    from ecdd.contract.loading import LoadedContract
    from ecdd.export.representative_data import RepresentativeSet


def export(
    weights: Annotated[Path, typer.Option("--checkpoint", help="weights.safetensors of a training.")],
    out: Annotated[Path, typer.Option(help="Folder for model.onnx and model.tflite, or model_<mode>.tflite.")],
    contract: Annotated[
        Path, typer.Option(help="Policy contract.", show_default="contracts/policy_contract.yaml")
    ] = CONTRACT,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, float16, dynamic_range, weight_only_int8, full_int8 or int16x8; repeat for more than one."
        ),
    ] = None,
    float_layer: Annotated[
        list[str] | None, typer.Option(help="Layer that stays float in modes that compute with integers; repeat it.")
    ] = None,
    integer_io: Annotated[
        bool, typer.Option("--integer-io", help="full_int8 and int16x8: integers at input and map too, no islands.")
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Data manifest, or its folder, may be repeated; CALIBRATION pictures give integer modes their ranges."
        ),
    ] = None,
    split: Annotated[Path, typer.Option(help="Lineage tags.", show_default="golden/data_split.csv")] = SPLIT,
    *,
    as_json: AsJson = False,
) -> None:
    """Export a teacher or student, compare the float files with it, quantise, look inside, and time the files."""
    from ecdd.export.quantised_file import EXPECTED, INTEGER_MODES, WEIGHTS_ONLY

    modes = mode or ["float32"]
    if unknown := [name for name in modes if name not in EXPECTED]:
        raise typer.BadParameter(f"--mode {unknown[0]}; allowed are {', '.join(EXPECTED)}")
    if float_layer and not set(modes) - {"float32", *WEIGHTS_ONLY}:
        raise typer.BadParameter(f"--float-layer {float_layer[0]}: in {', '.join(modes)} every layer computes in float")

    from ecdd.bundle.manifest import MODEL_FILE
    from ecdd.contract.loading import load_contract
    from ecdd.export.artifact_manifest import check_identity, export_model
    from ecdd.export.exported_parity import tflite_latency
    from ecdd.export.folding import fold
    from ecdd.export.quantize import check_layers, quantise
    from ecdd.export.recalibrating import ONNX_FILE
    from ecdd.files import write_output
    from ecdd.models.checkpoint import load_weights

    policy = load_contract(contract)
    model, identity = load_weights(weights)
    check_identity(identity, policy, weights)
    check_layers(fold(model), float_layer or ())
    exported = export_model(model, policy)
    write_output(out / ONNX_FILE, exported.onnx, inputs=[weights])
    parity = exported.parity
    echo(
        f"max |difference| of a patch logit on {parity.n} tensors: TFLite {parity.tflite_max:.3g}, "
        f"ONNX {parity.onnx_max:.3g}; spread of the map {parity.spread:.3g}"
    )
    files: dict[str, dict[str, object]] = {ONNX_FILE: {"mode": "float32", "bytes": len(exported.onnx)}}
    ranges = _representative(data, split, policy) if set(modes) & set(INTEGER_MODES) else None
    for name in [key for key in EXPECTED if key in modes]:
        made = quantise(fold(model), name, policy.policy, ranges, float_layers=float_layer, integer_io=integer_io)
        file = MODEL_FILE if len(modes) == 1 else f"model_{name}.tflite"
        write_output(out / file, made.model, inputs=[weights])
        if made.representative is not None:
            text = json.dumps(made.representative, indent=1, sort_keys=True) + "\n"
            write_output(out / f"{Path(file).stem}_representative_data.json", text.encode(), inputs=[weights])
        latency = tflite_latency(made.model)
        files[file] = {"mode": name, "bytes": len(made.model), "median_ms": latency}
        echo(f"{file}: {len(made.model)} bytes, one thread, one face, median {latency:.2f} ms")
    if as_json:
        write_json({"folder": str(out), "files": files, "patch_logit_difference": asdict(parity)})


def _representative(data: list[Path] | None, split: Path, contract: LoadedContract) -> RepresentativeSet:
    """S4 of the CALIBRATION pictures, through the canonical pipeline."""
    from ecdd.calibration.calibration_set_contract import score_pictures
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.dataset_governance.manifest import load_manifests
    from ecdd.dataset_governance.usable_faces import usable_faces
    from ecdd.export.export_error import ExportError
    from ecdd.export.variants import RepresentativePictures

    if not data:
        raise ExportError("full_int8 and int16x8 measure ranges of activations: name pictures with --data MANIFEST")
    rows, kept = (
        usable_faces(load_manifests(data), load_split(split), [LineageTag.CALIBRATION]),
        RepresentativePictures(),
    )
    for _ in watched(score_pictures(rows, contract.policy, [], kept), len(rows), "reading"):
        pass
    return kept.chosen(contract)
