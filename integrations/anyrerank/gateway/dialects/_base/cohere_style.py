"""The dialect that Cohere, Jina, LiteLLM, vLLM, Xinference and others share, with small differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from anyrerank._core.types import Document
from anyrerank.gateway.dialects._base.dialect import Dialect, ParsedRequest, RankedAnswer
from anyrerank.gateway.dialects._base.fields import Fields, as_seconds
from anyrerank.gateway.errors import GatewayError, bad_request, error_fields

_OF_ONE_VENDOR = (
    "max_tokens_per_query",
    "overlap_tokens",
    "truncate_prompt_tokens",
    "truncation_side",
    "use_activation",
)
"""Options of vLLM and SiliconFlow that are passed on. Others are not: some change what a request costs."""


class CohereStyle(Dialect):
    """`query`, `documents` and `top_n` in; `results` with a `relevance_score` out.

    The answer holds the fields of all of them: their clients ignore those that they do not know.
    """

    documents_by_default: ClassVar[bool] = False
    """Whether an answer holds the documents if the client does not say what it wants."""
    top_n_name: ClassVar[str] = "top_n"
    """Name of the number of results."""

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body."""
        wanted = fields.flag("return_documents")
        return ParsedRequest(
            query=fields.query("query"),
            documents=fields.documents("documents"),
            model=fields.text("model"),
            top_n=fields.count(self.top_n_name),
            with_documents=self.documents_by_default if wanted is None else wanted,
            user=fields.user(),
            options=self.options(fields),
            settings={**_given(rank_fields=fields.names("rank_fields"), timeout=_seconds(fields)), **_cache(fields)},
            fallbacks=_fallbacks(fields),
            no_store=_in_cache(fields, "no-store"),
            ignored=fields.unread(),
        )

    def options(self, fields: Fields) -> dict[str, Any]:
        """The options that not every vendor has, without those that are not given."""
        given = _given(
            max_chunks_per_doc=fields.count("max_chunks_per_doc", "max_chunk_per_doc"),
            max_tokens_per_doc=fields.count("max_tokens_per_doc"),
            instruction=fields.text("instruction", "instruct"),
            priority=fields.take("priority"),
            **{name: fields.take(name) for name in _OF_ONE_VENDOR},
        )
        return {**given, **fields.truncation("truncate", "truncation")}

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """One answer that every client of this family reads."""
        billed: dict[str, Any] = {"total_tokens": ranked.tokens}
        if ranked.search_units is not None:
            billed["search_units"] = ranked.search_units
        return {
            "id": ranked.id,
            "object": "list",
            "model": ranked.model,
            "results": self.rows(asked, ranked),
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": billed,
                "tokens": {"input_tokens": ranked.tokens, "output_tokens": 0},
            },
            "usage": {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens},
        }

    def rows(self, asked: ParsedRequest, ranked: RankedAnswer) -> list[dict[str, Any]]:
        """The results of an answer."""
        found: list[dict[str, Any]] = [{"index": index, "relevance_score": score} for index, score in ranked.rows]
        if asked.with_documents:
            for row in found:
                row["document"] = self.document(ranked.documents[row["index"]])
        return found

    def document(self, document: Document) -> Any:
        """A document in an answer: objects come back as they are."""
        return {"text": document} if isinstance(document, str) else document

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """The error where LiteLLM's, Cohere's and Xinference's clients each look for it."""
        return error_fields(error.message, error.kind, status, error.param)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _fallbacks(fields: Fields) -> Sequence[str] | None:
    """LiteLLM's `fallbacks`, or none with its `disable_fallbacks`."""
    given = fields.names("fallbacks")
    return () if fields.flag("disable_fallbacks") else given


def _cache(fields: Fields) -> dict[str, None]:
    """No cache with LiteLLM's `cache: {"no-cache": true}`, of which the scores are not stored either."""
    return {"cache": None} if _in_cache(fields, "no-cache") else {}


def _in_cache(fields: Fields, name: str) -> bool:
    """Whether LiteLLM's `cache` sets a name to true."""
    wanted = fields.body.get("cache")
    if not isinstance(wanted, Mapping) or wanted.get(name) is not True:
        return False
    fields.take("cache")
    return True


def _seconds(fields: Fields) -> float | None:
    value = fields.take("timeout")
    if value is None:
        return None
    seconds = as_seconds(value)
    if seconds is None:
        raise bad_request("timeout must be a positive number of seconds", "timeout")
    return seconds
