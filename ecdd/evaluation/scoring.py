"""Score a manifest: every selected picture and transform becomes one row, whatever happens to it.

Rows are written in shards beside the target, each renamed when whole; a run that was stopped goes on at the first
shard that is missing. One shard of rows is in memory at a time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ecdd.batch import Settings, judge_all
from ecdd.evaluation.manifest_stream import Listed, Selection, check, stream
from ecdd.evaluation.score_table import SCORED, Plan, ScoreTableError, is_parquet, plan_of, write_table
from ecdd.evaluation.transforms import SUITE_FILE, UNTOUCHED, Transform, TransformError, apply, load_suite
from ecdd.files import check_output, parse_json, read_text, write_text
from ecdd.pipeline.decode import read_file
from ecdd.pipeline.reason_codes import ReasonCode, Rejected

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.contract.loading import LoadedContract
    from ecdd.detector import Detector

SHARD_ROWS: Final = 512
_CONTAINERS: Final = ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"), (b"RIFF", "WEBP"))
EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Task:
    """One row to come."""

    listed: Listed
    transform: Transform


@dataclass(frozen=True)
class ScoreSettings(Settings):
    """What every worker scores with; ``root`` is the folder that the manifest's paths are relative to."""

    root: Path = Path()

    def judge(self, detector: Detector, item: Any) -> dict[str, Any]:  # noqa: ANN401
        """Row of a task."""
        return score_one(detector, item, self.root)

    def died(self, item: Any, exitcode: int | None) -> dict[str, Any]:  # noqa: ANN401
        """Row of a task whose worker died: counted as an error, never scored."""
        contract = self.contract or self.bundle.contract
        row = empty_row(item, self.bundle.payload_digest, contract.digest)
        codes = str(ReasonCode.INTERNAL_ERROR)
        return row | {"outcome": "error", "reason_codes": codes, "detail": f"the worker process ended with {exitcode}"}


def empty_row(task: Task, payload_digest: str, contract_digest: str) -> dict[str, Any]:
    """What is known of a task before its file is read; nothing that could pass for a score."""
    listed = task.listed
    known = {name: value for name, value in vars(listed).items() if name != "sha256"}
    return known | {
        "transform": task.transform.name,
        "outcome": "error",
        "verdict": "abstain",
        "probability": None,
        "logit": None,
        "reason_codes": "",
        "detail": "",
        "faces": 0,
        "face_confidence": None,
        "face_side": None,
        "jpeg_quality": None,
        "blur": None,
        "container": None,
        "file_sha256": None,
        "payload_digest": payload_digest,
        "contract_digest": contract_digest,
    }


def score_one(detector: Detector, task: Task, root: Path) -> dict[str, Any]:
    """Score one picture under one transform.

    Returns
    -------
    dict
        A row; ``outcome`` is ``scored`` (whatever the verdict), ``rejected``, ``error``, ``missing`` or ``changed``
        (its digest is not the manifest's).
    """
    row = empty_row(task, detector.bundle.payload_digest, detector.contract.digest)
    path = root / task.listed.path
    policy = detector.policy.pixel_pipeline
    try:
        if not path.exists():
            return row | {"outcome": "missing", "detail": "no such file"}
        data = read_file(path, policy)
        digest = hashlib.sha256(data).hexdigest()
        row["file_sha256"], row["container"] = digest, _container(data)
        if task.listed.sha256 and digest != task.listed.sha256:
            return row | {"outcome": "changed", "detail": f"the manifest says {task.listed.sha256[:12]}"}
        data, name = apply(task.transform, data, path.name, policy)
    except Rejected as rejected:
        codes = " ".join(str(code) for code in rejected.codes)
        return row | {"outcome": "rejected", "reason_codes": codes, "detail": rejected.detail}
    except (OSError, TransformError) as error:
        return row | {
            "reason_codes": str(ReasonCode.INTERNAL_ERROR),
            "detail": f"{type(error).__name__}: {error}"[:300],
        }
    return row | _judged(detector, data, name)


def _judged(detector: Detector, data: bytes, name: str) -> dict[str, Any]:
    judgement = detector.examine(data, name)
    verdict = detector.summarise(judgement, name)
    outcome = SCORED if verdict.outcome in ("judged", "abstained") else verdict.outcome
    shown = (
        sorted(verdict.faces, key=lambda f: -f.score)
        if verdict.deciding_face is None
        else [verdict.faces[verdict.deciding_face]]
    )
    face = shown[0] if shown else None
    return {
        "outcome": outcome,
        "verdict": verdict.label,
        "probability": verdict.probability,
        "logit": verdict.logit,
        "reason_codes": " ".join(verdict.reason_codes),
        "detail": verdict.detail if outcome != SCORED else "",
        "faces": len(verdict.faces),
        "face_confidence": None if face is None else face.score,
        "face_side": None if face is None else face.face_side,
        "jpeg_quality": None if face is None else face.jpeg_quality,
        "blur": None if face is None else face.blur,
    }


