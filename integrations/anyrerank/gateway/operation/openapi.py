"""The description of the service for tools: OpenAPI 3.1, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import anyrerank
from anyrerank.gateway.body import encoded
from anyrerank.gateway.dialects import CohereStyle, Dialect, dialects
from anyrerank.gateway.errors import STATUSES, phrase
from anyrerank.gateway.keys import described_routes
from anyrerank.gateway.operation.health import LIVENESS, READINESS

_NOT_OF_RERANK = {405, 499}
_OF_KEYS = (400, 401, 403, 404, 413, 503)
_TEXT = {"type": "string", "pattern": r"\S"}
_FLAG = {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false", 0, 1]}, {"type": "null"}]}
_COUNT = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+$"}, {"type": "null"}]}
_NAME = {"type": ["string", "null"]}
_OBJECT = {"type": "object"}

_DOCUMENT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string"}},
    "description": "It may have other fields in place of `text` if `rank_fields` names them.",
}

_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["query", "documents"],
    "properties": {
        "model": {**_NAME, "description": "One of /v1/models; without it, the default model."},
        "query": {"anyOf": [_TEXT, {"type": "object", "required": ["text"], "properties": {"text": _TEXT}}]},
        "documents": {"type": "array", "items": {"anyOf": [{"type": "string"}, _DOCUMENT]}},
        "return_documents": _FLAG,
        "rank_fields": {"type": ["array", "null"], "items": {"type": "string"}},
        "max_tokens_per_doc": _COUNT,
        "max_chunks_per_doc": _COUNT,
        "instruction": _NAME,
        "user": _NAME,
    },
}
_ANSWER = {
    "type": "object",
    "required": ["id", "results"],
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "results": {
            "type": "array",
            "description": "Best first.",
            "items": {
                "type": "object",
                "required": ["index", "relevance_score"],
                "properties": {"index": {"type": "integer", "minimum": 0}, "relevance_score": {"type": "number"}},
            },
        },
        "meta": _OBJECT,
        "usage": _OBJECT,
    },
}
_ERROR = {
    "type": "object",
    "required": ["error", "message", "detail"],
    "properties": {
        "error": {"type": "object", "required": ["message", "type", "code"]},
        "message": {"type": "string"},
        "detail": {"type": "string"},
    },
}
_MODELS = {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": _OBJECT}}}
_READY = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["healthy", "degraded", "unhealthy"]}},
}
_HEALTH = {"type": "object", "required": ["healthy_count", "unhealthy_count"]}

_GETS: Mapping[str, tuple[str, Any, Iterable[int]]] = {
    **dict.fromkeys(LIVENESS, ("The gateway lives.", {"type": "string"}, ())),
    **dict.fromkeys(READINESS, ("The gateway may get requests.", _READY, (503,))),
    "/health": ("How the deployments are doing.", _HEALTH, (401, 403)),
    **dict.fromkeys(("/v1/models", "/models"), ("The models of the key.", _MODELS, (401, 403))),
    **dict.fromkeys(("/v1/model/info", "/model/info"), ("Their deployments.", _MODELS, (401, 403))),
    "/model_group/info": ("The models and their prices.", _MODELS, (401, 403)),
}


_METRICS = {
    "summary": "Numbers for Prometheus; open to this machine.",
    "security": [{}, {"key": []}],
    "responses": {
        "200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **{status: {"description": "It needs the master key."} for status in ("401", "403")},
    },
}
_RELOADED = {
    "type": "object",
    "required": ["status", "models", "needs_restart", "warnings"],
    "properties": {
        "status": {"const": "reloaded"},
        "models": {"type": "array", "items": {"type": "string"}},
        "needs_restart": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Settings that have changed since the start, and that a reload does not change.",
        },
        "warnings": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Deployments that cannot be called, and prices that are missing.",
        },
    },
}


async def openapi(_: Request) -> Response:
    """The description."""
    return Response(_encoded(), media_type="application/json")


@cache
def _encoded() -> bytes:
    return encoded(description())


def description() -> dict[str, Any]:
    """The description: the paths of all dialects, those about the gateway and its models, and those about keys."""
    rerank = {path: {"post": _rerank(dialect, path)} for dialect in dialects() for path in dialect.paths}
    info_paths = {path: _model_info(dialect, path) for dialect in dialects() for path in dialect.info_paths}
    gets = {path: {"get": _get(*about)} for path, about in _GETS.items()}
    keys = described_routes(_errors(_OF_KEYS, _ref("Error")))
    return {
        "openapi": "3.1.0",
        "info": {"title": "anyrerank", "version": anyrerank.__version__},
        "paths": {**rerank, **info_paths, **gets, "/metrics": {"get": _METRICS}, "/config/reload": _reload(), **keys},
        "components": {
            "schemas": {"RerankAnswer": _ANSWER, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _rerank(dialect: Dialect, path: str) -> dict[str, Any]:
    kind = type(dialect)
    statuses = (set(STATUSES.values()) | set(dialect.statuses.values())) - _NOT_OF_RERANK
    request = _request(dialect.top_n_name) if isinstance(dialect, CohereStyle) and kind.read is CohereStyle.read else {}
    # On a shared path, the answer is in the dialect of the request.
    answer = "RerankAnswer" if not dialect.shared and kind.answer is CohereStyle.answer else ""
    error = "Error" if not dialect.shared and kind.error is CohereStyle.error else ""
    return {
        "summary": f"Rerank, in the dialect {dialect.name}.",
        "tags": [dialect.name],
        "parameters": _parameters(path),
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {"200": _response(200, _ref(answer)), **_errors(statuses, _ref(error))},
    }


def _request(top_n_name: str) -> dict[str, Any]:
    """The schema of a request, with the name that a dialect has for the number of results."""
    return {**_REQUEST, "properties": {**_REQUEST["properties"], top_n_name: _COUNT}}


def _model_info(dialect: Dialect, path: str) -> dict[str, Any]:
    error = _ref("Error" if type(dialect).error is CohereStyle.error else "")
    return {
        "get": {
            "summary": f"Tell about a model, in the dialect {dialect.name}.",
            "tags": [dialect.name],
            "parameters": _parameters(path),
            "responses": {"200": _response(200, {}), **_errors((400, 401, 403, 404, 503), error)},
        }
    }


def _reload() -> dict[str, Any]:
    answers = {"200": _response(200, _RELOADED), **_errors((400, 401, 403), _ref("Error"))}
    return {"post": {"summary": "Read the configuration again.", "responses": answers}}


def _get(summary: str, schema: Any, statuses: Iterable[int]) -> dict[str, Any]:
    security: dict[str, Any] = {}
    if 401 not in statuses:
        security = {"security": []}
    elif schema is _HEALTH:  # says less without a key
        security = {"security": [{}, {"key": []}]}
    return {
        "summary": summary,
        **security,
        "responses": {
            "200": _response(200, schema),
            **_errors(statuses, _READY if 503 in statuses else _ref("Error")),
        },
    }


def _errors(statuses: Iterable[int], schema: Any) -> dict[str, Any]:
    return {str(status): _response(status, schema) for status in sorted(statuses)}


def _response(status: int, schema: Any) -> dict[str, Any]:
    return {"description": phrase(status), "content": _json(schema)}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, Any]:
    """A schema by its name; anything for a dialect whose vendor describes it."""
    return {"$ref": f"#/components/schemas/{name}"} if name else {}


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]
