"""Scoring on a Ray cluster: an actor holds a warm detector; the rows are those of the local engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecdd.evaluation.scoring import ScoreSettings, Task

_CHUNK = 16


class _Scorer:
    """Body of an actor: a detector of the checked bundle, which reads its files by path and compares their digests."""

    def __init__(self, settings: ScoreSettings) -> None:
        from ecdd.detector import Detector

        self._settings = settings
        self._detector = Detector.load(settings.bundle, settings.contract)

    def rows(self, tasks: list[Task]) -> list[dict[str, Any]]:
        """Rows of tasks, in order."""
        return [self._settings.judge(self._detector, task) for task in tasks]


@contextlib.contextmanager
def ray_rows(settings: ScoreSettings, jobs: int) -> Iterator[Callable[[list[Task]], list[dict[str, Any]]]]:
    """Start ``jobs`` actors, on the cluster that ``RAY_ADDRESS`` names or on this machine.

    The bundle and the pictures must lie at the same paths on every node.

    Parameters
    ----------
    settings : ScoreSettings
        Bundle, contract, folder of the pictures.
    jobs : int
        Actors, one processor each.

    Yields
    ------
    callable
        Tasks to rows, in order.
    """
    import importlib

    ray: Any = importlib.import_module("ray")

    started = not ray.is_initialized()
    if started:
        ray.init(logging_level="warning", log_to_driver=False, include_dashboard=False)
    remote = ray.remote(num_cpus=1)(_Scorer)
    actors = [remote.remote(settings) for _ in range(jobs)]
    try:
        yield lambda tasks: _spread(ray, remote, actors, settings, tasks)
    finally:
        for actor in actors:
            ray.kill(actor)
        if started:
            ray.shutdown()


def _spread(
    ray: Any,  # noqa: ANN401 - Ray's module and its actors have no useful types
    remote: Any,  # noqa: ANN401
    actors: list[Any],
    settings: ScoreSettings,
    tasks: list[Task],
) -> list[dict[str, Any]]:
    """Chunks go round the actors; where one dies, its chunk is repeated picture by picture."""
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    asked = [(actors[n % len(actors)].rows.remote(chunk), n % len(actors)) for n, chunk in enumerate(chunks)]
    rows: list[dict[str, Any]] = []
    for chunk, (reference, which) in zip(chunks, asked, strict=True):
        try:
            rows += ray.get(reference)
        except ray.exceptions.RayActorError:
            for task in chunk:
                rows.append(_alone(ray, remote, settings, task))
            with contextlib.suppress(ray.exceptions.RayActorError):
                ray.get(actors[which].rows.remote([]))
                continue
            actors[which] = remote.remote(settings)
    return rows


def _alone(ray: Any, remote: Any, settings: ScoreSettings, task: Task) -> dict[str, Any]:  # noqa: ANN401
    actor = remote.remote(settings)
    try:
        found: dict[str, Any] = ray.get(actor.rows.remote([task]))[0]
    except ray.exceptions.RayActorError:
        return settings.died(task, None)
    finally:
        ray.kill(actor)
    return found
