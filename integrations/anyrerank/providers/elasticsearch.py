"""Elasticsearch's inference API (https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-inference-rerank).

The vendor's examples show index and score as strings, so strings and numbers are both read.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.providers._base import Provider, UnusableAnswerError, dig, endpoint, int_or_text, ranked

_PATH = "/_inference/rerank"
_FULL_PATH = re.compile(r"/_inference/(?:rerank/)?(?!rerank$)[^/]+$")


class Elasticsearch(Provider):
    """The model is the id of an inference endpoint. Scores are those of the service behind it.

    The key is an encoded API key of the cluster. A user and a password in the base URL work too.
    """

    prefix = "elasticsearch"
    title = "Elasticsearch"
    key_variables = ("ELASTICSEARCH_API_KEY", "ELASTIC_API_KEY")
    base_variables = ("ELASTICSEARCH_API_BASE", "ELASTICSEARCH_URL")
    sends_top_n = False
    options = frozenset({"task_settings"})

    @override
    def authorization(self) -> dict[str, str]:
        return {"authorization": f"ApiKey {self.connection.api_key}"} if self.connection.api_key else {}

    @override
    def url(self, request: RerankRequest) -> str:
        inference_id = quote(self.connection.model, safe="")
        parts = urlsplit(self.base)
        path = parts.path.rstrip("/")
        if path.endswith(_PATH):
            path = f"{path}/{inference_id}"
        elif not _FULL_PATH.search(path):
            return endpoint(self.base, f"{_PATH[1:]}/{inference_id}", root="")
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

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
    """A result in which strings that are numbers have become numbers; `ranked` checks the rest."""
    index, score = dig(row, "index"), dig(row, "relevance_score")
    return {
        "index": int_or_text(index) if isinstance(index, str) else index,
        "relevance_score": _float_or_text(score) if isinstance(score, str) else score,
    }


def _float_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
