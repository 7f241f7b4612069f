"""The application: routes, and what lives as long as the site."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ecdd.evidence.claims import never_tested_on
from ecdd.serving import metrics, openapi
from ecdd.serving.headers import Guard
from ecdd.serving.judging_process import Judge
from ecdd.serving.prediction import EventLog, Predictions
from ecdd.serving.problems import MEDIA_TYPE, ServingError
from ecdd.serving.review import Reviews
from ecdd.serving.static_files import DEVICE_POLICY, INDEX, StaticFile, device_files, load_files
from ecdd.serving.workers import WorkerDied, WorkerPool, WorkerTimedOut

if TYPE_CHECKING:
    from ecdd.dataset_governance.manual_review import ReviewStore

_LOG = logging.getLogger("ecdd.serving")


class Site:
    """Everything behind the routes.

    Parameters
    ----------
    judge : Judge
        Bundle and contract.
    workers : int, optional
        Processes; the contract's ``serving.max_concurrency`` where not given.
    log : callable, optional
        Takes every verdict.
    review : ReviewStore, optional
        Takes the pictures that a person agreed to have reviewed; without it none can be stored.
    device : mapping of str to bytes, optional
        Files of a page of ``ecdd web build``, which then is offered below ``/device/``.
    """

    def __init__(
        self,
        judge: Judge,
        workers: int | None = None,
        log: EventLog | None = None,
        review: ReviewStore | None = None,
        device: Mapping[str, bytes] | None = None,
    ) -> None:
        contract = judge.in_force
        self.metrics = metrics.Metrics()
        self.pool = WorkerPool(judge, workers or contract.policy.serving.max_concurrency)
        self.predictions = Predictions(contract, self.pool, self.metrics, log)
        days = contract.policy.dataset_governance.review_retention_days
        self._reviews = None if review is None else Reviews(self.predictions, review, days)
        self._files = load_files()
        self._contract = _json(_contract_content(judge))
        self._device = None if device is None else device_files(device)
        offered = {"review": review is not None, "device": device is not None}
        self._bundle = _json(_bundle_content(judge) | offered)
        self._openapi = _json(openapi.document(**offered))

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Start the workers, and dismiss them at the end."""
        try:
            await self.pool.start()
        except (WorkerDied, WorkerTimedOut, OSError) as error:
            _LOG.error("the site cannot start, its worker processes do not: %s", str(error) or repr(error))
            raise
        try:
            yield
        finally:
            await self.pool.close()
            self.predictions.close()

    def routes(self) -> list[Route]:
        """List the routes; `openapi.document` describes the same ones."""
        review = [] if self._reviews is None else [Route("/v1/review", self._reviews.review, methods=["POST"])]
        device = [] if self._device is None else [Route("/device/{name:path}", self._on_device, methods=["GET"])]
        return [
            *review,
            *device,
            Route("/", self._index, methods=["GET"]),
            Route("/static/{name}", self._static, methods=["GET"]),
            Route("/v1/predict", self.predictions.predict, methods=["POST"]),
            Route("/v1/contract", _fixed(self._contract), methods=["GET"]),
            Route("/v1/bundle", _fixed(self._bundle), methods=["GET"]),
            Route("/healthz", _fixed(_json({"status": "ok"})), methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/openapi.json", _fixed(self._openapi), methods=["GET"]),
        ]

    async def _index(self, request: Request) -> Response:
        return _file(request, self._files.get(INDEX))

    async def _static(self, request: Request) -> Response:
        return _file(request, self._files.get(request.path_params["name"]))

    async def _on_device(self, request: Request) -> Response:
        answer = _file(request, (self._device or {}).get(request.path_params["name"]))
        answer.headers["content-security-policy"] = DEVICE_POLICY
        return answer

    async def _ready(self, _request: Request) -> Response:
        ready, wanted = self.pool.ready, self.pool.count
        status = 200 if ready else 503
        body = _json({"status": "ready" if ready else "starting", "workers": ready, "of": wanted})
        headers = None if ready else {"retry-after": "1"}
        return Response(body, status, headers, media_type="application/json")

    async def _metrics(self, _request: Request) -> Response:
        gauges = {
            "ecdd_queue_waiting": ("Requests that wait for a worker.", self.predictions.room.waiting),
            "ecdd_workers_busy": ("Worker processes with a picture.", self.pool.busy),
            "ecdd_workers_ready": ("Warm worker processes.", self.pool.ready),
            "ecdd_workers_replaced_total": ("Worker processes that died or hung.", self.pool.replaced),
        }
        return Response(self.metrics.text(gauges), headers={"content-type": metrics.CONTENT_TYPE})


def create_app(
    judge: Judge,
    workers: int | None = None,
    log: EventLog | None = None,
    review: ReviewStore | None = None,
    allowed_hosts: Iterable[str] = (),
    device: Mapping[str, bytes] | None = None,
) -> ASGIApp:
    """Make the application.

    Parameters
    ----------
    judge : Judge
        Bundle and contract, both checked.
    workers : int, optional
        Worker processes; ``serving.max_concurrency`` of the contract where not given.
    log : callable, optional
        Called with the verdict on every picture, off the event loop, in order.
    review : ReviewStore, optional
        Where pictures go that a person agreed to have reviewed.
    allowed_hosts : iterable of str
        Host names beside the loopback ones.
    device : mapping of str to bytes, optional
        Files of a page of ``ecdd web build``.

    Returns
    -------
    ASGI application
        With a lifespan that starts and ends the workers.
    """
    site = Site(judge, workers, log, review, device)
    router = Router(site.routes(), redirect_slashes=False, lifespan=site.lifespan)
    handlers: dict[Any, Any] = {ServingError: _on_refusal, HTTPException: _on_http_error}

    def count(status: int) -> None:
        site.metrics.responses[f'status="{status}"'] += 1

    return Guard(ExceptionMiddleware(router, handlers), allowed_hosts, count)


async def _on_refusal(_request: Request, error: ServingError) -> Response:
    return Response(error.body(), error.status, error.headers, media_type=MEDIA_TYPE)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    code, what = {
        404: ("not_found", "Look the path up in /openapi.json."),
        405: ("method_not_allowed", "Look the method up in /openapi.json."),
    }.get(error.status_code, ("bad_request", "Look the request up in /openapi.json."))
    problem = ServingError(error.status_code, code, "this site has no such path or method", what, error.headers or {})
    return await _on_refusal(request, problem)


def _fixed(body: bytes) -> Any:  # noqa: ANN401 - an endpoint
    async def endpoint(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    return endpoint


def _file(request: Request, file: StaticFile | None) -> Response:
    if file is None:
        raise HTTPException(404)
    headers = {"etag": file.etag, "cache-control": "no-cache", "content-type": file.media_type}
    if file.etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers)


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _contract_content(judge: Judge) -> dict[str, Any]:
    contract = judge.in_force
    standing = contract.provenance
    return {
        "digest": contract.digest,
        "preprocessing_digest": contract.preprocessing_digest,
        "values": {
            key: {"value": value, "status": standing[key].status, "set_by": standing[key].set_by}
            for key, value in contract.values.items()
        },
    }


def _bundle_content(judge: Judge) -> dict[str, Any]:
    manifest, point = judge.bundle.manifest, judge.in_force.policy.operating_point
    return {
        "name": manifest.name,
        "version": manifest.version,
        "payload_digest": judge.bundle.payload_digest,
        "contract_digest": judge.bundle.contract.digest,
        "preprocessing_digest": manifest.preprocessing_digest,
        "model": manifest.model.model_dump(mode="json"),
        "thresholds": {"t_real": point.t_real, "t_fake": point.t_fake},
        "never_tested_on": list(never_tested_on(judge.bundle.path)),
    }
