"""Elasticsearch's inference API (https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-inference-rerank).

The model is the id of an inference endpoint; scores are those of the service behind it. Vendor's examples print index
and score as strings, so both forms are read.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from typing_extensions import override

from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.providers._base import Provider, UnusableAnswerError, dig, endpoint, ranked, whole_number

_PATH = "/_inference/rerank"


class Elasticsearch(Provider):
    """The key is an encoded API key of the cluster; a login in the base URL works too."""

    prefix = "elasticsearch"
    title = "Elasticsearch"
    key_variables = ("ELASTICSEARCH_API_KEY", "ELASTIC_API_KEY")
    base_variables = ("ELASTICSEARCH_API_BASE", "ELASTICSEARCH_URL")
    options = frozenset({"task_settings"})

    @override
    def authorization(self) -> dict[str, str]:
        return {"authorization": f"ApiKey {self.connection.api_key}"} if self.connection.api_key else {}

    @override
    def url(self, request: RerankRequest) -> str:
        named = quote(self.connection.model, safe="")
        has_path = urlsplit(self.base).path.rstrip("/").endswith(_PATH)
        return endpoint(self.base, named if has_path else f"{_PATH[1:]}/{named}", root="")

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        return {"query": request.query, "input": texts_of(request), **request.options}

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        rows = dig(body, "rerank")
        if not isinstance(rows, list):
            raise UnusableAnswerError("the answer has no list 'rerank'")
        return Answer(scores=ranked([_numbers(row) for row in rows], request, rows="", score="relevance_score"))


def _numbers(row: Any) -> Any:
    """A row with its strings as the numbers that they spell; what spells none is left for the check."""
    index, score = dig(row, "index"), dig(row, "relevance_score")
    return {
        "index": whole_number(index) if isinstance(index, str) else index,
        "relevance_score": _float(score) if isinstance(score, str) else score,
    }


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
