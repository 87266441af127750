"""`Reranker`: one model and its fallbacks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import SecretStr
from typing_extensions import Unpack

from anyrerank._core.client.base import BaseReranker
from anyrerank._core.client.scales import mixed_scales
from anyrerank._core.engine import (
    CONNECTION,
    Call,
    CallKeywords,
    ConnectionKeywords,
    Deployment,
    Options,
    RerankerOptions,
    RetryPolicy,
    Slots,
    ask,
    lists_options,
    parse_options,
    provider_class,
)
from anyrerank._core.http import Tls, Transport
from anyrerank._core.pricing import Price, read_prices
from anyrerank._core.routing import STRATEGIES, Balancer, Cooldowns, Entry, Group, MemoryState, Rules
from anyrerank._core.runtime import Flow, Scope
from anyrerank._core.types import Answer, public
from anyrerank.errors import BadRequestError
from anyrerank.providers import Provider


class RerankerKeywords(CallKeywords, ConnectionKeywords, total=False):
    """Options of `Reranker`."""

    fallbacks: Sequence[str | Reranker]


@public("anyrerank")
class Reranker(BaseReranker):
    """A reusable reranker, whose connections stay open between calls.

    It is thread-safe, can be used on several event loops, and survives `pickle`, `deepcopy` and `fork`. The
    constructor sends nothing and needs no key. The synchronous methods do not start an event loop, so they work inside
    a running one, as in Jupyter. Use it as a context manager, synchronous or asynchronous, to close the connections.
    """

    @lists_options(RerankerOptions)
    def __init__(
        self,
        model: str,
        *,
        custom_llm_provider: str | type[Provider] | None = None,
        **options: Unpack[RerankerKeywords],
    ) -> None:
        """A call can override every option except those of the connection.

        Args:
            model: `provider/model` or `provider:model`, or the model alone with `custom_llm_provider`.
            custom_llm_provider: The provider, if `model` does not name it, or your own `Provider` class.
            {options}

        Raises:
            ConfigurationError: Unknown provider.
            BadRequestError: Unknown option, or an invalid value.
        """
        self._given: dict[str, Any] = {"model": model, "custom_llm_provider": custom_llm_provider, **options}
        self._make(self._given)

    @classmethod
    def _for_one_call(cls, given: Mapping[str, Any], transport: Transport) -> Reranker:
        """A reranker that shares its connections, and the limit of concurrent requests, with other calls."""
        made = object.__new__(cls)
        made._make(given, transport if given.get("http_client") is None else None, slots_of=_shared_slots)
        return made

    def _make(
        self,
        given: Mapping[str, Any],
        transport: Transport | None = None,
        slots_of: Callable[[str, str | None, int | None], Slots | None] = lambda _model, _base, n: Slots.of(n),
    ) -> None:
        options = dict(given)
        model, custom_llm_provider = options.pop("model"), options.pop("custom_llm_provider")
        kind = provider_class(model, custom_llm_provider)
        settings = {name: options.pop(name) for name in kind.settings.keys() & options.keys()}
        checked = parse_options(RerankerOptions, options)
        self._options = Options.model_construct(
            checked.model_fields_set & Options.model_fields.keys(),
            **{name: getattr(checked, name) for name in Options.model_fields},
        )
        self._transport = transport or Transport(checked.http_client)
        self._first = Deployment(
            model,
            custom_llm_provider=kind if custom_llm_provider else None,
            api_key=_plain(checked.api_key),
            api_base=checked.api_base,
            headers=checked.headers,
            settings=settings,
            price=Price(per_query=checked.input_cost_per_query, per_token=checked.input_cost_per_token),
            prices={} if checked.prices is None else read_prices(checked.prices),
            sender=self._transport.with_tls(Tls.from_options(checked.ssl_verify, checked.ssl_certificate)),
            slots=slots_of(f"{kind.prefix}/{model}", checked.api_base, checked.max_parallel_requests),
        )
        self.provider, self.model = self._first.provider, self._first.model
        self._fallbacks = tuple(member for other in checked.fallbacks for member in self._fallback(other))
        self._groups = tuple(
            Group(member.name, (Entry(id=str(number), deployment=member),))
            for number, member in enumerate(self._members())
        )
        self._balancer = Balancer(
            Rules(strategy=STRATEGIES["simple-shuffle"]), MemoryState(Cooldowns()), self._transport
        )
        for member in self._members():
            member.check_options(self._options)
        if warning := mixed_scales(self._members(), self._options):
            self._balancer.warn(warning)
        if self._options.shared_budgets or self._options.user_budget:
            self._warn_of_unknown_prices()

    def __repr__(self) -> str:
        return f"Reranker({self.deployment!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _MADE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._make(self._given)

    def __deepcopy__(self, memo: dict[int, Any]) -> Reranker:
        client = self._given.get("http_client")
        memo[id(client)] = client  # which cannot be copied
        other = object.__new__(type(self))
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other

    def _fallback(self, other: str | Reranker) -> tuple[Deployment, ...]:
        """The deployments of a fallback; a `Reranker` brings its options and its own fallbacks."""
        if isinstance(other, Reranker):
            return tuple(member.with_own(other._options) for member in other._members())
        if not isinstance(other, str):
            raise BadRequestError(
                f"fallbacks must be a list of model strings and Rerankers, got {type(other).__name__}"
            )
        return (self._first.sibling(other, self._transport),)

    def _warn_of_unknown_prices(self) -> None:
        """Log the fallbacks that a budget will refuse."""
        for member in self._fallbacks:
            if not member.may_have_price():
                self._balancer.warn(
                    f"the budget will refuse the fallback {member.name}, whose price is not known: pass prices=, or in "
                    "fallbacks a Reranker with input_cost_per_query= or input_cost_per_token= (0 if it is free)"
                )

    def _members(self) -> tuple[Deployment, ...]:
        return (self._first, *self._fallbacks)

    def _fixed(self) -> frozenset[str]:
        return CONNECTION | self._first.kind.settings.keys()

    def _choose(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        if self._fallbacks:
            return self._balancer.choose(call, self._groups)
        return self._only(call)

    def _only(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        """The answer of the only model."""
        flow = ask(call, self._first, call.query, RetryPolicy(max_retries=call.options.max_retries))
        sender = self._first.sender
        answer: Answer = (yield from flow) if sender is self._transport else (yield Scope(flow, sender=sender))
        return self._first, answer


@lru_cache(maxsize=1024)
def _shared_slots(_model: str, _base: str | None, n: int | None) -> Slots | None:
    """The slots of one model at one address, for calls that have no `Reranker` in common."""
    return Slots.of(n)


_MADE = frozenset({"provider", "model", "_options", "_transport", "_first", "_fallbacks", "_groups", "_balancer"})
"""Attributes that `_make` sets; a copy or an unpickled reranker sets its own."""


def _plain(key: SecretStr | str | None) -> str | None:
    return key.get_secret_value() if isinstance(key, SecretStr) else key
