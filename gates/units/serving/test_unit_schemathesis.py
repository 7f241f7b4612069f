"""Requests that Schemathesis makes from the OpenAPI document, valid and not: no server error, answers as described."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ecdd.serving import openapi
from gates.support.site_process import _CLIENTS, SiteProcess

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


_CASES = sorted((p, m, GenerationMode.POSITIVE) for p, node in openapi.document()["paths"].items() for m in node)
_CASES.append(("/v1/predict", "post", GenerationMode.NEGATIVE))  # the others take nothing that could be wrong


class FromManyClients(HTTPAdapter):
    """Every session is a client of its own: the shipped limit of one client stays as it is."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(next(_CLIENTS), 0), **kwargs)


@pytest.mark.parametrize(("path", "method", "mode"), _CASES)
def test_no_server_error_and_answers_as_described(
    site: SiteProcess, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schemathesis.openapi.from_dict(openapi.document())[path][method]
    seen: list[int] = []

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(mode))
    def run(case: Any) -> None:
        with requests.Session() as session:
            session.mount("http://", FromManyClients())
            answer = case.call_and_validate(f"http://127.0.0.1:{site.port}", session, checks=CHECKS)
        seen.append(answer.status_code)

    run()
    assert seen
