"""`rerank` and `arerank`: a `Reranker` for a single call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anyrerank._core.client.base import same_parameters
from anyrerank._core.client.reranker import Reranker
from anyrerank._core.engine import Fuse, OnError, ScoreMode
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Budget, PriceFile
from anyrerank._core.types import Document, RerankResponse
from anyrerank.cache import Cache
from anyrerank.guardrails import Guardrail
from anyrerank.hooks import Hook
from anyrerank.providers import Provider

if TYPE_CHECKING:
    import httpx

_SHARED = Transport()


def rerank(  # noqa: PLR0917  positions are LiteLLM's
    model: str,
    query: str,
    documents: Sequence[Document],
    custom_llm_provider: str | type[Provider] | None = None,
    top_n: int | None = None,
    rank_fields: Sequence[str] | None = None,
    return_documents: bool | None = True,
    max_chunks_per_doc: int | None = None,
    max_tokens_per_doc: int | None = None,
    *,
    instruction: str | None = None,
    truncate: str | None = None,
    priority: int | None = None,
    score_threshold: float | None = None,
    score_mode: ScoreMode = "raw",
    user: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    guardrails: Sequence[Guardrail] = (),
    hooks: Sequence[Hook] = (),
    cache: Cache | None = None,
    budget: Budget | None = None,
    user_budget: Budget | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 60.0,
    max_retries: int = 2,
    num_retries: int | None = None,
    batch_size: int | None = None,
    max_concurrency: int = 8,
    dedupe: bool = False,
    allow_split: bool = False,
    fallbacks: Sequence[str | Reranker] = (),
    on_error: OnError = "raise",
    fuse: Fuse | None = None,
    http_client: httpx.Client | httpx.AsyncClient | None = None,
    extra_body: Mapping[str, Any] | None = None,
    drop_params: bool = False,
    input_cost_per_query: float | None = None,
    input_cost_per_token: float | None = None,
    prices: PriceFile | None = None,
    **options: Any,
) -> RerankResponse:
    """Rank `documents` by how well each answers `query`.

    Takes what `litellm.rerank` takes. `arerank` is the same, asynchronously. To make many calls, keep a `Reranker`.

    Args:
        model: `provider/model`, split at the first slash, for example `"cohere/rerank-v3.5"`.
        query: Not blank.
        documents: Strings, or mappings with a `text` (or with `rank_fields`). An empty list gives an empty response
            and no request. They are neither changed nor copied.
        custom_llm_provider: The provider, when `model` does not name it; or a `Provider` class of your own.
        top_n: How many results to return, at least 1; `None` for all.
        rank_fields: Fields of mapping documents to rank on, in order.
        return_documents: Whether each result holds the caller's own document. Nothing is asked of the provider.
        max_chunks_per_doc, max_tokens_per_doc, instruction, truncate, priority: Sent where the provider has them; an
            error where it has not (see `drop_params`).
        score_threshold: Keep results with this score or more, in the scale of `score_mode`; before `top_n`.
        score_mode: `"raw"` for the provider's number, `"unit"` for 0..1 where the provider's scale is known.
        user, metadata: End user and tags. Not sent to a provider.
        guardrails: Functions that get the query before anything is sent and return it, changed or not, or raise; see
            `anyrerank.guardrails`. Documents are never touched.
        hooks: Functions that get every call when it is over, as a `CallEvent`; see `anyrerank.hooks`, and
            `anyrerank.telemetry.OpenTelemetry`.
        cache: Where scores are kept, such as `anyrerank.cache.MemoryCache()`: what was paid for is not sent again. A
            pair of query and document at a time, or the whole call for a model that ranks all documents together. Equal
            calls beside each other are sent once.
        budget, user_budget: What may be spent, and what may be spent for each `user`; see `anyrerank.budget.Budget`. A
            call that would go beyond is a `BudgetExceededError` before it is sent.
        api_key, api_base: Win over the environment.
        headers: Added to each request; they win over ours.
        timeout: Seconds for the whole call, retries and waiting included; `None` for no limit.
        max_retries, num_retries: Tries after the first one, for failures that may pass.
        batch_size: Documents in one request; by default the provider's limit.
        max_concurrency: Requests of this call under way at once.
        dedupe: Send equal documents once, and give the score to every copy.
        allow_split: Let a listwise model, whose scores depend on the documents sent together, be split into batches.
        fallbacks: Model strings or `Reranker`s, tried in order when this model fails for a reason that another could
            survive.
        on_error: `"raise"`, or `"passthrough"` to get the incoming order without scores (`response.degraded` is then
            true, and a warning is logged).
        fuse: `"rrf"` to fuse the reranker's order with the incoming one (reciprocal rank fusion, k = 60; the scores
            are then the fused ones), for documents that are ranked already. `"auto"` does so where `local/lexical`
            answers, as the framework adapters do.
        http_client: An `httpx.Client` (or `httpx.AsyncClient` for `arerank`) to use as it is; see `Reranker`.
        extra_body: Merged into the request's JSON.
        drop_params: Leave out options that the provider does not have, instead of refusing them.
        input_cost_per_query, input_cost_per_token, prices: What `response.cost` is computed with; see `Reranker`.
        options: Options of the provider's own, and settings of its connection such as `aws_region_name`.

    Raises:
        BadRequestError: The call is wrong. Nothing was sent, unless the error has a status.
        ConfigurationError: Unknown provider, or a base URL that is missing or malformed.
        AuthenticationError: No key, or one that was refused.
        RerankError: Anything else, as one of the classes in `anyrerank.errors`.
    """
    reranker, overrides = _once(locals())
    return reranker.rerank(query, documents, **overrides)


@same_parameters(rerank)
async def arerank(*args: Any, **kwargs: Any) -> RerankResponse:
    bound = _SIGNATURE.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = bound.arguments
    reranker, overrides = _once(arguments)
    return await reranker.arerank(arguments["query"], arguments["documents"], **overrides)


_SIGNATURE = inspect.signature(rerank)


def _once(arguments: Mapping[str, Any]) -> tuple[Reranker, dict[str, Any]]:
    """A `Reranker` for one call of the functions, on connections that all such calls share, and what the call says."""
    said = {name: arguments[name] for name in ("user", "metadata") if arguments[name] is not None}
    given = {name: value for name, value in arguments.items() if name not in _OF_THE_CALL}
    reranker = Reranker(**given, **arguments["options"])
    if arguments["http_client"] is None:
        reranker.send_through(_SHARED)
    return reranker, said


_OF_THE_CALL = frozenset({"query", "documents", "options", "user", "metadata"})
