"""``ecdd calibrate``: fit calibration and thresholds, and write a new bundle with them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecdd.commands.next_steps import say_how_to_freeze
from ecdd.commands.terminal import AsJson, echo, progress, write_json
from ecdd.errors import EcddError
from ecdd.specification import CONFIGS, SPLIT

if TYPE_CHECKING:
    from ecdd.calibration.fitting import FittedCalibration
    from ecdd.dataset_governance.usable_faces import TaggedRow


def calibrate(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; nothing may be there yet.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to begin with: weights, contract, record; the default bundle.")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="Folder of a training, in place of the bundle's weights.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Data manifest, or its folder, may be repeated; the bundle's own logits where not given."),
    ] = None,
    contract: Annotated[Path | None, typer.Option(help="Policy contract, in place of the bundle's.")] = None,
    split: Annotated[Path, typer.Option(help="Lineage tags.", show_default="golden/data_split.csv")] = SPLIT,
    method: Annotated[str | None, typer.Option(help="calibration.method: temperature, platt or isotonic.")] = None,
    fpr: Annotated[float | None, typer.Option(help="operating_point.max_fpr.")] = None,
    fnr: Annotated[float | None, typer.Option(help="operating_point.max_fnr.")] = None,
    confidence: Annotated[float | None, typer.Option(help="operating_point.confidence.")] = None,
    small_logits: Annotated[
        bool, typer.Option("--small-logits", help="The model gives logits, though all lie between 0 and 1.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder for tensors: also measure on harmonised pictures.")] = None,
    config: Annotated[Path, typer.Option(help="How to harmonise.", show_default="configs/student.yaml")] = CONFIGS
    / "student.yaml",
    name: Annotated[str | None, typer.Option(help="Name of the new bundle.")] = None,
    release: Annotated[str | None, typer.Option(help="Its version; the old one with its last number raised.")] = None,
    frozen_on: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day the calibration set was frozen; today for newly scored pictures."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit calibration and thresholds by the contract, and write a new bundle; none is changed in place.

    With --data the CALIBRATION pictures are scored by the exported model; without it the bundle's committed logits are
    calibrated again. Exit code 2 where that cannot be, with what to do.
    """
    from ecdd.bundle import bundle_path, load_bundle
    from ecdd.calibration.unseen_sources import CROSS_FITTED_FILE
    from ecdd.contract.loading import load_contract
    from ecdd.contract.value_lines import set_contract_values
    from ecdd.dataset_governance.lineage_tags import LineageTag, load_split
    from ecdd.dataset_governance.manifest import load_manifests
    from ecdd.dataset_governance.usable_faces import usable_faces
    from ecdd.export.recalibrating import TRAINING_FILE, NewBundle, previous_release, recalibrate_bundle
    from ecdd.files import read_text

    if training is not None and not data:
        raise typer.BadParameter(
            "--training brings another model, whose logits are not known; name pictures with --data"
        )
    source = bundle_path(bundle)
    old_name, old_release, old_day, record = previous_release(source)
    text = read_text(contract or source / "policy_contract.yaml")
    chosen = _chosen(method=method, fpr=fpr, fnr=fnr, confidence=confidence)
    load_contract(contract or source / "policy_contract.yaml")  # refused here, where the message can name its lines
    text = set_contract_values(text, chosen, "frozen") if chosen else text
    if training is not None:
        record = _record_of(training / TRAINING_FILE)
        if record is None:  # weights from elsewhere: nothing of the old bundle is theirs
            old_name, old_release = "own-model", "0.0.9"
    today = datetime.datetime.now(datetime.UTC).date()
    day = frozen_on.date() if frozen_on else (today if data else old_day)
    cross_fitted = (training or source) / CROSS_FITTED_FILE
    unseen = cross_fitted.read_bytes() if cross_fitted.is_file() else None
    new = NewBundle(out, name or old_name, release or _raised(old_release), text, record, day, unseen, small_logits)
    if data is None:
        fitted = recalibrate_bundle(load_bundle(source), new)
    else:
        from ecdd.export.artifact_manifest import build_bundle  # torch and tensorflow, which logits alone do not need
        from ecdd.export.harmonised_check import harmonised_metrics
        from ecdd.training.config import load_config

        weights = (training or source) / "weights.safetensors"
        if not weights.is_file():
            raise EcddError(
                f"{weights}: no such file; model files alone are scored anew by ecdd bundle build --tflite --onnx "
                "--contract --data, and without --data the bundle's own logits are calibrated again"
            )
        rows = usable_faces(load_manifests(data), load_split(split), [LineageTag.CALIBRATION])
        more: Any = None
        if cache is not None:
            policy, settings = load_contract(contract or source / "policy_contract.yaml"), load_config(config)
            more = lambda model, applied: harmonised_metrics(rows, policy, settings, cache, model, applied)  # noqa: E731
        # the float model first, then what was quantised on its pictures
        with progress("scoring", 2 * len(rows)) as bar:
            fitted = build_bundle(weights, rows, new, more_metrics=more, progress=lambda _: bar.advance())
    _show(fitted)
    if data is not None:
        _show_shortcuts(rows, out)
    echo(f"{out}: bundle {new.name} {new.release}")
    about = say_how_to_freeze(load_bundle(out), out)
    if as_json:
        write_json(about)


def _chosen(
    *, method: str | None, fpr: float | None, fnr: float | None, confidence: float | None
) -> dict[str, float | str]:
    """Contract values that the caller sets, by key."""
    values = {
        "calibration.method": method,
        "operating_point.max_fpr": fpr,
        "operating_point.max_fnr": fnr,
        "operating_point.confidence": confidence,
    }
    return {key: value for key, value in values.items() if value is not None}


def _record_of(path: Path) -> bytes | None:
    """Training record; what was imported has none."""
    if path.is_file():
        return path.read_bytes()
    echo(f"{path.parent}: no {path.name}: nothing says what this model was trained on")
    return None


def _show_shortcuts(rows: list[TaggedRow], out: Path) -> None:
    """What the files alone give away, beside what the new bundle's model reaches."""
    from ecdd.bundle.variants import SCORES_FILE
    from ecdd.calibration.calibration_set_contract import read_scores
    from ecdd.contract.loading import load_contract
    from ecdd.export.shortcuts import shortcut_line

    echo(shortcut_line(rows, read_scores(out / SCORES_FILE), load_contract(out / "policy_contract.yaml")))


def _raised(release: str) -> str:
    """The next version: the last number raised by one."""
    head, _, last = release.rpartition(".")
    return f"{head}.{int(last) + 1}" if last.isdigit() and head else f"{release}.1"


def _show(fitted: FittedCalibration) -> None:
    thresholds = fitted.thresholds
    for warning in fitted.calibrator.warnings:
        echo(f"warning: {warning}")
    echo(fitted.calibrator.reason)
    echo(
        f"t_real {thresholds.t_real:.3f}, t_fake {thresholds.t_fake:.3f}; FPR <= {thresholds.fpr_upper:.3f} "
        f"({thresholds.false_positives} of {thresholds.n_real}), FNR <= {thresholds.fnr_upper:.3f} "
        f"({thresholds.false_negatives} of {thresholds.n_fake}), abstain {thresholds.abstain_real:.3f} of the reals, "
        f"{thresholds.abstain_fake:.3f} of the fakes"
    )
    for note in thresholds.notes:
        echo(note)
