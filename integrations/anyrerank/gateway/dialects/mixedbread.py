"""Mixedbread: base URL `/mixedbread`, or the gateway itself, as its SDK adds `/v1/reranking`.

Source: https://www.mixedbread.com/api-reference/endpoints/reranking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyrerank.gateway.dialects._base import Dialect, Fields, ParsedRequest, RankedAnswer


class Mixedbread(Dialect):
    """`input` and `top_k` in, `data` with a `score` out."""

    name = "mixedbread"
    paths = ("/mixedbread/v1/reranking",)

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether `input` is a list."""
        return isinstance(body.get("input"), list)

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body. `rank_fields` are the fields of a document that count."""
        rewrite, names = fields.flag("rewrite_query"), fields.names("rank_fields")
        return ParsedRequest(
            query=fields.query("query"),
            documents=fields.documents("input"),
            model=fields.text("model"),
            top_n=fields.count("top_k"),
            with_documents=bool(fields.flag("return_input")),
            user=fields.user(),
            options={} if rewrite is None else {"rewrite_query": rewrite},
            settings={} if names is None else {"rank_fields": names},
            ignored=fields.unread(),
        )

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """Mixedbread's answer; `input` is null unless the client wants it."""
        return {
            "usage": {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens, "completion_tokens": 0},
            "model": ranked.model,
            "data": [
                {
                    "index": index,
                    "score": score,
                    "input": ranked.documents[index] if asked.with_documents else None,
                    "object": "rank_result",
                }
                for index, score in ranked.rows
            ],
            "object": "list",
            "top_k": len(ranked.rows),
            "return_input": asked.with_documents,
        }
