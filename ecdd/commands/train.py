"""``ecdd train student``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train a student.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    """Train a student."""


@app.command()
def student(
    data: Annotated[Path, typer.Option(help="Data manifest, or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, record and state; resumes what lies there.")],
    config: Annotated[Path, typer.Option(help="Settings of the training.")] = Path("configs/student.yaml"),
    contract: Annotated[Path, typer.Option(help="Policy contract.")] = Path("contracts/policy_contract.yaml"),
    split: Annotated[Path, typer.Option(help="Lineage tags.")] = Path("golden/data_split.csv"),
    cache: Annotated[Path | None, typer.Option(help="Folder for tensors; <out>/tensors where not given.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch; results are recorded with it.", min=1)] = 1,
) -> None:
    """Train Tiny-LaDeDa on pictures of lineage TRAIN; exit code 1 where it cannot."""
    import torch
    from rich.progress import Progress

    from ecdd.contract.loading import ContractError, load_contract
    from ecdd.dataset_governance.lineage_tags import LineageError, load_split
    from ecdd.dataset_governance.manifest import ManifestError, load_manifest
    from ecdd.pipeline.face import DetectorError
    from ecdd.training.config import TrainingError, load_config
    from ecdd.training.run import run_student

    torch.set_num_threads(threads)
    try:
        settings, policy = load_config(config), load_contract(contract)
        with Progress(transient=True) as bar:
            task = bar.add_task("student", total=None)
            record = run_student(
                load_manifest(data),
                load_split(split),
                policy,
                settings,
                cache=cache or out / "tensors",
                out=out,
                progress=lambda line: bar.update(task, description=line),
            )
    except (TrainingError, ContractError, LineageError, ManifestError, DetectorError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for name, training in record["trainings"].items():
        for kind in ("harmonised", "files_as_they_are"):
            part = training[kind]
            low, high = part["student_interval"]
            typer.echo(
                f"{name}, {kind}: AUC {part['student_auc']:.3f} [{low:.3f}, {high:.3f}], "
                f"shortcut baseline {part['shortcut_baseline']['auc']:.3f}"
            )
