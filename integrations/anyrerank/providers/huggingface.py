"""Hugging Face: Text Embeddings Inference, Inference Endpoints that run it, and the serverless router.

With a base URL it is TEI (https://huggingface.co/docs/text-embeddings-inference), whose model is the server's own.
Without one it is the router, `https://router.huggingface.co/hf-inference`, whose route for text ranking works but is
not documented.

TEI takes 32 texts a request unless it was started with another `--max-client-batch-size`; for a call with more, the
server is asked once (`GET /info`). Too many or too long texts are 422 since TEI 1.9, 413 before.
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
from anyrerank.providers._base import Provider, dig, endpoint, json_or_none, ranked, usage, whole_number

_ROUTER_HOST = "router.huggingface.co"
_ROUTER = f"https://{_ROUTER_HOST}/hf-inference"
_KEPT = 256
_SECONDS_UNTIL_ASKED_AGAIN = 60.0
_learnt: dict[str, tuple[int, float]] = {}
"""What each server takes, by the address of its `/info`, and the time of the monotonic clock until which it holds."""
_TRUNCATE = {"NONE": False, "END": True, False: False, True: True}


class HuggingFace(Provider):
    """Scores are within 0..1, or logits with `raw_scores=True`.

    `truncate` is "END" or True (the default here, since TEI's own differs between versions), or "NONE" or False, which
    makes a text that is too long an error; `truncation_direction` is "Right" or "Left". The router has no options.
    """

    prefix = "huggingface"
    title = "Hugging Face"
    key_variables = ("HUGGINGFACE_API_KEY", "HF_TOKEN")
    base_variables = ("HF_API_BASE", "HUGGINGFACE_API_BASE")
    default_base = _ROUTER
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
    def learnt_max_documents(self, count: int, options: Mapping[str, Any]) -> Flow[int | None]:
        usual = self.documents_per_request or count
        if self._on_router:
            return usual
        parts = urlsplit(endpoint(self.base, root=""))
        info = urlunsplit(parts._replace(path=parts.path.removesuffix("rerank") + "info"))
        most, until = _learnt.get(info, (usual, 0.0))
        if count > usual and time.monotonic() >= until:
            most, until = yield from self._asked(info, usual)
            if len(_learnt) >= _KEPT:
                _learnt.clear()
            _learnt[info] = (most, until)
        return most

    def _asked(self, info: str, usual: int) -> Flow[tuple[int, float]]:
        """What the server says that it takes, and until when to believe it; one that did not say is asked again."""
        again = time.monotonic() + _SECONDS_UNTIL_ASKED_AGAIN
        try:
            response: HttpResponse = yield HttpRequest(method="GET", url=info, headers=self.headers())
        except RerankError:
            return usual, again
        said = dig(json_or_none(response.content), "max_client_batch_size")
        return (said, math.inf) if response.status == 200 and type(said) is int and said > 0 else (usual, again)

    @override
    def url(self, request: RerankRequest) -> str:
        if self._on_router:
            return f"{_ROUTER}/models/{self.connection.model}/pipeline/text-ranking"
        return endpoint(self.base, root="")

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        if self._on_router:
            if request.options:
                raise self.refuse(f"{', '.join(sorted(request.options))}: not at Hugging Face's router; set api_base")
            return {"inputs": {"query": request.query, "texts": texts_of(request)}}
        truncate = request.options.get("truncate", "END")
        if not isinstance(truncate, str | bool) or truncate not in _TRUNCATE:
            raise self.refuse("truncate is 'NONE' or 'END' (or False or True) at Text Embeddings Inference")
        direction = request.options.get("truncation_direction", "Right")
        if not isinstance(direction, str) or direction.lower() not in ("left", "right"):
            raise self.refuse("truncation_direction is 'Left' or 'Right' at Text Embeddings Inference")
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
        tokens = response.headers.get("x-compute-tokens", "")
        used = whole_number(tokens)
        return replace(answer, meta=usage(total_tokens=used, input_tokens=used))

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        return Answer(scores=ranked(body, request, rows="", score="score"))

    @override
    def is_too_large(self, status: int, kind: type[RerankError], words: str) -> bool:
        return (status == 422 and "must have less than" in words) or super().is_too_large(status, kind, words)

    @property
    def _on_router(self) -> bool:
        return urlsplit(self.base).hostname == _ROUTER_HOST
