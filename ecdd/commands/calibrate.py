"""``ecdd calibrate``: calibrate a student and write, or write anew, the bundle that ships it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecdd.calibration.fitting import FittedCalibration


def calibrate(
    *,
    data: Annotated[Path, typer.Option(help="Data manifest, or its folder.")],
    out: Annotated[Path, typer.Option(help="Bundle folder.")] = Path("ecdd/bundles/default"),
    training: Annotated[
        Path | None, typer.Option(help="Folder of a training; the bundle's own weights where not given.")
    ] = None,
    contract: Annotated[Path, typer.Option(help="Its two thresholds are rewritten.")] = Path(
        "contracts/policy_contract.yaml"
    ),
    split: Annotated[Path, typer.Option(help="Lineage tags.")] = Path("golden/data_split.csv"),
    cache: Annotated[Path | None, typer.Option(help="Folder for tensors: also measure on harmonised pictures.")] = None,
    config: Annotated[Path, typer.Option(help="How to harmonise.")] = Path("configs/student.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of a new bundle.")] = None,
    release: Annotated[str | None, typer.Option(help="Version of a new bundle, such as 0.1.0.")] = None,
    frozen_on: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day the calibration set was frozen; kept where not given."),
    ] = None,
) -> None:
    """Score the CALIBRATION pictures with the exported model, fit temperature and thresholds, write the bundle."""
    from rich.progress import Progress

    from ecdd.bundle import BundleError
    from ecdd.calibration.metrics import MetricError
    from ecdd.calibration.temperature_scaling import CalibrationError
    from ecdd.contract.loading import ContractError, load_contract
    from ecdd.dataset_governance.lineage_tags import LineageError, LineageTag, load_split
    from ecdd.dataset_governance.manifest import ManifestError, load_manifest
    from ecdd.dataset_governance.usable_faces import usable_faces
    from ecdd.export.artifact_manifest import TRAINING_FILE, build_bundle, previous_release
    from ecdd.export.folding import ExportError
    from ecdd.export.harmonised_check import harmonised_metrics
    from ecdd.models.state_dicts import CheckpointError
    from ecdd.training.config import TrainingError, load_config

    day = frozen_on.date() if frozen_on else None
    try:
        if training is None:
            old = previous_release(out)
            name, release, day, record = name or old[0], release or old[1], day or old[2], old[3]
        else:
            name, release = name or "tiny-ladeda-default", release or "0.1.0"
            day = day or datetime.datetime.now(datetime.UTC).date()
            record = (training / TRAINING_FILE).read_bytes()
        rows = usable_faces(load_manifest(data), load_split(split), [LineageTag.CALIBRATION])
        more = None
        if cache is not None:
            policy, settings, folder = load_contract(contract), load_config(config), cache

            def more(model: bytes, temperature: float) -> dict[str, float | int | str | None]:
                return harmonised_metrics(rows, policy, settings, folder, model, temperature)

        with Progress(transient=True) as bar:
            task = bar.add_task("scoring", total=len(rows))
            fitted = build_bundle(
                (training or out) / "weights.safetensors",
                contract,
                rows,
                out,
                name=name,
                release=release,
                training_record=record,
                frozen_on=day,
                more_metrics=more,
                progress=lambda _: bar.advance(task),
            )
    except (
        BundleError,
        CalibrationError,
        CheckpointError,
        ContractError,
        ExportError,
        LineageError,
        ManifestError,
        MetricError,
        TrainingError,
        OSError,
    ) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    _show(fitted)


def _show(fitted: FittedCalibration) -> None:
    thresholds = fitted.thresholds
    typer.echo(f"temperature {fitted.temperature.reason}")
    typer.echo(
        f"t_real {thresholds.t_real:.6f}, t_fake {thresholds.t_fake:.6f}; FPR <= {thresholds.fpr_upper:.4f} "
        f"({thresholds.false_positives} of {thresholds.n_real}), FNR <= {thresholds.fnr_upper:.4f} "
        f"({thresholds.false_negatives} of {thresholds.n_fake}), abstain {thresholds.abstain_real:.3f} of the reals, "
        f"{thresholds.abstain_fake:.3f} of the fakes"
    )
    for note in thresholds.notes:
        typer.echo(note)
