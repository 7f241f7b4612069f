"""``ecdd train teacher``, ``ecdd train student`` and ``ecdd train lite``."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ecdd.commands.terminal import AsJson, echo, progress, write_json
from ecdd.specification import CONFIGS, CONTRACT, SPLIT, TINY_CONTRACT

app = typer.Typer(
    help="Train a teacher, a student, or the pretrained detector.", no_args_is_help=True, add_completion=False
)

INTERRUPTED = 130
LITE_CONFIG = CONFIGS / "lite.yaml"

Data = Annotated[Path, typer.Option(help="Data manifest, or its folder.")]
Out = Annotated[Path, typer.Option(help="Folder for weights, record and states; resumes what lies there.")]
Config = Annotated[Path, typer.Option(help="Settings of the training.", show_default="configs/<teacher|student>.yaml")]
LiteConfig = Annotated[Path, typer.Option(help="Settings of the training.", show_default="configs/lite.yaml")]
Contract = Annotated[Path, typer.Option(help="Policy contract.", show_default="that of the bundle tiny")]
Split = Annotated[Path, typer.Option(help="Lineage tags.", show_default="golden/data_split.csv")]
Cache = Annotated[Path | None, typer.Option(help="Folder for tensors; <out>/tensors where not given.")]
Init = Annotated[Path | None, typer.Option(help="Checkpoint to begin with (`ecdd models import` reads public ones).")]
Freeze = Annotated[
    list[str] | None,
    typer.Option(help="Regular expression: parameters whose name begins so stay as they are; may be repeated."),
]
Threads = Annotated[int, typer.Option(help="Threads of torch; results are recorded with it.", min=1)]
Teacher = Annotated[
    Path | None, typer.Option(help="Folder of a teacher's training, for a configuration with a section distil.")
]

SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave bad rows and pictures out and record them, instead of refusing.")
]


@app.callback()
def _group() -> None:
    """Train a teacher or a student; start with torchrun for several processes."""


@app.command()
def teacher(
    *,
    data: Data,
    out: Out,
    config: Config = CONFIGS / "teacher.yaml",
    contract: Contract = TINY_CONTRACT,
    split: Split = SPLIT,
    cache: Cache = None,
    init: Init = None,
    freeze: Freeze = None,
    skip_bad: SkipBad = False,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Train LaDeDa9 on pictures of lineage TRAIN; exit code 130 when interrupted."""
    files, more = (data, config, contract, split), (out, cache, init, freeze, None)
    _train("ladeda9", files, more, threads, skip_bad=skip_bad, as_json=as_json)


