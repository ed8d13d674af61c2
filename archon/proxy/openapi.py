"""The OpenAPI document: what FastAPI knows, and the POST routes that stand beside it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from archon.proxy.schema import ChatBody, CompletionBody, ResponsesBody

_REF = "#/components/schemas/{model}"
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_ROUTES: dict[str, tuple[type[BaseModel], str]] = {
    "/v1/chat/completions": (ChatBody, "A chat completion by an architecture or a plain model"),
    "/v1/completions": (CompletionBody, "A text completion"),
    "/v1/responses": (ResponsesBody, "A response; nothing is stored"),
}


def install(app: FastAPI) -> None:
    """Makes the app's document hold the POST routes as well."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _whole(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI documents this way of extending it


def _whole(app: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = _ERROR
    for path, (body, summary) in _ROUTES.items():
        schema = body.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[body.__name__] = schema
        found["paths"][path] = {"post": _operation(body.__name__, summary)}
    return found


def _operation(body: str, summary: str) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    answers: dict[str, Any] = {
        "200": {
            "description": "The answer; a stream of events where `stream` is true",
            "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
        }
    }
    answers.update({status: {"description": said, "content": error} for status, said in _STATUSES.items()})
    return {
        "tags": ["completions"],
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=body)}}},
        },
        "responses": answers,
    }


_STATUSES = {
    "400": "The request cannot be honoured; nothing was called",
    "401": "No known key, or an upstream refused its key",
    "403": "The key may not do this",
    "404": "There is no such model",
    "409": "The Idempotency-Key was used with another body",
    "413": "The body is too large",
    "415": "The body is compressed",
    "429": "The key's budget or rate has no room, or all upstreams said so",
    "502": "An upstream failed, or its answer is not usable",
    "503": "An upstream or the ledger is not available",
    "504": "No answer within the deadline",
}
