"""The OpenAPI document: what `app.Site.routes` answers. A test holds the two together, route by route."""

from __future__ import annotations

from typing import Any, Final

from ecdd import __version__
from ecdd.serving.problems import MEDIA_TYPE
from ecdd.serving.review import STATEMENT
from ecdd.verdict import Verdict

_REF: Final = "#/components/schemas/"
_BINARY: Final[dict[str, Any]] = {"type": "string", "contentMediaType": "application/octet-stream"}
_RETRY: Final = {
    "Retry-After": {"description": "Seconds until the next attempt.", "schema": {"type": "integer", "minimum": 1}}
}
_SHA256: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_STATIC_TYPES: Final = ("text/javascript", "text/css", "text/html", "image/svg+xml", "image/png")

Node = dict[str, Any]


def document(*, review: bool = False, device: bool = False) -> Node:
    """Describe the API.

    Parameters
    ----------
    review : bool
        Whether the site stores pictures for manual review.
    device : bool
        Whether it offers the page that judges in the browser.

    Returns
    -------
    dict
        OpenAPI 3.1.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ECDD local site",
            "version": __version__,
            "description": "Judges whether the faces of a picture are real or fake. Nothing is kept without consent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths()
        | ({"/v1/review": {"post": _review()}} if review else {})
        | ({"/device/{name}": {"get": _device()}} if device else {}),
        "components": {"schemas": _schemas()},
    }


def _paths() -> Node:
    return {
        "/": {"get": _get("page", "The page.", {"text/html": {"schema": {"type": "string"}}}, missing=True)},
        "/static/{name}": {
            "get": {
                **_get(
                    "pageFile",
                    "A file of the page.",
                    {kind: {"schema": {"type": "string"}} for kind in _STATIC_TYPES},
                    missing=True,
                ),
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                ],
            }
        },
        "/v1/predict": {"post": _predict()},
        "/v1/contract": {"get": _get("contract", "Values and statuses of the contract in force.", _json("Contract"))},
        "/v1/bundle": {"get": _get("bundle", "Name, version, digests and thresholds.", _json("Bundle"))},
        "/healthz": {"get": _get("health", "The process lives.", _json("Health"))},
        "/readyz": {"get": _ready()},
        "/metrics": {
            "get": _get("metrics", "Prometheus text 0.0.4.", {"text/plain": {"schema": {"type": "string"}}}),
        },
        "/openapi.json": {
            "get": _get("openapi", "This document.", {"application/json": {"schema": {"type": "object"}}})
        },
    }


def _get(name: str, summary: str, content: Node, *, missing: bool = False) -> Node:
    responses: Node = {"200": {"description": summary, "content": content}}
    if missing:
        responses["304"] = {"description": "The client has this version (If-None-Match)."}
        responses["404"] = _problem("No such file.")
    return {"operationId": name, "summary": summary, "responses": responses}


def _ready() -> Node:
    responses = {
        "200": {"description": "At least one worker is warm.", "content": _json("Readiness")},
        "503": {"description": "No worker is warm.", "content": _json("Readiness"), "headers": _RETRY},
    }
    return {"operationId": "ready", "summary": "Workers are warm.", "responses": responses}


def _predict() -> Node:
    verdict = _json("Prediction")
    both = {**verdict, **_problem("")["content"]}
    busy = "Too busy (problem), or the detector failed on this picture (verdict with outcome error)."
    return {
        "operationId": "predict",
        "summary": "Judge one picture.",
        "description": "The answer is the JSON of `ecdd predict --json` and what is known of the transport.",
        "parameters": _predict_parameters(),
        "requestBody": _predict_body(),
        "responses": {
            "200": {"description": "Judged, or abstained with reason codes.", "content": verdict},
            "400": _problem("The request is malformed: query, digest or form."),
            "403": _problem("A page of another site sent it."),
            "408": _problem("The picture did not arrive in time."),
            "409": _problem("What arrived has another SHA-256 than the client computed."),
            "413": {"description": "Too many bytes or pixels (verdict with outcome rejected).", "content": verdict},
            "415": {"description": "Format, disguise (verdict), or type of the body (problem).", "content": both},
            "421": _problem("The Host header is not one of this site."),
            "422": {"description": "Another reason to reject the file (verdict).", "content": verdict},
            "429": {**_problem("Too many requests of this client."), "headers": _RETRY},
            "503": {"description": busy, "content": both, "headers": _RETRY},
        },
    }


def _device() -> Node:
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    content = {"text/html": {"schema": {"type": "string"}}, "*/*": {"schema": {"type": "string"}}}
    return {
        **_get("device", "A file of the page that judges in the browser.", content, missing=True),
        "parameters": [name],
    }


def _review() -> Node:
    consent = {
        "name": "consent",
        "in": "query",
        "required": True,
        "description": "The person was asked and agreed that the picture is stored, encrypted.",
        "schema": {"const": "given"},
    }
    statement = {
        "name": "statement",
        "in": "query",
        "description": "Which text the person agreed to: its name and version.",
        "schema": {"const": STATEMENT, "default": STATEMENT},
    }
    return {
        "operationId": "review",
        "summary": "Store one picture for manual review.",
        "parameters": [consent, statement, *_upload_parameters()],
        "requestBody": _predict_body(),
        "responses": {
            "201": {"description": "Stored; the item id is the receipt for opting out.", "content": _json("Stored")},
            "400": _problem("The request is malformed, or consent is missing."),
            "403": _problem("A page of another site sent it."),
            "408": _problem("The picture did not arrive in time."),
            "409": _problem("Another SHA-256, or a picture that may not be stored (known, or the quota is full)."),
            "413": _problem("Too many bytes."),
            "415": _problem("Type of the body."),
            "421": _problem("The Host header is not one of this site."),
            "422": _problem("A file that was rejected cannot be reviewed."),
            "429": {**_problem("Too many requests of this client."), "headers": _RETRY},
            "503": {**_problem("Too busy, or the store cannot be written."), "headers": _RETRY},
        },
    }


def _predict_parameters() -> list[Node]:
    detail = {
        "name": "detail",
        "in": "query",
        "description": "full adds the stages S0 to S8, and patch map and crop of every face.",
        "schema": {"type": "string", "enum": ["summary", "full"], "default": "summary"},
    }
    return [detail, *_upload_parameters()]


def _upload_parameters() -> list[Node]:
    return [
        {
            "name": "name_suffix",
            "in": "query",
            "description": "Extension of the file's name, to notice disguised files; a form has it in its file name.",
            "schema": {"type": "string", "pattern": r"^\.[A-Za-z0-9]{1,8}$"},
        },
        {
            "name": "X-Content-SHA256",
            "in": "header",
            "description": "SHA-256 of the file, computed by the client.",
            "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
        },
    ]


def _predict_body() -> Node:
    form = {"type": "object", "properties": {"file": _BINARY}, "required": ["file"], "additionalProperties": False}
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    content: Node = {kind: {"schema": {}} for kind in kinds}
    content["multipart/form-data"] = {"schema": form}
    return {"required": True, "description": "The file as it is, or a form with one part.", "content": content}


def _problem(description: str) -> Node:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}}


def _json(schema: str) -> Node:
    return {"application/json": {"schema": {"$ref": f"{_REF}{schema}"}}}


def _object(**properties: Node) -> Node:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _schemas() -> Node:
    text, count, number = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "number"}
    knob = _object(value={}, status={"enum": ["proposed", "frozen"]}, set_by=text)
    return {
        **_verdict_schemas(),
        "Problem": _object(type=text, title=text, status={"type": "integer"}, code=text, detail=text, what_to_do=text),
        "Contract": _object(
            digest=_SHA256, preprocessing_digest=_SHA256, values={"type": "object", "additionalProperties": knob}
        ),
        "Bundle": _object(
            name=text,
            version=text,
            payload_digest=_SHA256,
            contract_digest=_SHA256,
            preprocessing_digest=_SHA256,
            model={"type": "object"},
            thresholds=_object(t_real=number, t_fake=number),
            never_tested_on={"type": "array", "items": text, "minItems": 1},
            review={"type": "boolean"},
            device={"type": "boolean"},
        ),
        "Stored": _object(item={"type": "string"}, retention_days={"type": "integer", "minimum": 1}),
        "Health": _object(status={"const": "ok"}),
        "Readiness": _object(status={"enum": ["ready", "starting"]}, workers=count, of=count),
    }


def _verdict_schemas() -> Node:
    """Schemas of a verdict, from its own class, with what the site adds."""
    whole = Verdict.model_json_schema(mode="serialization", ref_template=f"{_REF}{{model}}")
    parts: Node = whole.pop("$defs")
    added: Node = {
        "heatmap": {"type": "null", "description": "Only the command line draws one."},
        "received_sha256": {"anyOf": [_SHA256, {"type": "null"}], "description": "Null where not all was read."},
        "received_bytes": {"type": "integer", "minimum": 0},
        "digest_checked": {"type": "boolean", "description": "Whether X-Content-SHA256 was sent."},
    }
    stages = {"type": "array", "items": {"type": "object"}, "description": "S0 to S8; only with detail=full."}
    prediction = {**whole, "title": "Prediction", "properties": {**whole["properties"], **added, "stages": stages}}
    prediction["required"] = [*whole["required"], *added]
    logits = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    face = parts["FaceVerdict"]
    face["properties"] |= {
        "patch_map": {"anyOf": [logits, {"type": "null"}], "description": "Logits; only with detail=full."},
        "crop_png": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"},
    }
    return {**parts, "Prediction": prediction}
