"""`Reranker`: one call, from the caller's arguments to the response, in both colours."""

from __future__ import annotations

import copy
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from anyrerank.batching import Candidates, batched, candidates
from anyrerank.config import connect, provider_class, split_model
from anyrerank.errors import BadRequestError, BudgetExceededError, GuardrailRaisedError, RerankError
from anyrerank.flow import Flow, Gather, Through, arun, run
from anyrerank.guardrails import Guardrail, guarded
from anyrerank.hooks import CallEvent, Hook, is_listened_to, tell
from anyrerank.options import (
    CONNECTION,
    Fuse,
    OnError,
    Options,
    ScoreMode,
    blanks,
    checked_documents,
    checked_query,
    identity,
    options_of,
    provider_options,
)
from anyrerank.prices import Price, PriceFile, Spent, listed, read, spent, total
from anyrerank.progress import Bar
from anyrerank.providers import Provider
from anyrerank.providers._answers import dollars
from anyrerank.providers._base import Answer, Scale
from anyrerank.ranking import check_score_mode, order, results
from anyrerank.retry import RetryPolicy, retried, within
from anyrerank.router import first_success
from anyrerank.schema import Attempt, Document, Meta, RerankRequest, RerankResponse, Results
from anyrerank.transport import Transport

if TYPE_CHECKING:
    import httpx

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

_log = logging.getLogger("anyrerank")

_SECONDS_TO_LEARN = 5.0
"""How long a server may take to say what it accepts, before the usual is assumed."""


