"""``POST /v1/predict``: from a request to a verdict, through every limit of the contract."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ecdd.contract.loading import LoadedContract
from ecdd.serving.limits import BodyMemory, TokenBuckets, WaitingRoom
from ecdd.serving.metrics import Metrics
from ecdd.serving.problems import ServingError, busy
from ecdd.serving.upload import FileTooLarge, Upload, receive_upload
from ecdd.serving.workers import Question, WorkerDied, WorkerPool, WorkerTimedOut
from ecdd.verdict import Verdict

EventLog = Callable[[Verdict], None]

_LOGGER = logging.getLogger("ecdd.serving")
# Memory for bodies that are being received or wait: this many files of the largest size.
_BODIES: Final = 8
_MAX_UNLOGGED: Final = 1000  # events that wait for a slow log; further ones are counted as failures
_REJECTED: Final = 422
_STATUS_OF_CODE: Final = {"IO-002": 415, "IO-003": 413, "IO-004": 413, "IO-006": 415}
_STATUS_OF_OUTCOME: Final = {"judged": 200, "abstained": 200, "error": 503}


class Predictions:
    """Takes uploads and answers with verdicts.

    Parameters
    ----------
    contract : LoadedContract
        Section ``serving``, and ``pixel_pipeline.max_bytes``.
    pool : WorkerPool
        Started by the application.
    metrics : Metrics
        Counted into.
    log : callable, optional
        Called with every verdict, in a thread of its own and in order.
    """

    def __init__(self, contract: LoadedContract, pool: WorkerPool, metrics: Metrics, log: EventLog | None) -> None:
        serving = contract.policy.serving
        self._max_bytes = contract.policy.pixel_pipeline.max_bytes
        self._seconds = serving.request_timeout
        self._buckets = TokenBuckets(serving.requests_per_minute, serving.burst)
        self._memory = BodyMemory(_BODIES * self._max_bytes)
        self._pool, self._metrics, self._log = pool, metrics, log
        self.room = WaitingRoom(serving.max_queue)
        self._logging = ThreadPoolExecutor(1, "event-log")
        self._unlogged = 0

    async def predict(self, request: Request) -> Response:
        """Answer one request with a verdict."""
        full = _wants_details(request)
        try:
            upload, answer = await self.judged(request, full=full)
        except FileTooLarge as error:
            return self._too_large(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        verdict, details = answer["verdict"], answer["details"]
        self._record(verdict)
        if details is not None:
            faces = [{**face, **extra} for face, extra in zip(verdict["faces"], details["faces"], strict=True)]
            verdict = {**verdict, "faces": faces, "stages": details["stages"]}
        return _response(verdict, upload.sha256, len(upload.data), checked=upload.digest_checked)

    async def judged(self, request: Request, *, full: bool) -> tuple[Upload, dict[str, Any]]:
        """Receive and judge the picture of a request; the limits are tried in the order of their cost.

        Parameters
        ----------
        request : Request
            Its body is a picture, or a form with one.
        full : bool
            Also stages, patch maps and crops.

        Returns
        -------
        Upload
            What arrived.
        dict
            Answer of `judging_process.answer`.

        Raises
        ------
        ServingError, FileTooLarge, ClientDisconnect
            There is no verdict.
        """
        loop = asyncio.get_running_loop()
        arrived: float = request.scope.get("state", {}).get("arrived", loop.time())
        wait = self._buckets.seconds_to_wait(request.client.host if request.client else "")
        if wait:
            what = f"Send it again in {wait} s."
            raise ServingError(
                429, "rate_limited", "too many requests of this client", what, {"retry-after": str(wait)}
            )
        try:
            async with asyncio.timeout_at(arrived + self._seconds):
                with self._memory.body() as may_hold:
                    upload = await receive_upload(request, self._max_bytes, may_hold)
                    request.scope["ecdd.received"] = True
                    return upload, await self._judge(request, upload, full=full)
        except TimeoutError:
            if request.scope.get("ecdd.received"):
                raise busy("time_out", f"no verdict within request_timeout = {self._seconds:g} s") from None
            detail = f"the picture did not arrive within request_timeout = {self._seconds:g} s"
            raise ServingError(408, "slow_upload", detail, "Send it again.", {"connection": "close"}) from None
        finally:
            self._metrics.request_seconds.add(loop.time() - arrived)

    async def _judge(self, request: Request, upload: Upload, *, full: bool) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        with self.room.place() as admitted:
            if not admitted:
                raise busy("queue_full", f"max_queue = {self.room.places} requests wait already")
            worker = await self._pool.take()
        self._metrics.queue_seconds.add(loop.time() - start)
        gone = True  # also where the time of the request ends right here: the worker must not be lost
        try:
            gone = await request.is_disconnected()
        finally:
            if gone:
                self._pool.give_back(worker)
        if gone:
            raise ClientDisconnect
        try:
            # A full time-out from here on: a worker must not be ended because its request waited in the queue.
            return await self._pool.ask(worker, Question(upload.data, upload.suffix, full), self._seconds)
        except WorkerDied:
            return {"verdict": self._failed("the worker process ended on this picture"), "details": None}
        except WorkerTimedOut:
            detail = f"no verdict within request_timeout = {self._seconds:g} s; the worker process was ended"
            return {"verdict": self._failed(detail), "details": None}

    def _failed(self, detail: str) -> dict[str, Any]:
        return self._pool.common.without_picture("error", "SY-001", detail).model_dump(mode="json")

    def _too_large(self, error: FileTooLarge) -> Response:
        size = f"more than {error.received}" if error.announced is None else str(error.announced)
        detail = f"{size} bytes, the limit max_bytes is {self._max_bytes}"
        verdict = self._pool.common.without_picture("rejected", "IO-003", detail).model_dump(mode="json")
        self._record(verdict)
        return _response(verdict, None, error.received, checked=False)

    def _record(self, verdict: dict[str, Any]) -> None:
        self._metrics.count_verdict(verdict)
        if self._log is None:
            return
        if self._unlogged >= _MAX_UNLOGGED:
            self._metrics.log_failures += 1
            return
        self._unlogged += 1
        task = asyncio.get_running_loop().run_in_executor(self._logging, self._log, Verdict.model_validate(verdict))
        task.add_done_callback(self._logged)

    def _logged(self, task: asyncio.Future[None]) -> None:
        self._unlogged -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self._metrics.log_failures += 1
            _LOGGER.error("the event log did not take an event: %s", type(error).__name__)

    def close(self) -> None:
        """Wait until the log has taken what was given to it."""
        self._logging.shutdown()


def _wants_details(request: Request) -> bool:
    wanted = request.query_params.get("detail", "summary")
    if wanted not in ("summary", "full"):
        raise ServingError(400, "bad_query", "detail is neither summary nor full", "Leave it out, or send detail=full.")
    return wanted == "full"


def _response(verdict: dict[str, Any], sha256: str | None, n_bytes: int, *, checked: bool) -> Response:
    received = {"received_sha256": sha256, "received_bytes": n_bytes, "digest_checked": checked}
    body = json.dumps({**verdict, "heatmap": None, **received})
    status = _STATUS_OF_OUTCOME.get(verdict["outcome"])
    if status is None:
        status = next((_STATUS_OF_CODE[c] for c in verdict["reason_codes"] if c in _STATUS_OF_CODE), _REJECTED)
    headers = {"retry-after": "1"} if status == 503 else None
    return Response(body, status, headers, media_type="application/json")
