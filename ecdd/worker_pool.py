"""Worker processes that judge one thing after the other, in order; the death of one costs its own picture alone."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ecdd.errors import EcddError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class Work(Protocol):
    """What the workers do. It and the items must be picklable; so must what is judged, which is never None."""

    def load(self) -> Any:  # noqa: ANN401
        """Load what a worker keeps from item to item."""

    def judge(self, loaded: Any, item: Any) -> Any:  # noqa: ANN401
        """Judge one item."""

    def died(self, item: Any, exitcode: int | None) -> Any:  # noqa: ANN401
        """Say what stands for an item whose worker died."""


def _work(connection: Connection, work: Work, inherited: tuple[Connection, ...]) -> None:
    """Loop of a worker: an item in, a result out, until the parent sends None instead, or is gone.

    What would stop one process as well is sent instead of a result: None where nothing can be loaded, and the error
    where a file cannot be written.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends its workers
    for parents in inherited:  # with a copy of the parent's end open, its death would never be noticed
        parents.close()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            loaded = work.load()
        except Exception:  # noqa: BLE001 - the parent raises it again, once and in its own words
            connection.send(None)
            return
        while (given := connection.recv()) is not None:
            try:
                result = work.judge(loaded, given[0])
            except OSError as error:
                connection.send(error)
                return
            connection.send(result)


class Pool:
    """Workers that each have one item at a time, so that a death names its item.

    Parameters
    ----------
    items : iterable
        Taken when a worker is free: as many as there are workers are read ahead.
    work : Work
        What is done with each.
    jobs : int
        Workers at most.
    fork : bool
        Whether the first workers are forked where that is known to work (Linux): they share what is imported, and this
        process must have no other threads. All others are spawned.
    """

    def __init__(self, items: Iterable[Any], work: Work, jobs: int, *, fork: bool) -> None:
        self._items, self._work = enumerate(items), work
        self._results: dict[int, Any] = {}
        self._busy: dict[Connection, tuple[int, Any, Any]] = {}
        self._answered = False
        method = "fork" if fork and sys.platform == "linux" else "spawn"
        for _ in range(jobs):
            self._start(method)

    def _start(self, method: str = "spawn") -> None:
        taken = next(self._items, None)
        if taken is None:
            return
        import multiprocessing

        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        inherited = (*self._busy, ours) if method == "fork" else ()
        process = context.Process(target=_work, args=(theirs, self._work, inherited), daemon=True)
        process.start()
        theirs.close()
        self._give(ours, process, taken)

    def _give(self, connection: Connection, process: Any, taken: tuple[int, Any]) -> None:  # noqa: ANN401 - by method
        self._busy[connection] = (*taken, process)
        with contextlib.suppress(OSError):  # it died before it was asked; its end is noticed below
            connection.send((taken[1],))

    def run(self) -> Iterator[Any]:
        """Yield results in order; stop the workers whatever happens."""
        index = 0
        try:
            while self._busy or self._results:
                while index not in self._results:
                    self._collect()
                yield self._results.pop(index)
                index += 1
        finally:
            for connection, (_, _, process) in list(self._busy.items()):
                process.terminate()
                _dismiss(connection, process)

    def _collect(self) -> None:
        from multiprocessing.connection import Connection, wait

        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            index, item, process = self._busy.pop(connection)
            try:
                result = connection.recv()
            except (EOFError, OSError):
                process.join()
                connection.close()
                if process.exitcode == 1 and not self._answered:  # an exception before anything was judged
                    raise EcddError(
                        'the worker processes cannot start; in a script, begin from `if __name__ == "__main__":`, '
                        "as every use of several processes in Python has to"
                    ) from None
                self._results[index] = self._work.died(item, process.exitcode)
                self._start()
                continue
            if result is None or isinstance(result, OSError):
                _dismiss(connection, process)
                raise result if result is not None else self._why_not_loaded()
            self._answered = True
            self._results[index] = result
            taken = next(self._items, None)
            if taken is None:
                _dismiss(connection, process)
            else:
                self._give(connection, process, taken)

    def _why_not_loaded(self) -> Exception:
        try:
            self._work.load()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return error
        return RuntimeError("a worker could not load the detector, though this process can")


def _dismiss(connection: Connection, process: Any) -> None:  # noqa: ANN401
    with contextlib.suppress(OSError):  # said, since hanging up is not heard where another pool's worker has a copy
        connection.send(None)
    connection.close()
    process.join()