def same_parameters(
    sync: Callable[P, R],
) -> Callable[[Callable[..., Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Give an asynchronous function the signature of `sync`, for readers, checkers and `inspect` alike."""

    def decorate(function: Callable[..., Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        return wraps(sync, assigned=("__doc__", "__annotations__"))(function)

    return decorate


class Reranker:
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
        self.provider, self.model = split_model(model, custom_llm_provider)
        self._kind = provider_class(model, custom_llm_provider)
        self._connection: dict[str, Any] = {
            "custom_llm_provider": self._kind,
            "api_key": api_key,
            "api_base": api_base,
            "headers": headers,
        }
        self._own_price = Price(per_query=input_cost_per_query, per_token=input_cost_per_token)
        self._prices = {} if prices is None else read(prices)
        self._settings = {name: options.pop(name) for name in self._kind.settings.keys() & options.keys()}
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
        self._connected: Provider | None = None
        self._ready = False
        with suppress(RerankError):
            self._provider()
        self._transport = Transport(http_client)
        made: list[Reranker] = [self._fallback(other) for other in fallbacks or ()]
        self._fallbacks: tuple[Reranker, ...] = tuple(member for each in made for member in (each, *each._fallbacks))
        for member in (self, *self._fallbacks):
            member._extra(self._options)

    def __repr__(self) -> str:
        return f"Reranker({self.deployment!r})"

    @property
    def deployment(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def pipeline_fuse(self) -> Fuse | None:
        """What `fuse` should be where the documents come from a retriever, best first: its own, or the provider's."""
        return self._options.fuse or self._kind.pipeline_fuse

    @property
    def guardrails(self) -> Sequence[Guardrail]:
        """What looks at a query before it is sent."""
        return self._options.guardrails

    @property
    def rank_fields(self) -> Sequence[str] | None:
        """The fields of mapping documents that are ranked, when that is not their text."""
        return self._options.rank_fields

    @property
    def accepts_images(self) -> bool:
        """Whether a document may be a mapping with an `image`."""
        return self._kind.reads_images(self.model)

    def rerank(self, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        """Rank `documents` by how well each answers `query`.

        Args:
            query: Not blank.
            documents: Strings, or mappings with a `text`. An empty list gives an empty response and no request.
            overrides: Any option of `Reranker` for this call alone, save for the connection.

        Raises:
            BadRequestError: The call is wrong; nothing was sent, unless the error has a status.
            RerankError: What the provider or the network did, as one of the classes in `anyrerank.errors`.
        """
        return run(self._respond(query, documents, overrides), self._transport.send)

    @same_parameters(rerank)
    async def arerank(  # noqa: D102  documented as `rerank` is
        self, query: str, documents: Sequence[Document], **overrides: Any
    ) -> RerankResponse:
        return await arun(self._respond(query, documents, overrides), self._transport.asend)

    def rerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Any,
    ) -> list[RerankResponse | RerankError]:
        """Rank many lists, at most `max_concurrency` requests at a time.

        Args:
            queries: One for each list of documents.
            documents: The documents of each query.
            progress: Show a bar (needs tqdm, in the extra `notebook`); by default only in a notebook that has it.
            return_exceptions: Put a failed query's error into the list, instead of raising the first one.
            overrides: Any option of `Reranker` for these calls alone, save for the connection.

        Returns:
            The responses in the order of the queries.
        """
        with Bar(len(queries), progress) as bar:
            return run(self._many(queries, documents, bar, return_exceptions, overrides), self._transport.send)

    @same_parameters(rerank_many)
    async def arerank_many(  # noqa: D102  documented as `rerank_many` is
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Any,
    ) -> list[RerankResponse | RerankError]:
        with Bar(len(queries), progress) as bar:
            flow = self._many(queries, documents, bar, return_exceptions, overrides)
            return await arun(flow, self._transport.asend)

    def check(self) -> None:
        """Raise what keeps a call from being sent: a missing key, a missing or malformed base URL. Sends nothing."""
        self._provider()

    def send_through(self, transport: Transport) -> None:
        """Use the connections of `transport`, which others may use too; so do fallbacks that have no others."""
        for member in self._fallbacks:
            if member._transport is self._transport:
                member._transport = transport
        self._transport = transport

    def close(self) -> None:
        """Close what synchronous calls opened; the next call opens it again."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close what calls on the running event loop opened, and what synchronous ones did."""
        await self._transport.aclose()

    def __enter__(self) -> Reranker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Reranker:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def _fallback(self, other: str | Reranker) -> Reranker:
        if isinstance(other, Reranker):
            ready = copy.copy(other)
            ready._ready = True
            ready._fallbacks = tuple(member._adopted_by(ready) for member in other._fallbacks)
            return ready
        same = split_model(other)[0] == self.provider
        made = Reranker(other, **self._connection, **self._settings) if same else Reranker(other)
        made._prices = self._prices
        made.send_through(self._transport)
        return made

    def _adopted_by(self, owner: Reranker) -> Reranker:
        """This fallback of `owner`, with the options of `owner` wherever it is asked."""
        if self._ready:
            return self
        adopted = copy.copy(self)
        adopted._options, adopted._ready = owner._options, True
        return adopted

    def _many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        bar: Bar,
        return_exceptions: bool,
        overrides: Mapping[str, Any],
    ) -> Flow[list[RerankResponse | RerankError]]:
        if isinstance(queries, str) or len(queries) != len(documents):
            raise BadRequestError("rerank_many takes a list of queries and as many lists of documents")
        limit = options_of(self._call_options(overrides), self._options).max_concurrency
        share = max(1, limit // max(1, len(queries)))
        if not queries:
            return []
        flows = [self._respond(query, each, overrides, share) for query, each in zip(queries, documents, strict=True)]
        each = [_caught(flow) for flow in flows] if return_exceptions else flows
        answers: list[RerankResponse | RerankError] = yield Gather(each, limit, bar.advance)
        return answers

    def _respond(
        self,
        query: str,
        documents: Sequence[Document],
        overrides: Mapping[str, Any],
        concurrency: int | None = None,
    ) -> Flow[RerankResponse]:
        """One call, from the caller's arguments to the response; `concurrency` overrides `max_concurrency`."""
        options = options_of(self._call_options(overrides), self._options)
        policy = RetryPolicy(max_retries=options.max_retries)
        if overrides:
            for member in (self, *self._fallbacks):
                member._extra(options)
        call = _Call(
            options=options,
            concurrency=concurrency or options.max_concurrency,
            policy=policy,
            began=policy.clock(),
            started=policy.wall(),
        )
        if not is_listened_to(options.hooks):
            return (yield from self._answered(call, query, documents))
        response, failure = None, None
        try:
            response = yield from self._answered(call, query, documents)
        except BaseException as error:
            failure = error
            raise
        finally:
            tell(self._event(call, response, failure), options.hooks)
        return response

    def _answered(self, call: _Call, query: str, documents: Sequence[Document]) -> Flow[RerankResponse]:
        options, policy, members = call.options, call.policy, (self, *self._fallbacks)
        query = checked_query(query)
        if options.guardrails:
            deadline = None if options.timeout is None else call.began + options.timeout
            query = checked_query((yield from within(guarded(query, options.guardrails), deadline, policy.clock)))
        call.query, call.documents = query, checked_documents(documents)
        if not call.documents:
            return self._response(call, Answer(scores=()), Results())
        blank = blanks(call.documents, options.rank_fields, images=all(member.accepts_images for member in members))
        key = partial(identity, rank_fields=options.rank_fields) if options.dedupe else None
        kept = candidates(call.documents, blank, key=key)
        try:
            member, answer = yield from first_success(
                [partial(self._via, member, call, kept) for member in members],
                deadline=None if options.timeout is None else call.began + options.timeout,
                clock=policy.clock,
                attempts=call.attempts,
            )
        except RerankError as error:
            unsent = isinstance(error, BadRequestError) and error.status_code is None
            if options.on_error == "raise" or unsent or isinstance(error, GuardrailRaisedError | BudgetExceededError):
                raise
            return self._degraded(call, error)
        ordered = order(
            kept.spread(answer.scores),
            scale=member._scale(options),
            score_mode=options.score_mode,
            threshold=options.score_threshold,
            fuse=options.fuse,
        )
        return member._response(
            call, answer, call.results(ordered, () if options.score_threshold is not None else blank)
        )

    def _event(self, call: _Call, response: RerankResponse | None, error: BaseException | None) -> CallEvent:
        return CallEvent(
            provider=self.provider,
            model=self.model,
            query=call.query,
            documents=call.documents,
            top_n=call.options.top_n,
            user=call.options.user,
            metadata=call.options.metadata or {},
            started=call.started,
            seconds=call.policy.clock() - call.began,
            attempts=tuple(call.attempts),
            response=response,
            error=error,
        )

    def _via(
        self, member: Reranker, call: _Call, kept: Candidates, deadline: float | None
    ) -> Flow[tuple[Reranker, Answer]]:
        """The scores of one member, asked through the connections that are its own."""
        query = call.query
        if member is not self and member._ready and member._options.guardrails:
            query = checked_query((yield from guarded(query, member._options.guardrails)))
        flow = member._ask(call, query, kept, deadline)
        answer = yield from flow if member._transport is self._transport else _through(member._transport, flow)
        return member, answer

    def _ask(self, call: _Call, query: str, kept: Candidates, deadline: float | None) -> Flow[Answer]:
        """The scores of this model alone, whatever number of requests they need."""
        provider, options = self._provider(), call.options
        extra = self._extra(options)
        check_score_mode(options.score_mode, provider.score_scale(extra), provider.deployment)
        count = len(kept.documents)
        request = RerankRequest(
            query=query,
            documents=kept.documents,
            top_n=None if options.top_n is None or options.fuse else min(options.top_n, count),
            rank_fields=None if options.rank_fields is None else tuple(options.rank_fields),
            options=extra,
            extra_body=(self._options if self._ready else options).extra_body or {},
        )
        if unfit := provider.unfit(request):
            raise provider.refuse(f"documents[{kept.place(unfit[0])}] {unfit[1]}")
        size = options.batch_size
        if size is None:
            soon = call.policy.clock() + _SECONDS_TO_LEARN
            learning = provider.learnt_max_documents(count, extra)
            size = yield from within(learning, soon if deadline is None else min(deadline, soon), call.policy.clock)
        starts = provider.starts(request, size or count)
        may_split = options.allow_split or not provider.ranks_together
        if len(starts) > 1 and not may_split:
            raise provider.refuse(
                f"{provider.deployment} ranks all documents of a call together, and {count} do not fit into one "
                "request: send fewer, or pass allow_split=True and accept scores that depend on the split"
            )

        def ask(part: RerankRequest) -> Flow[Answer]:
            return retried(
                lambda: provider.flow(part),
                call.policy,
                deployment=provider.deployment,
                deadline=deadline,
                attempts=call.attempts,
                price=lambda answer: self._spent(provider, answer, len(part.documents)),
            )

        return (
            yield from batched(
                ask,
                request,
                starts=starts,
                limit=call.concurrency,
                place=kept.place,
                may_split=may_split,
            )
        )

    def _scale(self, options: Options) -> Scale:
        """What the scores mean, where it is asked for."""
        wanted = options.score_mode == "unit"
        return self._provider().score_scale(self._extra(options)) if wanted else self._kind.scale

    def _spent(self, provider: Provider, answer: Answer | None, documents: int) -> Spent:
        """What an answer cost: by the caller's prices, else as the provider says, else by the list."""
        if provider.free and not self._own_price:
            return Spent(0.0)
        named = (self._prices.get(name.casefold()) for name in provider.price_names)
        price = self._own_price or next(filter(None, named), None)
        if price is None and answer is not None and (said := dollars(answer.cost)) is not None:
            return Spent(said)
        return spent(price or listed(provider.price_names), answer.meta if answer else None, documents)

    def _call_options(self, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
        if overrides and (fixed := sorted((CONNECTION | self._kind.settings.keys()) & overrides.keys())):
            raise BadRequestError(f"{', '.join(fixed)}: set when a Reranker is made, not in a call")
        return overrides

    def _extra(self, options: Options) -> dict[str, Any]:
        """The provider's own options: those of the call, save for a ready fallback, which brings its own."""
        extra = self._options.extra if self._ready else options.extra
        return provider_options(extra, self._kind, drop_params=options.drop_params)

    def _provider(self) -> Provider:
        """The provider with key and base URL; tried when this is made, and again at each call until they are there."""
        if self._connected is None:
            provider = connect(self.deployment, **self._connection, settings=self._settings)
            provider.check()
            self._connected = provider
        return self._connected

    def _response(self, call: _Call, answer: Answer, ranked: Results) -> RerankResponse:
        return RerankResponse(
            id=answer.id or f"rerank-{uuid.uuid4().hex}",
            results=ranked,
            meta=answer.meta,
            model=self.model,
            provider=self.provider,
            cost=total(call.attempts),
            cost_estimated=any(attempt.estimated or attempt.error in _MAYBE_BILLED for attempt in call.attempts),
            latency=call.policy.clock() - call.began,
            attempts=tuple(call.attempts),
            request_id=answer.request_id,
        )

    def _degraded(self, call: _Call, error: RerankError) -> RerankResponse:
        warning = f"reranking failed, the incoming order is handed back: {type(error).__name__}: {error.message}"
        _log.warning(warning)
        unranked = call.results((), range(len(call.documents)))
        response = self._response(call, Answer(scores=(), meta=Meta(warnings=(warning,))), unranked)
        return response.model_copy(update={"degraded": True})


_MAYBE_BILLED = frozenset({"APITimeoutError"})
"""Tries of which nobody here knows whether the provider finished them."""


@dataclass(slots=True, kw_only=True)
class _Call:
    """What is the same for every model, batch and try of one call; query and documents once they are checked."""

    query: str = ""
    documents: Sequence[Document] = ()
    options: Options
    concurrency: int
    policy: RetryPolicy
    began: float
    started: float
    attempts: list[Attempt] = field(default_factory=list)

    def results(self, ordered: Sequence[tuple[int, float]], blank: Sequence[int]) -> Results:
        """The results in the form that the options ask for."""
        return results(
            ordered,
            blank,
            self.documents,
            top_n=self.options.top_n,
            with_documents=self.options.return_documents is not False,
        )


def _through(transport: Transport, flow: Flow[R]) -> Flow[R]:
    result: R = yield Through(transport, flow)
    return result


def _caught(flow: Flow[RerankResponse]) -> Flow[RerankResponse | RerankError]:
    try:
        return (yield from flow)
    except RerankError as error:
        return error
