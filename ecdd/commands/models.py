"""``ecdd models import`` and ``ecdd models store``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecdd.commands.terminal import AsJson, echo, write_json

if TYPE_CHECKING:
    from ecdd.models.lite import Lite
    from ecdd.models.patch_network import PatchNetwork

app = typer.Typer(help="Read and store checkpoints.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Read and store checkpoints."""


@app.command("import")
def import_(
    *,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A .pth file with a state_dict; nothing in it is executed. With --trunk a bundle's ONNX file."
        ),
    ],
    arch: Annotated[str, typer.Option(help="ladeda9, tiny_ladeda or lite.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    operator: Annotated[
        str,
        typer.Option(
            help="What it was trained with: NPR, raw, x_grad, y_grad, left_diag or right_diag; always raw for lite."
        ),
    ] = "",
    scale: Annotated[
        float | None, typer.Option(help="Factor on the operator's output; 2/3 for NPR and 1 else, where not given.")
    ] = None,
    width: Annotated[float, typer.Option(help="Multiplier of the channels; 1 is the public architecture.")] = 1.0,
    contract: Annotated[
        Path | None, typer.Option(help="Contract whose normalisation is recorded with the weights.")
    ] = None,
    trunk: Annotated[
        Path | None, typer.Option(help="Imported trunk of lite: reads an exported ONNX file back, to train on from it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a public checkpoint into a weight file that names its operator.

    A LaDeDa or Tiny-LaDeDa file has no operator of its own and loads under any, so it must be named. For lite the file
    is the trunk's ImageNet weights, held to a known SHA-256, and digest, origin and licence are printed. With --trunk
    it is the ONNX file of a bundle. Exit code 2 where keys are missing, unknown or of another shape; each is listed.
    """
    from ecdd.contract.loading import load_contract
    from ecdd.files import check_output
    from ecdd.models.checkpoint import identity_of, load_public, save_weights
    from ecdd.models.exported_weights import load_exported
    from ecdd.models.lite import ARCHITECTURE as LITE
    from ecdd.models.pretrained import LICENCE, ORIGIN, SHA256, load_pretrained
    from ecdd.models.state_dicts import CheckpointError

    begun = None if trunk is None else _trunk(trunk)
    if begun is not None and arch != LITE:
        echo(f"--trunk: only lite is read back from an exported file, not {arch}", err=True)
        raise typer.Exit(2)
    if arch == LITE:
        operator = operator or "raw"
    if not operator:
        echo("--operator: the file does not name its operator; say what it was trained with", err=True)
        raise typer.Exit(2)
    factor = scale if scale is not None else (2 / 3 if operator == "NPR" else 1.0)
    check_output(out, [path for path in (checkpoint, contract, trunk) if path is not None])
    loaded = load_contract(contract)
    policy, tensor_digest = loaded.policy, ""
    model: PatchNetwork
    try:
        if begun is not None:
            model, tensor_digest = load_exported(checkpoint, begun), loaded.tensor_digest
        elif arch == LITE:
            model = load_pretrained(checkpoint, policy.pixel_pipeline)
            echo(f"{checkpoint.name}: SHA-256 {SHA256}, {ORIGIN}, licence {LICENCE}")
        else:
            model = load_public(checkpoint, operator, factor, arch, width)
    except ValueError as error:  # a name or a width that no network has
        raise CheckpointError(str(error)) from None
    digest = save_weights(model, identity_of(model, policy, tensor_digest), out)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    echo(f"{out}: {arch}, width {width:g}, {parameters} parameters, {operator} x {factor:.4g}, state {digest[:12]}")
    if operator == "NPR" and scale is None:
        echo(
            "warning: 2/3 is the factor of LaDeDa as trained on ForenSynth; of checkpoints that were trained without "
            "one, as LaDeDa's own code does, say --scale 1"
        )
    echo(f"next: ecdd contract init --checkpoint {out} --out CONTRACT.yaml; ecdd export and ecdd calibrate take both")
    if as_json:
        about = {"weights": str(out), "arch": arch, "width": width, "parameters": parameters}
        write_json(about | {"operator": operator, "scale": factor, "state": digest})


def _trunk(path: Path) -> Lite:
    from ecdd.models.checkpoint import load_weights
    from ecdd.models.lite import Lite
    from ecdd.models.state_dicts import CheckpointError

    model, _ = load_weights(path)
    if not isinstance(model, Lite):
        msg = f"{path}: holds {model.architecture}, not the trunk of lite"
        raise CheckpointError(msg)
    return model


@app.command()
def store(
    *,
    weights: Annotated[Path, typer.Argument(help="weights.safetensors of a training.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    storage: Annotated[str, typer.Option(help="float32, or float16: half the file, 11 significant bits.")] = "float16",
    as_json: AsJson = False,
) -> None:
    """Write weights in another storage, and say how far the patch-logit map moves by it.

    Exit code 2 where a weight is too large for the storage.
    """
    import dataclasses

    import torch

    from ecdd.files import check_output
    from ecdd.models.checkpoint import load_weights, save_weights

    check_output(out, [weights], regular=True)
    model, identity = load_weights(weights)
    digest = save_weights(model, dataclasses.replace(identity, storage=storage), out)
    side = identity.input_size
    tensors = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = model(tensors), load_weights(out)[0](tensors)
    moved, spread = float((after - before).abs().max()), float(before.std())
    echo(
        f"{out}: {out.stat().st_size} bytes, {storage}, state {digest[:12]}; a patch logit of seeded noise moves by "
        f"at most {moved:.2g}, the map's spread is {spread:.2g}"
    )
    if as_json:
        about = {"weights": str(out), "bytes": out.stat().st_size, "storage": storage, "state": digest}
        write_json(about | {"patch_logit_moves": moved, "map_spread": spread})
