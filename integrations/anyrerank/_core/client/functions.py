"""`rerank` and `arerank`: one call without a `Reranker`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from typing_extensions import Unpack

from anyrerank._core.client.parity import same_parameters
from anyrerank._core.client.reranker import Reranker
from anyrerank._core.engine import ConnectionKeywords, KeywordOnly, RerankerOptions, lists_options
from anyrerank._core.http import Transport, network_environment
from anyrerank._core.types import Document, RerankResponse
from anyrerank.providers import Provider


@lru_cache(maxsize=8)
def _shared_transport(_environment: tuple[str | None, ...]) -> Transport:
    """The connections of all calls of the functions, anew if the environment names other proxies or certificates."""
    return Transport()


class FunctionKeywords(KeywordOnly, ConnectionKeywords, total=False):
    """Options that `rerank` and `arerank` take by keyword only."""

    fallbacks: Sequence[str | Reranker]


@lists_options(RerankerOptions)
def rerank(  # noqa: PLR0917  the positions are LiteLLM's
    model: str,
    query: str,
    documents: Sequence[Document],
    custom_llm_provider: str | type[Provider] | None = None,
    top_n: int | None = None,
    rank_fields: Sequence[str] | None = None,
    return_documents: bool | None = True,
    max_chunks_per_doc: int | None = None,
    max_tokens_per_doc: int | None = None,
    **keywords: Unpack[FunctionKeywords],
) -> RerankResponse:
    """Rank `documents` by their relevance to `query`.

    Accepts the arguments of `litellm.rerank`. `arerank` is the asynchronous form. For many calls use a `Reranker`.

    Args:
        model: `provider/model` or `provider:model`, for example `"cohere/rerank-v3.5"`.
        query: Must not be blank.
        documents: Strings, or mappings with a `text` (or with `rank_fields`). They are not changed. Without documents
            nothing is sent.
        custom_llm_provider: The provider, if `model` does not name it, or your own `Provider` class.
        {options}

    Raises:
        BadRequestError: The call is wrong. Nothing was sent, unless the error has a status.
        ConfigurationError: Unknown provider, or a base URL that is missing or malformed.
        AuthenticationError: No key was found, or it was refused.
        RerankError: Another error; `anyrerank.errors` lists the classes.
    """
    reranker, overrides = _once({**locals(), **keywords})
    return reranker.rerank(query, documents, **overrides)


@same_parameters(rerank)
async def arerank(*args: Any, **kwargs: Any) -> RerankResponse:
    given = _PARAMETERS.bind(*args, **kwargs).arguments
    given |= given.pop("provider_options", {})
    reranker, overrides = _once(given)
    return await reranker.arerank(given["query"], given["documents"], **overrides)


_PARAMETERS = inspect.signature(rerank)
_OF_THE_CALL = frozenset({"query", "documents", "user", "metadata", "keywords"})


def _once(arguments: Mapping[str, Any]) -> tuple[Reranker, dict[str, Any]]:
    """A `Reranker` for one call, and the options that are passed to the call itself."""
    given = {"custom_llm_provider": None, **arguments}
    overrides = {name: given[name] for name in ("user", "metadata") if given.get(name) is not None}
    made_with = {name: value for name, value in given.items() if name not in _OF_THE_CALL}
    return Reranker._for_one_call(made_with, _shared_transport(network_environment())), overrides
