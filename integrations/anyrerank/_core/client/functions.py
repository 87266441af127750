"""`rerank` and `arerank`: a `Reranker` for a single call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import Unpack

from anyrerank._core.client.parity import same_parameters
from anyrerank._core.client.reranker import Reranker
from anyrerank._core.engine import FunctionKeywords, RerankerOptions, lists_options
from anyrerank._core.http import Transport
from anyrerank._core.types import Document, RerankResponse
from anyrerank.providers import Provider

_SHARED = Transport()
"""The connections of all calls of the functions."""


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
    """Rank `documents` by how well each answers `query`.

    Takes what `litellm.rerank` takes. `arerank` is its asynchronous twin. For many calls, keep a `Reranker`.

    Args:
        model: `provider/model`, split at the first slash, for example `"cohere/rerank-v3.5"`.
        query: Not blank.
        documents: Strings, or mappings with a `text` (or with `rank_fields`). An empty list gives an empty response and
            no request. They are neither changed nor copied.
        custom_llm_provider: The provider, if `model` does not name it; or a `Provider` class of your own.
        {options}

    Raises:
        BadRequestError: The call is wrong. Nothing was sent, unless the error has a status.
        ConfigurationError: Unknown provider, or a base URL that is missing or malformed.
        AuthenticationError: There is no key, or it was refused.
        RerankError: Another failure, as one of the classes of `anyrerank.errors`.
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
    """A `Reranker` for one call of the functions, and the options that belong to the call itself."""
    given = {"custom_llm_provider": None, **arguments}
    overrides = {name: given[name] for name in ("user", "metadata") if given.get(name) is not None}
    made_with = {name: value for name, value in given.items() if name not in _OF_THE_CALL}
    return Reranker._for_one_call(made_with, _SHARED), overrides
