"""Model work off the event loop: warm processes, each with one picture at a time, so that a death names its picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from ecdd.errors import EcddError
from ecdd.serving.judging_process import Judge, work
from ecdd.verdict import Verdict

_LOG = logging.getLogger("ecdd.serving")
_START_SECONDS: Final = 60.0  # to import, load and answer once, on a machine that is busy
_RETRY_SECONDS: Final = (0.1, 0.5, 2.0, 10.0)
_CLOSE_SECONDS: Final = 2.0
_WATCH_SECONDS: Final = 0.5


class WorkerDied(EcddError):  # noqa: N818 - an outcome that is answered, not a programming error
    """The process ended while it had a picture, or could not be started."""


class WorkerTimedOut(EcddError):  # noqa: N818
    """The process had no answer in time; it was ended."""


@dataclass(frozen=True)
class Question:
    """One picture for a worker: the file's bytes, the extension of its name, and whether details are wanted."""

    data: bytes | bytearray
    suffix: str = ""
    full: bool = False


class Worker:
    """A process with a warm detector, and the pipe to it. All methods block."""

    def __init__(self, judge: Judge, target: Callable[..., None] = work) -> None:
        context = multiprocessing.get_context("spawn")  # the server has threads: a fork could copy a held lock
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, judge), daemon=True)
        self.process.start()
        theirs.close()

    def wait_until_warm(self) -> dict[str, Any]:
        """Wait for the first answer; it shows what every verdict has in common."""
        first = self._receive(_START_SECONDS)
        if "error" in first:
            raise WorkerDied(first["error"])
        return first

    def ask(self, question: Question, seconds: float) -> dict[str, Any]:
        """Judge one picture.

        Parameters
        ----------
        question : Question
            What to judge.
        seconds : float
            Time for it.

        Returns
        -------
        dict
            Answer of `judging_process.answer`.

        Raises
        ------
        WorkerDied, WorkerTimedOut
            There is no answer; this worker is of no more use.
        """
        try:
            self._connection.send_bytes(json.dumps({"suffix": question.suffix, "full": question.full}).encode())
            self._connection.send_bytes(question.data)
        except OSError as error:
            raise WorkerDied from error
        return self._receive(seconds)

    def _receive(self, seconds: float) -> dict[str, Any]:
        try:
            if not self._connection.poll(max(seconds, 0.0)):
                raise WorkerTimedOut
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerDied from error
        return answer

    def kill(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.join(_CLOSE_SECONDS)
        self._connection.close()

    def dismiss(self) -> None:
        """Let an idle process end by itself, and end it when it does not."""
        self._connection.close()
        self.process.join(_CLOSE_SECONDS)
        if self.process.is_alive():
            self.kill()


class WorkerPool:
    """A fixed number of workers; one that dies or hangs is replaced.

    Parameters
    ----------
    judge : Judge
        Bundle and contract.
    count : int
        Processes.

    Attributes
    ----------
    replaced : int
        Processes that had to be replaced so far.
    common : Verdict
        Set by `start`. A verdict of the first worker on an empty file: what all verdicts have in common.
    """

    def __init__(self, judge: Judge, count: int) -> None:
        self._judge, self.count = judge, count
        self._threads = ThreadPoolExecutor(count, "worker")
        self._free: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()  # the one used last has the warmest cache
        self._busy: set[Worker] = set()
        self._warm: set[Worker] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._closing = False
        self.replaced = 0
        self.common: Verdict

    @property
    def ready(self) -> int:
        """Warm processes that live at this moment, busy or not."""
        return sum(worker.process.is_alive() for worker in self._warm)

    @property
    def busy(self) -> int:
        """Processes that have a picture."""
        return len(self._busy)

    async def start(self) -> None:
        """Start every worker and wait until all are warm.

        Raises
        ------
        WorkerDied, WorkerTimedOut
            One could not be started.
        """
        try:
            await asyncio.gather(*(self._add() for _ in range(self.count)))
        except BaseException:
            await self.close()
            raise
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Replace processes that die while they have nothing to do: no request has to pay for that."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for worker in self._warm - self._busy:
                if not worker.process.is_alive():
                    self._drop(worker)

    async def _add(self) -> None:
        loop = asyncio.get_running_loop()
        worker = await loop.run_in_executor(self._threads, Worker, self._judge)
        try:
            first = await loop.run_in_executor(self._threads, worker.wait_until_warm)
        except BaseException:
            worker.process.kill()  # a thread that still waits for it sees the end of the pipe
            raise
        self.common = Verdict.model_validate(first["verdict"])  # every worker gives the same
        self._warm.add(worker)
        self._free.put_nowait(worker)

    async def take(self) -> Worker:
        """Wait for a free worker; it must be given to `ask` or `give_back`."""
        while True:
            worker = await self._free.get()
            if worker not in self._warm:
                continue  # it was replaced
            if worker.process.is_alive():
                self._busy.add(worker)
                return worker
            self._drop(worker)

    def give_back(self, worker: Worker) -> None:
        """Return a worker that has nothing to do."""
        self._busy.discard(worker)
        self._free.put_nowait(worker)

    def _drop(self, worker: Worker) -> None:
        self._busy.discard(worker)
        self._warm.discard(worker)
        worker.process.kill()
        if not self._closing:
            task = asyncio.create_task(self._replace(worker))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    async def ask(self, worker: Worker, question: Question, seconds: float) -> dict[str, Any]:
        """Let a worker that was taken judge a picture, and give it back or replace it.

        Runs to its end even when the caller is cancelled: a worker with half an answer must not be given to others.
        """
        asked = asyncio.ensure_future(self._ask(worker, question, seconds))
        # where the caller is gone nobody takes the outcome, and asyncio would log it with a trace
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(asked)

    async def _ask(self, worker: Worker, question: Question, seconds: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, worker.ask, question, seconds)
        except BaseException:
            self._drop(worker)
            raise
        self.give_back(worker)
        return answer

    async def _replace(self, gone: Worker) -> None:
        """Start another, again and again with longer pauses: a site without workers answers 503, and recovers."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, gone.kill)
        _LOG.warning("worker process ended with %s and is replaced", gone.process.exitcode)
        self.replaced += 1
        attempt = 0
        while True:
            try:
                return await self._add()
            except (WorkerDied, WorkerTimedOut, OSError) as error:
                pause = _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]
                _LOG.error("a worker process could not be started: %r; next attempt in %s s", error, pause)
                attempt += 1
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Dismiss all workers; one that is still busy is ended."""
        self._closing = True
        for task in (*self._replacing, *filter(None, (self._watching,))):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for worker in self._busy:
            worker.process.kill()
        loop = asyncio.get_running_loop()
        idle = self._warm - self._busy
        await asyncio.gather(*(loop.run_in_executor(None, worker.dismiss) for worker in idle))
        self._warm.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
