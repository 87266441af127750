"""Cloudflare Workers AI (https://developers.cloudflare.com/workers-ai/models/bge-reranker-base).

The documentation does not say whether scores are within 0..1. A failure may have status 200 and `success: false`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.providers._base import (
    Provider,
    Redactor,
    Setting,
    UnusableAnswerError,
    dig,
    endpoint,
    message_in,
    ranked,
)

_FULL_PATH = re.compile(r"/ai/run/.|/workers-ai/@")
_OF_ACCOUNT = re.compile(r"/accounts/[^/]+(?:/ai)?$")


class Cloudflare(Provider):
    """The model is the part after `ai/run/`, for example `@cf/baai/bge-reranker-base`.

    The base URL may end in `/accounts/<id>/ai/run`, or in `/workers-ai` for an AI Gateway. If a model follows, it is
    used unchanged.
    """

    prefix = "cloudflare"
    title = "Cloudflare Workers AI"
    key_page = "https://dash.cloudflare.com/profile/api-tokens"
    key_variables = ("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_TOKEN")
    base_variables = ("CLOUDFLARE_API_BASE",)
    default_base = "https://api.cloudflare.com/client/v4"
    settings = MappingProxyType(
        {"account_id": Setting(about="id of the Cloudflare account", variables=("CLOUDFLARE_ACCOUNT_ID",))}
    )

    @override
    def check(self) -> None:
        super().check()
        _ = self._url

    @override
    def url(self, request: RerankRequest) -> str:
        return self._url

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        return {
            "query": request.query,
            "contexts": [{"text": text} for text in texts_of(request)],
            "top_k": request.top_n or len(request.documents),
        }

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        if dig(body, "success") is False or dig(body, "errors"):
            message = Redactor(request, self.secrets()).message(message_in(body, b""))
            raise UnusableAnswerError(f"the request failed with status 200: {message}")
        return Answer(scores=ranked(body, request, rows="result.response", index="id", score="score"))

    @property
    def _url(self) -> str:
        model = self.connection.model
        parts = urlsplit(self.base)
        path = parts.path.rstrip("/")
        if _FULL_PATH.search(path):
            return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
        if path.endswith(("/ai/run", "/workers-ai")):
            return endpoint(self.base, model, root="")
        if found := _OF_ACCOUNT.search(path):
            return endpoint(self.base, f"{found[0].rpartition('/ai')[0] or found[0]}/ai/run/{model}"[1:], root="")
        account = quote(self.required_setting("account_id"), safe="")
        return endpoint(self.base, f"accounts/{account}/ai/run/{model}", root="/client/v4")
