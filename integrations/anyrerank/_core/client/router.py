"""`Router`: several deployments under one name, and what is asked when they fail."""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import Self

from anyrerank._core.client.base import BaseReranker, KeepsConnections, same_parameters
from anyrerank._core.engine import CONNECTION, Call, Candidates, Deployment, Options, RetryPolicy, options_of
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Price, PriceFile, read
from anyrerank._core.routing import (
    STRATEGIES,
    Balancer,
    Cooldowns,
    Entry,
    Fallbacks,
    Located,
    Rules,
    Standing,
    chains,
    entry_of,
    router_arguments,
)
from anyrerank._core.runtime import Flow, is_number
from anyrerank._core.types import Answer, Document, RerankResponse, public
from anyrerank.errors import BadRequestError, ConfigurationError, RerankError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


def _chance() -> float:
    """`random.random`, which as it is would be pickled with its state: every copy would choose the same."""
    return random.random()  # noqa: S311


@public("anyrerank")
class Router(KeepsConnections):
    """Several deployments under one name: load balancing, cooldowns, retries elsewhere, and fallbacks to other names.

        router = Router(
            [
                {"model_name": "rerank", "litellm_params": {"model": "cohere/rerank-v3.5", "weight": 3}},
                {"model_name": "rerank", "litellm_params": {"model": "azure_ai/rerank", "api_base": "https://..."}},
                {"model_name": "spare", "litellm_params": {"model": "local/lexical"}},
            ],
            fallbacks=[{"rerank": ["spare"]}],
        )
        router.rerank("rerank", query, documents)

    Safe for threads and for any number of event loops. A pickle or a copy has the same deployments, and knows nothing
    of how they are doing. A context manager in both colours.

    Args:
        model_list: LiteLLM's: mappings with a `model_name` (several may share one), `litellm_params` (`model`, what
            `Reranker` takes for a connection, the provider's own options, and `weight`, `rpm`, `tpm`, `order`,
            `timeout`, `budget`) and `model_info` (`id`, prices).
        routing_strategy: `"simple-shuffle"` (by weight, else rpm, else tpm), `"least-busy"`, `"latency-based-routing"`,
            `"usage-based-routing"` or `"cost-based-routing"`.
        routing_strategy_args: `ttl` (seconds for which a latency counts) and `lowest_latency_buffer`.
        fallbacks: For a name, those that are asked when it fails: `[{"name": ["other", ...]}]`, or one mapping.
        default_fallbacks: Those of a name that has none.
        max_fallbacks: Most names that are asked after the first.
        num_retries: Tries after the first one for each name: at another deployment if there is one, else at the same.
            What could not be sent, as for want of a key, is no try.
        retry_after: Seconds to wait, at least, before another try.
        timeout: Seconds for a whole call, over all names; each try has a fair share of what is left.
        allowed_fails: Failures of a deployment in a minute before it cools down. A rate limit, a refused key or model,
            and a server that says how long to wait, do not wait for that; nor does one that just cooled down.
        cooldown_time: Seconds to cool down, where the server does not ask for a time.
        model_group_alias: Other names: `{"alias": "name"}`.
        prices: A file in LiteLLM's format, or what it holds.
        http_client: An `httpx.Client` or `httpx.AsyncClient` to use as it is for calls of its colour.
        clock, chance: `time.monotonic`, which the times of requests are held to, or a clock ahead of it; and a number
            from 0 to just under 1. For tests.
        options: Options of `Reranker` for every call: `hooks`, `cache`, `guardrails`, `user_budget`, and so on.

    Raises:
        ConfigurationError: An unknown strategy, a name without a deployment, a fallback to itself or in a circle, or an
            entry that says what no deployment can be.
        BadRequestError: An option that does not exist, or a value it cannot have.
    """

    def __init__(
        self,
        model_list: Sequence[Mapping[str, Any]],
        *,
        routing_strategy: str = "simple-shuffle",
        routing_strategy_args: Mapping[str, Any] | None = None,
        fallbacks: Fallbacks | None = None,
        default_fallbacks: Sequence[str] | None = None,
        max_fallbacks: int = 5,
        num_retries: int = 2,
        retry_after: float = 0.0,
        timeout: float | None = 60.0,
        allowed_fails: int = 3,
        cooldown_time: float = 5.0,
        model_group_alias: Mapping[str, str] | None = None,
        prices: PriceFile | None = None,
        http_client: httpx.Client | httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = _chance,
        **options: Any,
    ) -> None:
        if fixed := sorted(CONNECTION & options.keys()):
            raise BadRequestError(f"{', '.join(fixed)}: said in the litellm_params of a deployment, not of a router")
        if type(num_retries) is not int or num_retries < 0:
            raise BadRequestError("num_retries is an integer of at least 0")
        arguments = _mapping("routing_strategy_args", routing_strategy_args)
        rules = Rules(
            strategy=_one_of("routing_strategy", routing_strategy, STRATEGIES),
            counts_tokens=routing_strategy.startswith("usage"),
            ttl=_at_least_0("ttl", arguments.get("ttl", 3600.0)),
            buffer=_at_least_0("lowest_latency_buffer", arguments.get("lowest_latency_buffer", 0.0)),
            retry_after=_at_least_0("retry_after", retry_after),
            cooldowns=Cooldowns(
                allowed_fails=int(_at_least_0("allowed_fails", allowed_fails)),
                cooldown_time=_at_least_0("cooldown_time", cooldown_time),
            ),
            clock=clock,
            chance=chance,
        )
        self._options = options_of({"timeout": timeout, "max_retries": num_retries, **options})
        self._transport = Transport(http_client)
        self._groups = _grouped(model_list, {} if prices is None else read(prices), self._transport)
        self._balancer = Balancer(rules, [entry for entries in self._groups.values() for entry in entries])
        most = int(_at_least_0("max_fallbacks", max_fallbacks))
        self._aliases = dict(_mapping("model_group_alias", model_group_alias))
        for alias, name in self._aliases.items():
            _one_of(f"model_group_alias of {alias}", name, self._groups)
            if alias in self._groups:
                raise ConfigurationError(f"model_group_alias: {alias} is the name of a deployment")
        if not isinstance(default_fallbacks or [], list | tuple):
            raise ConfigurationError("default_fallbacks is a list of names")
        self._chains = chains(self._groups, fallbacks or (), default_fallbacks or (), most, self._aliases)
        for name in self._groups:
            for member in self.named(name)._members():
                member.own_extra(self._options)

    @classmethod
    def from_config(cls, path: str | PathLike[str], **arguments: Any) -> Self:
        """The router that a configuration file of LiteLLM's describes (`pip install 'anyrerank[config]'` reads YAML).

        Of the file, `model_list`, `router_settings` and what `litellm_settings` says of retries, time-outs and
        fallbacks are read; `os.environ/NAME` is what the environment holds. Models that are not for reranking are left
        out, with one warning.

        Args:
            path: A YAML file.
            arguments: Of `Router`; they win over the file.

        Raises:
            ConfigurationError: The file cannot be read or says what no router can be; with its name, and the line of an
                entry.
        """
        given = router_arguments(path)
        try:
            return cls(**{**given, **arguments})
        except (BadRequestError, ConfigurationError) as error:
            if error.message.startswith(str(Path(path))):
                raise
            raise ConfigurationError(f"{Path(path)}: {error.message}") from None

    def __repr__(self) -> str:
        return f"Router({', '.join(f'{name}: {len(entries)}' for name, entries in self._groups.items())})"

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that can be asked."""
        return (*self._groups, *self._aliases)

    def named(self, model: str | None = None) -> RoutedModel:
        """One of the names as a reranker; for `anyrerank.langchain` and `anyrerank.llama_index`, and for its own sake.

        Args:
            model: A name, or `None` for the only one that is no other's fallback.

        Raises:
            BadRequestError: There is no such name, or no telling which is meant.
        """
        if model is None:
            spares = {spare for chain in self._chains.values() for spare in chain}
            firsts = [name for name in self._groups if name not in spares]
            if len(firsts) != 1:
                raise BadRequestError(f"which model? this router has {', '.join(self.model_names)}")
            model = firsts[0]
        name = self._aliases.get(model, model) if isinstance(model, str) else None  # type: ignore[redundant-expr]
        if name not in self._groups:
            raise BadRequestError(f"this router has no model {model!r}; it has {', '.join(self.model_names)}")
        return RoutedModel(self, name)

    def rerank(self, model: str, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        """Rank `documents` by how well each answers `query`.

        Args:
            model: One of the names.
            query: Not blank.
            documents: Strings, or mappings with a `text`. An empty list gives an empty response and no request.
            overrides: Any option of `Reranker` for this call alone, save for the connection; and `fallbacks`, names
                that take the place of the router's.

        Raises:
            BadRequestError: The call is wrong, or there is no such name; nothing was sent, unless the error has a
                status.
            FallbackError: All that was tried failed; it holds every error and every attempt.
            RerankError: The one try there was failed.
        """
        return self._asking(model, overrides).rerank(query, documents, **overrides)

    @same_parameters(rerank)
    async def arerank(self, model: str, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        return await self._asking(model, overrides).arerank(query, documents, **overrides)

    def rerank_many(
        self, model: str, queries: Sequence[str], documents: Sequence[Sequence[Document]], **overrides: Any
    ) -> list[RerankResponse | RerankError]:
        """`Reranker.rerank_many`, for one of the names."""
        return self._asking(model, overrides).rerank_many(queries, documents, **overrides)

    @same_parameters(rerank_many)
    async def arerank_many(
        self, model: str, queries: Sequence[str], documents: Sequence[Sequence[Document]], **overrides: Any
    ) -> list[RerankResponse | RerankError]:
        return await self._asking(model, overrides).arerank_many(queries, documents, **overrides)

    def standings(self) -> list[Standing]:
        """How each deployment is doing."""
        return [self._balancer.standing(entry) for entries in self._groups.values() for entry in entries]

    def _asking(self, model: str, overrides: dict[str, Any]) -> RoutedModel:
        """One of the names, with the fallbacks of this call."""
        routed = self.named(model)
        if "fallbacks" in overrides:
            names = overrides.pop("fallbacks") or ()
            if not isinstance(names, list | tuple):
                raise BadRequestError("fallbacks is a list of names, or None")
            routed._chain = tuple(self.named(name)._name for name in names)
        return routed


class RoutedModel(BaseReranker):
    """One name of a router, with everything that a `Reranker` can do."""

    _made_as = "Router"

    def __init__(self, router: Router, name: str) -> None:
        self._router = router
        self._name = name
        self._chain = router._chains[name]
        self._options = router._options
        self._transport = router._transport
        self._model_group = name
        first = self._members()[0]
        self.provider, self.model = first.provider, first.model

    def __repr__(self) -> str:
        return f"RoutedModel({self._name!r})"

    @property
    def deployment(self) -> str:
        """The name, under which a router knows several."""
        return self._name

    def check(self) -> None:
        """Raise what keeps every deployment of the name from being asked."""
        errors = [error for entry in self._names()[0] if (error := entry.deployment.fault()) is not None]
        if len(errors) == len(self._names()[0]):
            raise errors[0]

    def _names(self) -> list[tuple[Entry, ...]]:
        return [self._router._groups[name] for name in (self._name, *self._chain)]

    def _members(self) -> Sequence[Deployment]:
        return [entry.deployment for entries in self._names() for entry in entries]

    def _fixed(self) -> frozenset[str]:
        return CONNECTION

    def _policy(self, options: Options) -> RetryPolicy:
        rules = self._router._balancer.rules
        return RetryPolicy(max_retries=options.max_retries, clock=rules.clock, chance=rules.chance)

    def _chosen(self, call: Call, kept: Candidates) -> Flow[tuple[Deployment, Answer]]:
        return (yield from self._router._balancer.scores(call, kept, self._names(), self._transport))


def _grouped(
    model_list: Sequence[Mapping[str, Any]], prices: Mapping[str, Price], transport: Transport
) -> dict[str, tuple[Entry, ...]]:
    """The deployments by their names."""
    if not isinstance(model_list, list | tuple) or not model_list:
        raise ConfigurationError("model_list is a list of at least one deployment")
    groups: dict[str, tuple[Entry, ...]] = {}
    ids: set[str] = set()
    for place, given in enumerate(each if isinstance(each, Mapping) else {} for each in model_list):
        where = given.where if isinstance(given, Located) else f"model_list[{place}]"
        number = len(groups.get(str(given.get("model_name")), ())) + 1
        entry = entry_of(given, where, f"{given.get('model_name')}-{number}", prices, transport)
        if entry.deployment.model_id in ids:
            raise ConfigurationError(f"{where} ({entry.model_name}): the id {entry.deployment.model_id} is taken")
        ids.add(str(entry.deployment.model_id))
        groups[entry.model_name] = (*groups.get(entry.model_name, ()), entry)
    return groups


def _one_of(what: str, name: object, known: Mapping[str, T]) -> T:
    if not isinstance(name, str):
        raise ConfigurationError(f"{what} is one of {', '.join(known)}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"{what}: there is no {name!r}{hint}; there are {', '.join(known)}")
    return known[name]


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} is a mapping")
    return value or {}


def _at_least_0(name: str, value: object) -> float:
    if not (is_number(value) and value >= 0):
        raise ConfigurationError(f"{name} is a number of at least 0")
    return value
