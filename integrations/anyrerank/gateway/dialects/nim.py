"""NVIDIA NIM, self-hosted and hosted: base URL of the gateway, with `/v1` for most clients.

Sources: https://docs.nvidia.com/nim/nemo-retriever/text-reranking, https://docs.api.nvidia.com/nim/reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from anyrerank.gateway.dialects._base import Dialect, Fields, ParsedRequest, RankedAnswer

_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")


class Nim(Dialect):
    """`passages` in, `rankings` with a `logit` out: the score, whatever the model behind it gives."""

    name = "nim"
    paths = ("/v1/ranking", "/v1/retrieval/{model}/reranking")

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `passages`."""
        return "passages" in body

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body. Its model and that in the path may differ, as in RAGFlow: that of the body wins.

        NIM itself always ranks all passages. RAGFlow sends `top_n` and LiteLLM `top_k` nevertheless.
        """
        named, in_path = fields.text("model"), _names(path)
        return ParsedRequest(
            query=fields.query("query"),
            documents=fields.documents("passages"),
            model=named or next(iter(in_path), None),
            other_names=in_path,
            top_n=fields.count("top_n", "top_k"),
            options=fields.truncation("truncate"),
            user=fields.user(),
            ignored=fields.unread(),
        )

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """NIM's answer."""
        return {
            "rankings": [{"index": index, "logit": score} for index, score in ranked.rows],
            "usage": {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens},
        }


def _names(path: Mapping[str, str]) -> tuple[str, ...]:
    """The names that a path may mean: NVIDIA's paths have `3_2` where the model has `3.2`."""
    model = path.get("model", "")
    return tuple(filter(None, dict.fromkeys((model, _BETWEEN_DIGITS.sub(".", model)))))