def _container(data: bytes) -> str | None:
    return next((name for magic, name in _CONTAINERS if data.startswith(magic)), None)


@dataclass(frozen=True)
class Request:
    """What is to be scored, with what.

    Attributes
    ----------
    manifest : Path
        Or its folder.
    bundle, contract
        Checked; the contract is the bundle's own where None.
    transforms : bool
        The whole suite, not only the pictures as they are.
    selection : Selection
        Which rows of the manifest.
    suite : Path
        Transforms of the release battery, or those of the field.
    """

    manifest: Path
    bundle: Bundle
    contract: LoadedContract | None = None
    transforms: bool = False
    selection: Selection = field(default_factory=Selection)
    suite: Path = SUITE_FILE

    @property
    def root(self) -> Path:
        """Folder of the pictures."""
        return self.manifest if self.manifest.is_dir() else self.manifest.parent

    def chosen(self) -> tuple[Transform, ...]:
        """Transforms, in order."""
        suite = load_suite(self.suite)
        return suite.transforms if self.transforms else (suite.named(UNTOUCHED),)

    def plan(self) -> Plan:
        """Read the manifest once and fix what the table is of; `ManifestError` when it is no manifest."""
        count, digest = check(self.manifest, self.selection)
        return Plan(
            payload_digest=self.bundle.payload_digest,
            contract_digest=(self.contract or self.bundle.contract).digest,
            manifest_digest=digest,
            suite_digest=load_suite(self.suite).digest,
            transforms=tuple(transform.name for transform in self.chosen()),
            pictures=count,
        )


def score(
    request: Request,
    out: Path,
    *,
    jobs: int = 1,
    engine: EngineName = "local",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Plan:
    """Score a manifest into a table.

    Parameters
    ----------
    request : Request
        Pictures, bundle, transforms.
    out : Path
        Parquet file; ``<out>.shards`` beside it holds what is done until all is.
    jobs : int
        Processes, or actors.
    engine : {"local", "ray"}
        Where they run; the rows are the same.
    progress : callable
        Called with finished and expected rows after every shard.

    Returns
    -------
    Plan
        What the table is of.

    Raises
    ------
    ManifestError
        No manifest.
    ScoreTableError
        Shards of other pictures, another bundle or contract lie there, or ``out`` is a file of another kind.
    """
    plan = request.plan()
    check_output(out, regular=True)
    if out.exists() and not is_parquet(out):  # perhaps a picture of the manifest, or the manifest
        raise ScoreTableError(f"{out}: exists and is no score table; choose another --out")
    shards = out.with_name(f"{out.name}.shards")
    _open_shards(shards, plan)
    settings = ScoreSettings(request.bundle, request.contract, None, request.root)
    with _lines_of(engine, settings, jobs) as rows_of:
        for number, tasks in enumerate(_shards(request)):
            target = _shard(shards, number)
            if not target.exists():
                lines = [json.dumps(row, ensure_ascii=True) for row in rows_of(tasks)]
                write_text(target, "".join(f"{line}\n" for line in lines))
            progress(min((number + 1) * SHARD_ROWS, plan.n_expected), plan.n_expected)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(out, plan, _read_shards(shards, plan))
    shutil.rmtree(shards)
    return plan


def _lines_of(engine: EngineName, settings: ScoreSettings, jobs: int) -> Any:  # noqa: ANN401 - a context manager
    if engine == "ray":
        from ecdd.evaluation.ray_engine import ray_rows

        return ray_rows(settings, jobs)
    import contextlib

    return contextlib.nullcontext(lambda tasks: judge_all(tasks, settings, jobs))


def _shards(request: Request) -> Iterator[list[Task]]:
    transforms = request.chosen()
    tasks = (Task(listed, t) for listed in stream(request.manifest, request.selection) for t in transforms)
    while shard := list(itertools.islice(tasks, SHARD_ROWS)):
        yield shard


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.jsonl"


def _open_shards(folder: Path, plan: Plan) -> None:
    """Begin or go on; half a run of something else is refused, never mixed in."""
    marker = folder / "plan.json"
    if marker.exists():
        if plan_of(read_text(marker), str(marker)) != plan:
            msg = f"{folder} holds shards of another manifest, bundle, contract or suite; remove it or change --out"
            raise ScoreTableError(msg)
        return
    if folder.exists() and any(folder.iterdir()):
        msg = f"{folder} exists and holds no plan.json; remove it or choose another --out"
        raise ScoreTableError(msg)
    write_text(marker, plan.text())


def _read_shards(folder: Path, plan: Plan) -> Iterator[list[dict[str, Any]]]:
    for number in range(-(-plan.n_expected // SHARD_ROWS)):
        shard = _shard(folder, number)
        yield [parse_json(line, shard) for line in read_text(shard).splitlines()]
