"""The OpenAPI document and the routes are the same list, and its schemas hold for real answers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from starlette.routing import Route

from ecdd.bundle.loading import Bundle
from ecdd.pipeline.reason_codes import ReasonCode
from ecdd.serving import openapi
from ecdd.serving.app import Site
from ecdd.serving.judging_process import Judge
from gates.support.site_process import FORM, SiteProcess, form


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def test_every_route_is_described_and_every_path_routed(document: dict[str, Any], bundle: Bundle) -> None:
    routes: list[Route] = Site(Judge(bundle)).routes()
    routed = {(route.path, method.lower()) for route in routes for method in route.methods or () if method != "HEAD"}
    described = {
        (path, method) for path, node in document["paths"].items() for method in node if method != "parameters"
    }
    assert routed == described
    names = [node["operationId"] for paths in document["paths"].values() for node in paths.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    used = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert used == set(document["components"]["schemas"]) - (set(document["components"]["schemas"]) - used)
    assert used <= set(document["components"]["schemas"])
    assert "$defs" not in text
    assert len(used) >= 8


def resolve(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def test_served_document_is_this_one_and_names_what_answers_have(
    site: SiteProcess, document: dict[str, Any], portrait: bytes
) -> None:
    assert site.get("/openapi.json").json == json.loads(json.dumps(document))
    operation = document["paths"]["/v1/predict"]["post"]
    for body, query, headers in (
        (portrait, "", {}),
        (portrait, "?detail=full", {}),
        (b"nothing", "", {}),
        (b"x", "?name_suffix=.jpg", {}),
        (b"x", "?detail=all", {}),
        (portrait, "", {"X-Content-SHA256": "0" * 64}),
        (form(portrait), "", FORM),
        (portrait, "", {"Origin": "http://evil.example"}),
        (portrait, "", {"Host": "evil.example"}),
    ):
        answer = site.predict(body, query, headers)
        described = operation["responses"][str(answer.status)]["content"]
        schema = resolve(described[answer.headers["content-type"]]["schema"], document)
        assert set(schema["required"]) <= set(answer.json) <= set(schema["properties"])
        for face in answer.json.get("faces", ()):
            assert set(face) <= set(document["components"]["schemas"]["FaceVerdict"]["properties"])


@pytest.mark.parametrize("path", ["/v1/contract", "/v1/bundle", "/healthz", "/readyz"])
def test_fixed_answers_have_the_described_members(site: SiteProcess, document: dict[str, Any], path: str) -> None:
    answer = site.get(path)
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer.status == 200
    assert set(answer.json) == set(resolve(content["schema"], document)["required"])


def test_statuses_of_codes_are_those_of_real_codes() -> None:
    from ecdd.serving.prediction import _STATUS_OF_CODE

    assert set(_STATUS_OF_CODE) <= {str(code) for code in ReasonCode}
