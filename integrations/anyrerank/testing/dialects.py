"""The answers of reranking servers, in the dialect that a request is in.

The name of the documents in the body tells the dialects apart. Requests to Cohere, Jina, LiteLLM, vLLM and Voyage look
alike; their answers differ in where the rows and the usage are, so this server's answer has them in both places.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from anyrerank.testing.scores import Score

Body: TypeAlias = Mapping[str, Any]
Ranked: TypeAlias = list[tuple[int, float]]

_NOT_A_RERANK_REQUEST = "the stub server answers POST requests with a query and documents, texts or passages"


def answer_to(method: str, content: bytes, score: Score) -> tuple[int, Any]:
    """Status and JSON for a request."""
    body = _object(content) if method == "POST" else {}
    for name, dialect in _DIALECTS.items():
        if isinstance(documents := body.get(name), list) and "query" in body:
            return 200, dialect(body, _ranked(_text(body["query"]), documents, score, body))
    return 404, {"message": _NOT_A_RERANK_REQUEST}


def _object(content: bytes) -> Body:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _ranked(query: str, documents: list[Any], score: Score, body: Body) -> Ranked:
    """Index and score, best first, as many as were asked for."""
    scored = [(index, float(score(query, _text(document)))) for index, document in enumerate(documents)]
    scored.sort(key=lambda pair: -pair[1])
    return scored[: body.get("top_n") or body.get("top_k")]


def _text(value: Any) -> str:
    """A string, or the `text` of an object; JSON for anything else."""
    text = value.get("text") if isinstance(value, dict) else value
    return text if isinstance(text, str) else json.dumps(value, sort_keys=True)


def _cohere(body: Body, ranked: Ranked) -> Any:
    rows = [{"index": index, "relevance_score": score} for index, score in ranked]
    tokens = len(json.dumps([body["query"], body["documents"]]).split())
    return {
        "id": "stub",
        "object": "list",
        "model": body.get("model"),
        "results": rows,
        "data": rows,
        "meta": {"billed_units": {"search_units": 1}},
        "usage": {"total_tokens": tokens},
    }


def _tei(_: Body, ranked: Ranked) -> Any:
    return [{"index": index, "score": score} for index, score in ranked]


def _nim(_: Body, ranked: Ranked) -> Any:
    return {"rankings": [{"index": index, "logit": score} for index, score in ranked]}


_DIALECTS: Mapping[str, Callable[[Body, Ranked], Any]] = {"documents": _cohere, "texts": _tei, "passages": _nim}
