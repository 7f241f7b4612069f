"""Both bundles of a canary on one stream, side by side: each in a process of its own, so that a crash is an answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ecdd.batch import judge_apart
from ecdd.evaluation.manifest_stream import check, stream
from ecdd.evaluation.scoring import Request, ScoreSettings, Task, score_one
from ecdd.monitoring.canary import MILLISECONDS

if TYPE_CHECKING:
    from ecdd.bundle.loading import Bundle
    from ecdd.detector import Detector

Rows = list[dict[str, Any]]


class _Stopwatch:
    """A detector whose answers are timed: reading and transforming a file is the stream's time, not the bundle's."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.milliseconds: float | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the detector has
        return getattr(self._detector, name)

    def examine(self, source: bytes, name: str) -> Any:  # noqa: ANN401
        start = time.perf_counter()
        judgement = self._detector.examine(source, name)
        self.milliseconds = 1e3 * (time.perf_counter() - start)
        return judgement


@dataclass(frozen=True)
class TimedSettings(ScoreSettings):
    """Scores as `ecdd score` does, with the milliseconds from bytes to verdict."""

    def judge(self, detector: Detector, item: Task) -> dict[str, Any]:
        """Row of a task."""
        timed = _Stopwatch(detector)
        row = score_one(cast("Detector", timed), item, self.root)
        return row | {MILLISECONDS: timed.milliseconds}


def answers(
    current: Bundle,
    candidate: Bundle,
    request: Request,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Rows, Rows]:
    """Let two bundles judge every picture of a stream at the same time.

    Parameters
    ----------
    current, candidate : Bundle
        Checked; each is used with its own contract.
    request : Request
        Manifest, selection and transforms; its bundle is not used.
    progress : callable
        Called with finished and expected pictures.

    Returns
    -------
    tuple of (list of dict, list of dict)
        Rows with ``milliseconds``, in one order. Both processes are always at the same picture or the next, so that
        the load of the machine meets both alike. A process that dies is an ``error`` row of its bundle.

    Raises
    ------
    ManifestError
        No manifest, or rows that cannot be read.
    """
    tasks = tasks_of(request)
    settings = [TimedSettings(bundle, None, None, request.root) for bundle in (current, candidate)]
    rows: tuple[Rows, Rows] = ([], [])
    for pair in zip(*(judge_apart(tasks, one) for one in settings), strict=True):
        rows[0].append(pair[0])
        rows[1].append(pair[1])
        progress(len(rows[0]), len(tasks))
    return rows


def tasks_of(request: Request) -> list[Task]:
    """Every picture and transform that is asked for, in order; `ManifestError` when they cannot be read."""
    check(request.manifest, request.selection)
    transforms = request.chosen()
    return [Task(listed, t) for listed in stream(request.manifest, request.selection) for t in transforms]
