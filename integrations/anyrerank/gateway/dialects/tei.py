"""Hugging Face text-embeddings-inference: base URL `/tei`, or `/tei/{model}`, as requests have no model.

Elasticsearch's Hugging Face service speaks it too, with `documents` in the place of `texts` in some versions.

Sources: https://huggingface.github.io/text-embeddings-inference, Elasticsearch's HuggingFaceRerankRequestEntity.java
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from anyrerank.gateway.dialects._base import Dialect, Fields, ParsedRequest, RankedAnswer
from anyrerank.gateway.errors import GatewayError, bad_request

_ERROR_TYPES = {413: "validation", 422: "validation", 429: "overloaded", 503: "unhealthy"}
_MAX_TOKENS = 32_768
"""What `info` says about the length of texts: the gateway cuts none."""


class TEI(Dialect):
    """`texts` in, a list of `index` and `score` out."""

    name = "tei"
    paths = ("/tei/{model}/rerank", "/tei/rerank")
    info_paths = ("/tei/{model}/info", "/tei/info", "/info", "/tei/{model}/health", "/tei/health")
    statuses: ClassVar = {"invalid_request_error": 422}

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `texts`."""
        return "texts" in body

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body. The model in the path wins: Elasticsearch's `model` may be that of the vendor."""
        raw = fields.flag("raw_scores")
        named = fields.text("model")
        return ParsedRequest(
            query=fields.query("query"),
            documents=fields.documents("texts", "documents"),
            model=path.get("model") or named,
            top_n=fields.count("top_n"),
            with_documents=bool(fields.flag("return_text", "return_documents")),
            unit_scores=not raw,
            user=fields.user(),
            options={
                **({"raw_scores": True} if raw else {}),
                **fields.truncation("truncate"),
                **_direction(fields),
            },
            ignored=fields.unread(),
        )

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """Nothing but index, score and text: some clients refuse further fields."""
        if asked.with_documents:
            return [{"index": index, "score": score, "text": text} for index, score, text in ranked.texts()]
        return [{"index": index, "score": score} for index, score in ranked.rows]

    def model_info(self, route: str, model: str, max_documents: int) -> Any:
        """TEI's `info`; `health` says that the model is served."""
        if route.endswith("/health"):
            return {}
        return {
            "model_id": model,
            "model_sha": None,
            "model_dtype": "float32",
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
            "max_concurrent_requests": 512,
            "max_input_length": _MAX_TOKENS,
            "max_batch_tokens": _MAX_TOKENS,
            "max_batch_requests": None,
            "max_client_batch_size": max_documents,
            "auto_truncate": False,
            "tokenization_workers": 1,
            "version": "1.9.0",
            "sha": None,
            "docker_label": None,
        }

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """TEI's error."""
        return {"error": error.message, "error_type": _ERROR_TYPES.get(status, "backend")}


def _direction(fields: Fields) -> dict[str, str]:
    """`truncation_direction`, in small or capital letters; nothing for the default, "Right"."""
    value = fields.text("truncation_direction")
    if value is None or value.lower() == "right":
        return {}
    if value.lower() == "left":
        return {"truncation_direction": "Left"}
    raise bad_request("truncation_direction must be 'Left' or 'Right'", "truncation_direction")
