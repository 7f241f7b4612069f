"""One function over many items, in several processes or on a Ray cluster; a process that dies takes only its item."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, Literal, TypeVar

Engine = Literal["local", "ray"]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_CHUNK: Final = 8


def spread(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    died: Callable[[_Item], _Result],
    *,
    jobs: int = 1,
    engine: Engine = "local",
) -> Iterator[_Result]:
    """Yield the results in the order of the items.

    Parameters
    ----------
    work : callable
        A function that can be sent to another process.
    items : sequence
        Its arguments.
    died : callable
        Result of an item on which the process ended.
    jobs : int
        Processes; with 1 on the local engine this process does the work.
    engine : {"local", "ray"}
        Processes here, or tasks of the cluster that ``RAY_ADDRESS`` names (of this machine without it). Files must lie
        at the same paths on every node.

    Yields
    ------
    object
        One an item.
    """
    if engine == "local" and (jobs <= 1 or len(items) <= 1):
        yield from map(work, items)
        return
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    with (_ray if engine == "ray" else _local)(work, jobs) as results_of:
        for chunk, results in zip(chunks, results_of(chunks), strict=True):
            if results is not None:
                yield from results
                continue
            for item in chunk:  # one at a time, so that a death names its item
                with (_ray if engine == "ray" else _local)(work, 1) as alone:
                    single = next(iter(alone([[item]])))
                yield died(item) if single is None else single[0]


def _every(work: Callable[[Any], Any], chunk: Sequence[Any]) -> list[Any]:
    return [work(item) for item in chunk]


@contextlib.contextmanager
def _local(work: Callable[[Any], Any], jobs: int) -> Iterator[Callable[[Any], Iterator[list[Any] | None]]]:
    import multiprocessing

    # spawned, not forked: OpenCV and BLAS hold threads in this process
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:

        def results_of(chunks: Sequence[Sequence[Any]]) -> Iterator[list[Any] | None]:
            asked = []
            for chunk in chunks:
                try:
                    asked.append(pool.submit(_every, work, chunk))
                except BrokenProcessPool:
                    break
            for number in range(len(chunks)):
                try:
                    yield asked[number].result() if number < len(asked) else None
                except BrokenProcessPool:
                    yield None

        yield results_of


@contextlib.contextmanager
def _ray(work: Callable[[Any], Any], jobs: int) -> Iterator[Callable[[Any], Iterator[list[Any] | None]]]:
    import importlib

    ray: Any = importlib.import_module("ray")
    started = not ray.is_initialized()
    if started:
        local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": jobs}
        ray.init(**local, logging_level="warning", log_to_driver=False, include_dashboard=False)
    task = ray.remote(num_cpus=1, max_retries=0)(_every)

    def results_of(chunks: Sequence[Sequence[Any]]) -> Iterator[list[Any] | None]:
        for reference in [task.remote(work, chunk) for chunk in chunks]:
            try:
                yield ray.get(reference)
            except ray.exceptions.WorkerCrashedError:
                yield None

    try:
        yield results_of
    finally:
        if started:
            ray.shutdown()
