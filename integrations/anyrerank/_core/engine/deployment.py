"""One model at one provider: its connection, what it takes, and what its answers cost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from anyrerank._core.engine.batching import Candidates, batched
from anyrerank._core.engine.call import Call
from anyrerank._core.engine.environment import connect, provider_class, split_model
from anyrerank._core.engine.options import Options, identity, provider_options
from anyrerank._core.engine.ranking import check_score_mode
from anyrerank._core.engine.retry import RetryPolicy, retried, within
from anyrerank._core.engine.score_cache import callwise, pairwise, seed_of
from anyrerank._core.http import Transport
from anyrerank._core.pricing import FREE, Price, Spending, Spent, charged, estimated, listed, spent, total
from anyrerank._core.runtime import Flow, Through
from anyrerank._core.types import Answer, RerankRequest, Scale
from anyrerank.errors import RerankError
from anyrerank.providers import Provider, dollars

R = TypeVar("R")

_SECONDS_TO_LEARN = 5.0
"""How long a server may take to say what it accepts, before the usual is assumed."""


class Deployment:
    """One model at one provider. Making one sends nothing and needs no key.

    Args:
        model, custom_llm_provider, api_key, api_base, headers: As for `anyrerank.Reranker`.
        settings: Those of the provider's `settings` that the caller gave.
        price: The caller's own; empty when there is none.
        prices: The caller's, by `provider/model`; they win over the list.
        transport: What its requests go through.
        own: Options that it has for itself, instead of those of the call: what its provider alone has, `extra_body` and
            `guardrails`.
        defaults, default_body: Options of the provider's own, and `extra_body`, where the call does not say otherwise.
        model_id: Its name in a router's `model_list`.

    Raises:
        ConfigurationError: Unknown provider.
    """

    def __init__(
        self,
        model: str,
        *,
        custom_llm_provider: str | type[Provider] | None = None,
        api_key: str | None = None,
        api_base: str | None = None,
        headers: Mapping[str, str] | None = None,
        settings: Mapping[str, Any],
        price: Price,
        prices: Mapping[str, Price],
        transport: Transport,
        own: Options | None = None,
        defaults: Mapping[str, Any] | None = None,
        default_body: Mapping[str, Any] | None = None,
        model_id: str | None = None,
    ) -> None:
        self.provider, self.model = split_model(model, custom_llm_provider)
        self.kind = provider_class(model, custom_llm_provider)
        self.transport = transport
        self.own = own
        self.model_id = model_id
        self._defaults = defaults or {}
        self._default_body = default_body or {}
        self._connection: dict[str, Any] = {
            "custom_llm_provider": self.kind,
            "api_key": api_key,
            "api_base": api_base,
            "headers": headers,
            "settings": settings,
        }
        self._price = price
        self._prices = prices
        self._connected: Provider | None = None
        self.fault()

    def __repr__(self) -> str:
        return f"Deployment({self.name!r})"

    @property
    def name(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def accepts_images(self) -> bool:
        """Whether a document may be a mapping with an `image`."""
        return self.kind.reads_images(self.model)

    def beside(self, model: str) -> Deployment:
        """`model` on this connection if it is the same provider's, else on the one that the environment holds."""
        same = split_model(model)[0] == self.provider
        connection = self._connection if same else {"settings": {}}
        return Deployment(model, **connection, price=Price(), prices=self._prices, transport=self.transport)

    def owning(self, own: Options) -> Deployment:
        """This deployment with options of its own, unless it has some."""
        if self.own is not None:
            return self
        other = copy.copy(self)
        other.own = own
        return other

    def connected(self) -> Provider:
        """The provider with key and base URL; tried when this is made, and again at each call until they are there."""
        if self._connected is None:
            provider = connect(self.name, **self._connection)
            provider.check()
            self._connected = provider
        return self._connected

    def fault(self) -> RerankError | None:
        """What keeps it from being asked: a missing key, a missing or malformed base URL; `None` when nothing does."""
        try:
            self.connected()
        except RerankError as error:
            return error
        return None

    def identity(self, options: Options) -> tuple[object, ...]:
        """All that its scores depend on besides query and documents."""
        known = self.name if self.fault() is not None else self.connected().identity
        return known, sorted(self.own_extra(options).items()), self._extra_body(options)

    def _extra_body(self, options: Options) -> Mapping[str, Any]:
        return (self.own or options).extra_body or self._default_body

    def own_extra(self, options: Options) -> dict[str, Any]:
        """The provider's own options: those of the call, unless it has its own."""
        extra = {**self._defaults, **options.extra} if self.own is None else self.own.extra
        return provider_options(extra, self.kind, drop_params=options.drop_params)

    def scale(self, options: Options) -> Scale:
        """What the scores mean, where it is asked for."""
        wanted = options.score_mode == "unit"
        return self.connected().score_scale(self.own_extra(options)) if wanted else self.kind.scale

    def fuse(self, options: Options) -> str | None:
        """How the order of its scores is fused with the incoming one, if it is."""
        return self.kind.pipeline_fuse if options.fuse == "auto" else options.fuse

    def usual_size(self, options: Options) -> int | None:
        """How many documents a request may hold, as far as that is known without asking; `None` for any number."""
        if options.batch_size is not None or self.fault() is not None:
            return options.batch_size
        return self.connected().max_documents(self.own_extra(options))

    def through(self, flow: Flow[R], transport: Transport) -> Flow[R]:
        """`flow` with its requests on the connections of this deployment, in a call that uses those of `transport`."""
        if self.transport is transport:
            return (yield from flow)
        result: R = yield Through(self.transport, flow)
        return result

    def ask(
        self, call: Call, query: str, kept: Candidates, *, deadline: float | None, policy: RetryPolicy
    ) -> Flow[Answer]:
        """The scores of this model, whatever number of requests they need.

        Args:
            query: As the guardrails left it.
            deadline: When it must be over, by the clock of `policy`.
            policy: For each request.
        """
        provider, options = self.connected(), call.options
        extra = self.own_extra(options)
        check_score_mode(options.score_mode, provider.score_scale(extra), provider.deployment)
        count = len(kept.documents)
        request = RerankRequest(
            query=query,
            documents=kept.documents,
            top_n=None if options.top_n is None or self.fuse(options) else min(options.top_n, count),
            rank_fields=options.rank_fields,
            options=extra,
            extra_body=self._extra_body(options),
        )
        if unsupported := provider.unsupported_document(request):
            raise provider.bad_request(f"documents[{kept.place(unsupported[0])}] {unsupported[1]}")
        send = partial(self._sent, call, provider, deadline=deadline, policy=policy)
        if options.cache is None:
            return (yield from send(request, place=kept.place))

        def sent(places: Sequence[int]) -> Flow[tuple[Answer, float | None]]:
            before = len(call.attempts)
            documents = [request.documents[place] for place in places]
            part = replace(request, documents=documents, top_n=None)
            answer = yield from send(part, place=lambda index: kept.place(places[index]))
            return answer, total(call.attempts[before:])

        answer, call.saved = yield from (callwise if provider.ranks_together else pairwise)(
            [identity(each, request.rank_fields, whole=provider.sends_mappings) for each in request.documents],
            sent,
            cache=options.cache,
            seed=seed_of(request, *provider.identity, options.batch_size, options.allow_split),
            deadline=deadline,
        )
        return answer

    def _sent(
        self,
        call: Call,
        provider: Provider,
        request: RerankRequest,
        *,
        place: Callable[[int], int],
        deadline: float | None,
        policy: RetryPolicy,
    ) -> Flow[Answer]:
        """What the provider says of `request`, split where it must be; `place` is where a document was the caller's."""
        options, count = call.options, len(request.documents)
        size = options.batch_size
        if size is None:
            soon = policy.clock() + _SECONDS_TO_LEARN
            learning = provider.fetch_max_documents(count, request.options)
            size = yield from within(learning, soon if deadline is None else min(deadline, soon), policy.clock)
        starts = provider.batch_starts(request, size or count)
        may_split = options.allow_split or not provider.ranks_together
        if len(starts) > 1 and not may_split:
            raise provider.bad_request(
                f"{provider.deployment} ranks all documents of a call together, and {count} do not fit into one "
                "request: send fewer, or pass allow_split=True and accept scores that depend on the split"
            )

        def ask(part: RerankRequest) -> Flow[Answer]:
            tries = retried(
                lambda: provider.flow(part),
                policy,
                deployment=provider.deployment,
                model_id=self.model_id,
                deadline=deadline,
                attempts=call.attempts,
                price=lambda answer: self._spent(provider, answer, len(part.documents)),
            )
            return tries if len(starts) == 1 else call.followed(part, tries)

        flow = batched(ask, request, starts=starts, limit=call.concurrency, place=place, may_split=may_split)
        own = [] if self.own is None else replace(self.own, user=options.user).budgets
        budgets = [*options.budgets, *own]
        if not budgets:
            return (yield from flow)
        spending = Spending.of(budgets, self.estimate(request, starts))
        return (yield from charged(flow, spending.settle, call.attempts, call.under_way, self.estimate))

    def _spent(self, provider: Provider, answer: Answer | None, documents: int) -> Spent:
        """What an answer cost: by the caller's prices, else as the provider says, else by the list."""
        price = self._own_price(provider)
        if price is None and answer is not None and (said := dollars(answer.cost)) is not None:
            return Spent(said)
        return spent(price or listed(provider.price_names), answer.meta if answer else None, documents)

    def _own_price(self, provider: Provider) -> Price | None:
        """The price that the caller gave, or that of what costs nothing."""
        if provider.free and not self._price:
            return FREE
        named = (self._prices.get(name.casefold()) for name in provider.price_names)
        return self._price or next(filter(None, named), None)

    def price(self) -> Price | None:
        """The price of this model, or `None` when it is not known."""
        provider = self.connected()
        return self._own_price(provider) or listed(provider.price_names)

    def estimate(self, request: RerankRequest, starts: Sequence[int] = (0,)) -> float:
        """About how many US dollars it costs to rank documents here, for a budget; see `prices.estimated`.

        Raises:
            ConfigurationError: The price is not known.
        """
        cost = estimated(self.price(), request.query, request.documents, request.rank_fields, starts=starts)
        if cost is None:
            raise self.connected().configuration_error(
                f"a budget needs a price, and that of {self.name} is not known: give input_cost_per_query= or "
                "input_cost_per_token= (0 if it costs nothing), or prices="
            )
        return cost
