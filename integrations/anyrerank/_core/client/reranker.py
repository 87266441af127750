"""`Reranker`: one model with its fallbacks, to keep between calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from anyrerank._core.client.base import BaseReranker
from anyrerank._core.engine import (
    CONNECTION,
    Call,
    Candidates,
    Deployment,
    Fuse,
    OnError,
    ScoreMode,
    options_of,
    provider_class,
)
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Budget, Price, PriceFile, read
from anyrerank._core.routing import first_success
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer, public
from anyrerank.cache import Cache
from anyrerank.errors import BadRequestError
from anyrerank.guardrails import Guardrail
from anyrerank.hooks import Hook
from anyrerank.providers import Provider

if TYPE_CHECKING:
    import httpx


@public("anyrerank")
class Reranker(BaseReranker):
    """A reranker to keep: connections stay open between calls.

    Safe for threads, usable from several event loops one after another and at once; survives `pickle`, `deepcopy` and
    `fork`. Making one sends nothing and needs no key. The synchronous methods start no event loop, so they work inside
    a running one (Jupyter). A context manager in both colours.

    Args:
        model: `provider/model`, or the bare model with `custom_llm_provider`.
        custom_llm_provider: The provider, when `model` does not name it; or a `Provider` class of your own.
        fallbacks: Model strings or `Reranker`s, tried in order when this one fails for a reason that another could
            survive; each has an equal share of the time that is left. A model string of the same provider uses the
            same key and base URL, any other finds its own in the environment. A `Reranker` brings its connection, the
            options of its provider, and its own fallbacks after it.
        http_client: An `httpx.Client` or `httpx.AsyncClient` to use as it is for calls of its colour. A synchronous one
            knows a limit for each read alone, so a server that sends a byte now and then outlasts `timeout`.
        input_cost_per_query, input_cost_per_token: US dollars for a search unit (a request with up to 100 documents,
            where the provider counts none) and for a token, for `response.cost`; they win over what the provider says
            and over the list of prices.
        prices: A file in LiteLLM's format, or what it holds; wins over the list of prices that is built in.
        options: Options that only some providers have, such as `truncate` or `max_tokens_per_doc`, and the settings of
            their connections, such as `aws_region_name` (`anyrerank providers` lists both).

    The other parameters are those of `anyrerank.rerank`; a call may override them, save for the connection.

    Raises:
        ConfigurationError: Unknown provider.
        BadRequestError: An option that does not exist, or a value it cannot have.
    """

    def __init__(
        self,
        model: str,
        *,
        custom_llm_provider: str | type[Provider] | None = None,
        api_key: str | None = None,
        api_base: str | None = None,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | httpx.AsyncClient | None = None,
        fallbacks: Sequence[str | Reranker] = (),
        top_n: int | None = None,
        return_documents: bool | None = True,
        rank_fields: Sequence[str] | None = None,
        score_threshold: float | None = None,
        score_mode: ScoreMode = "raw",
        user: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        guardrails: Sequence[Guardrail] = (),
        hooks: Sequence[Hook] = (),
        cache: Cache | None = None,
        budget: Budget | None = None,
        user_budget: Budget | None = None,
        timeout: float | None = 60.0,
        max_retries: int = 2,
        batch_size: int | None = None,
        max_concurrency: int = 8,
        dedupe: bool = False,
        allow_split: bool = False,
        on_error: OnError = "raise",
        fuse: Fuse | None = None,
        extra_body: Mapping[str, Any] | None = None,
        drop_params: bool = False,
        input_cost_per_query: float | None = None,
        input_cost_per_token: float | None = None,
        prices: PriceFile | None = None,
        **options: Any,
    ) -> None:
        kind = provider_class(model, custom_llm_provider)
        settings = {name: options.pop(name) for name in kind.settings.keys() & options.keys()}
        self._options = options_of(
            {
                "top_n": top_n,
                "return_documents": return_documents,
                "rank_fields": rank_fields,
                "score_threshold": score_threshold,
                "score_mode": score_mode,
                "user": user,
                "metadata": metadata,
                "guardrails": guardrails,
                "hooks": hooks,
                "cache": cache,
                "budget": budget,
                "user_budget": user_budget,
                "timeout": timeout,
                "max_retries": max_retries,
                "batch_size": batch_size,
                "max_concurrency": max_concurrency,
                "dedupe": dedupe,
                "allow_split": allow_split,
                "on_error": on_error,
                "fuse": fuse,
                "extra_body": extra_body,
                "drop_params": drop_params,
                **options,
            }
        )
        price = Price(per_query=input_cost_per_query, per_token=input_cost_per_token)
        self._transport = Transport(http_client)
        self._first = Deployment(
            model,
            custom_llm_provider=kind if custom_llm_provider else None,
            api_key=api_key,
            api_base=api_base,
            headers=headers,
            settings=settings,
            price=price,
            prices={} if prices is None else read(prices),
            transport=self._transport,
        )
        self.provider, self.model = self._first.provider, self._first.model
        if not isinstance(fallbacks or (), list | tuple):
            raise BadRequestError("fallbacks is a list of model strings and Rerankers")
        self._fallbacks = tuple(member for other in fallbacks or () for member in self._fallback(other))
        for member in self._members():
            member.own_extra(self._options)

    def __repr__(self) -> str:
        return f"Reranker({self.deployment!r})"

    def send_through(self, transport: Transport) -> None:
        """Use the connections of `transport`, which others may use too; so do fallbacks that have no others."""
        for member in self._members():
            if member.transport is self._transport:
                member.transport = transport
        self._transport = transport

    def _fallback(self, other: str | Reranker) -> tuple[Deployment, ...]:
        """What is asked for a fallback: a ready one brings its options, and its own fallbacks after it."""
        if isinstance(other, Reranker):
            return tuple(member.owning(other._options) for member in other._members())
        return (self._first.beside(other),)

    def _members(self) -> tuple[Deployment, ...]:
        return (self._first, *self._fallbacks)

    def _fixed(self) -> frozenset[str]:
        return CONNECTION | self._first.kind.settings.keys()

    def _chosen(self, call: Call, kept: Candidates) -> Flow[tuple[Deployment, Answer]]:
        return (
            yield from first_success(
                [partial(self._via, member, call, kept) for member in self._members()],
                deadline=call.deadline,
                clock=call.policy.clock,
                attempts=call.attempts,
            )
        )

    def _via(
        self, member: Deployment, call: Call, kept: Candidates, deadline: float | None
    ) -> Flow[tuple[Deployment, Answer]]:
        """The scores of one member, asked through the connections that are its own."""
        query = call.query
        if member.own is not None:
            query = yield from call.guarded(query, member.own.guardrails)
        flow = member.ask(call, query, kept, deadline=deadline, policy=call.policy)
        return member, (yield from member.through(flow, self._transport))