@app.command()
def student(
    *,
    data: Data,
    out: Out,
    config: Config = CONFIGS / "student.yaml",
    contract: Contract = TINY_CONTRACT,
    split: Split = SPLIT,
    cache: Cache = None,
    init: Init = None,
    freeze: Freeze = None,
    teacher: Teacher = None,
    skip_bad: SkipBad = False,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Train Tiny-LaDeDa on pictures of lineage TRAIN; exit code 130 when interrupted."""
    files, more = (data, config, contract, split), (out, cache, init, freeze, teacher)
    _train("tiny_ladeda", files, more, threads, skip_bad=skip_bad, as_json=as_json)


@app.command()
def lite(
    *,
    data: Annotated[list[Path], typer.Option(help="Data manifest, or its folder; may be repeated.")],
    out: Out,
    init: Annotated[Path, typer.Option(help="Weights to begin with (`ecdd models import --arch lite`).")],
    config: Annotated[
        Path, typer.Option(help="Settings of the training.", show_default="configs/lite.yaml")
    ] = LITE_CONFIG,
    contract: Annotated[
        Path, typer.Option(help="Policy contract.", show_default="contracts/policy_contract.yaml")
    ] = CONTRACT,
    split: Split = SPLIT,
    cache: Annotated[Path | None, typer.Option(help="Folder for face regions; <out>/faces where not given.")] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="Folder of the latent autoencoder, for twins.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="One training: a fold's name, or shipped; may be repeated. All by default.")
    ] = None,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Fine-tune the pretrained network on faces of every framing, and cross-fit it by source.

    Every fold's scores of the sources that it did not see are written beside its weights; exit code 130 when
    interrupted.
    """
    import torch

    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.lineage_tags import load_split
    from ecdd.dataset_governance.manifest import load_manifests
    from ecdd.training.config import load_face_config
    from ecdd.training.face_run import FaceRunOptions, run_face_training
    from ecdd.training.processes import join_processes, leave_processes

    _check_output(out, [init])
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings, policy = load_face_config(config), load_contract(contract)
        processes = join_processes()
        options = FaceRunOptions(out, cache or out / "faces", init, autoencoder, tuple(only or ()))
        with progress("training") as bar:
            record = run_face_training(
                load_manifests(data),
                load_split(split),
                policy,
                settings,
                options,
                processes,
                progress=bar.say if processes.first else lambda _line: None,
            )
    except KeyboardInterrupt:
        echo(f"interrupted; what is finished is kept in {out}, the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        leave_processes()
    measured = {name: part["measured"] for name, part in (record or {"trainings": {}})["trainings"].items()}
    for name, kinds in measured.items():
        for kind, part in kinds.items():
            echo(f"{name}, {kind}: " + ("not measured" if part is None else f"AUC {part['auc']:.3f}"))
    if as_json and processes.first:
        write_json({"folder": str(out), "measured": measured})


def _train(
    architecture: str,
    inputs: tuple[Path, Path, Path, Path],
    options: tuple[Path, Path | None, Path | None, list[str] | None, Path | None],
    threads: int,
    *,
    skip_bad: bool,
    as_json: bool,
) -> None:
    import torch

    from ecdd.contract.loading import load_contract
    from ecdd.dataset_governance.lineage_tags import load_split
    from ecdd.dataset_governance.manifest import load_manifest
    from ecdd.training.config import load_config
    from ecdd.training.processes import join_processes, leave_processes
    from ecdd.training.run import RunOptions, run_training
    from ecdd.training.run_folder import WEIGHTS_NAME

    data, config, contract, split = inputs
    out, cache, init, freeze, followed = options
    _check_output(out, [init, followed and followed / WEIGHTS_NAME])
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = load_config(config, architecture)
        processes = join_processes()
        with progress("training") as bar:
            skipped: list[str] = []
            rows = load_manifest(data, skipped=skipped if skip_bad else None)
            record = run_training(
                rows,
                load_split(split),
                load_contract(contract),
                settings,
                RunOptions(
                    out,
                    cache or out / "tensors",
                    init,
                    tuple(freeze or ()),
                    followed,
                    skip_bad=skip_bad,
                    skipped=tuple(skipped),
                ),
                processes,
                progress=bar.say if processes.first else lambda _line: None,
                say=echo,
            )
    except KeyboardInterrupt:
        echo(f"interrupted; what is finished is kept in {out}, the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        leave_processes()
    if processes.first:
        _show(record)
        if as_json:
            trainings = [*record["leave_one_source_out"], record["shipped"]]
            measured = [{"left_out": one["left_out"], "measured": one["measured"]} for one in trainings]
            write_json({"folder": str(out), "skipped": record["skipped"], "trainings": measured})


def _check_output(out: Path, read: Iterable[Path | None]) -> None:
    """Refuse to end a training on the weights that it begins with or follows."""
    from ecdd.files import check_output
    from ecdd.training.run_folder import WEIGHTS_NAME

    check_output(out / WEIGHTS_NAME, [path for path in read if path is not None])


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _show(record: dict[str, Any]) -> None:
    bad = [*record["skipped"]["manifest"], *record["skipped"]["unreadable"]]
    if bad:
        echo("\n".join([f"{len(bad)} bad rows and pictures were left out:", *bad]))
    for training in [*record["leave_one_source_out"], record["shipped"]]:
        fold = training["left_out"]
        name = "shipped, held-out pictures" if fold is None else f"without {fold['family']} and {fold['real_source']}"
        for kind, part in training["measured"].items():
            if part is None:
                echo(f"{name}, {kind}: not measured, one class is missing")
                continue
            low, high = part["interval"]
            echo(
                f"{name}, {kind}: AUC {part['auc']:.3f} [{low:.3f}, {high:.3f}], "
                f"shortcut baseline {part['shortcut_baseline']['auc']:.3f}"
            )
