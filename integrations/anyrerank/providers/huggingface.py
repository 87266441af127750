"""Hugging Face: Text Embeddings Inference (TEI), Inference Endpoints that run it, and the serverless router.

With a base URL, the server is TEI (https://huggingface.co/docs/text-embeddings-inference), which serves one model.
Without one, requests go to the router, `https://router.huggingface.co/hf-inference`. Its route for text ranking works
but is not documented.

TEI takes 32 texts per request, or what it was started with as `--max-client-batch-size`. A call with more documents
asks the server once (`GET /info`). Too many or too long texts are status 422 since TEI 1.9, 413 before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse
from anyrerank._core.types import Answer, RerankRequest, Scale, texts_of
from anyrerank.errors import RerankError
from anyrerank.providers._base import Provider, dig, endpoint, int_or_text, json_or_none, ranked, usage

_ROUTER_HOST = "router.huggingface.co"
_ROUTER = f"https://{_ROUTER_HOST}/hf-inference"
_MAX_CACHED = 256
SECONDS_TO_NEXT_TRY = 60.0
_INFO_SECONDS = 5.0
server_limits: dict[str, tuple[int, float]] = {}
"""How many texts each server takes, by the URL of its `/info`, and the monotonic time until which that is cached."""
_TRUNCATE = {"NONE": False, "END": True, False: False, True: True}


class HuggingFace(Provider):
    """Text Embeddings Inference when a base URL is given, else the serverless router, which has no options.

    Scores are within 0..1, or logits with `raw_scores=True`. `truncate` is "END" or True, or "NONE" or False, which
    makes a text that is too long an error. The default here is "END", because TEI's own differs between versions.
    `truncation_direction` is "Right" or "Left".
    """

    prefix = "huggingface"
    title = "Hugging Face"
    key_page = "https://huggingface.co/settings/tokens"
    key_variables = ("HUGGINGFACE_API_KEY", "HF_TOKEN", "HF_API_TOKEN", "HUGGINGFACEHUB_API_TOKEN")
    base_variables = ("HF_API_BASE", "HUGGINGFACE_API_BASE")
    default_base = _ROUTER
    sends_top_n = False
    options = frozenset({"raw_scores", "truncate", "truncation_direction"})
    scale = "unit"
    documents_per_request = 32

    @property
    @override
    def key_required(self) -> bool:
        return self._on_router

    @override
    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        return "logit" if options.get("raw_scores") else self.scale

    @override
    def fetch_max_documents(self, count: int, options: Mapping[str, Any]) -> Flow[int | None]:
        default = self.documents_per_request or count
        if self._on_router:
            return default
        parts = urlsplit(endpoint(self.base, root=""))
        if self.base.endswith("#") or not parts.path.endswith("/rerank"):  # where `/info` is, is not known
            return default
        info = urlunsplit(parts._replace(path=parts.path.removesuffix("rerank") + "info"))
        limit, until = server_limits.get(info, (default, 0.0))
        if count > default and time.monotonic() >= until:
            limit, until = yield from self._fetch_limit(info, default)
            if len(server_limits) >= _MAX_CACHED:
                server_limits.clear()
            server_limits[info] = (limit, until)
        return limit

    def _fetch_limit(self, info: str, default: int) -> Flow[tuple[int, float]]:
        """The limit that the server reports, and the time until which to cache it; `default` if it reports none."""
        next_try = time.monotonic() + SECONDS_TO_NEXT_TRY
        try:
            response: HttpResponse = yield HttpRequest(
                method="GET", url=info, headers=self.headers(), timeout=_INFO_SECONDS
            )
        except RerankError:
            return default, next_try
        limit = dig(json_or_none(response.content), "max_client_batch_size")
        is_valid = response.status == 200 and type(limit) is int and limit > 0
        return (limit, math.inf) if is_valid else (default, next_try)

    @override
    def check_options(self, options: Mapping[str, Any]) -> None:
        truncate = options.get("truncate", "END")
        if not isinstance(truncate, str | bool) or truncate not in _TRUNCATE:
            raise self.bad_request("truncate must be 'NONE' or 'END' (or False or True) for Text Embeddings Inference")
        direction = options.get("truncation_direction", "Right")
        if not isinstance(direction, str) or direction.lower() not in ("left", "right"):
            raise self.bad_request("truncation_direction must be 'Left' or 'Right' for Text Embeddings Inference")

    @override
    def url(self, request: RerankRequest) -> str:
        if self._on_router:
            return (
                self.base
                if "/pipeline/" in self.base
                else f"{_ROUTER}/models/{self.connection.model}/pipeline/text-ranking"
            )
        return endpoint(self.base, root="")

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        if self._on_router:
            if request.options:
                names = ", ".join(sorted(request.options))
                raise self.bad_request(f"{names}: not supported by Hugging Face's router; pass api_base= to call TEI")
            return {"inputs": {"query": request.query, "texts": texts_of(request)}}
        truncate = request.options.get("truncate", "END")
        direction = request.options.get("truncation_direction", "Right")
        return {
            "query": request.query,
            "texts": texts_of(request),
            **request.options,
            "truncate": _TRUNCATE[truncate],
            **({"truncation_direction": direction.capitalize()} if "truncation_direction" in request.options else {}),
        }

    @override
    def read(self, request: RerankRequest, response: HttpResponse) -> Answer:
        answer = super().read(request, response)
        tokens = int_or_text(response.headers.get("x-compute-tokens", ""))
        return replace(answer, meta=usage(total_tokens=tokens, input_tokens=tokens))

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        return Answer(scores=ranked(body, request, rows="", score="score"))

    @override
    def is_too_large(self, status: int, error_class: type[RerankError], message: str) -> bool:
        too_many_tokens = status == 422 and "must have less than" in message
        return too_many_tokens or super().is_too_large(status, error_class, message)

    @property
    def _on_router(self) -> bool:
        return urlsplit(self.base).hostname == _ROUTER_HOST
