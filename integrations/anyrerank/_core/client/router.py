"""`Router`: several deployments under one name, and fallbacks to other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from os import PathLike
from typing import Any, Literal, overload

from typing_extensions import Self, Unpack

from anyrerank._core.client.config_arguments import arguments_of_file
from anyrerank._core.client.connections import KeepsConnections
from anyrerank._core.client.parity import same_overloads, same_parameters
from anyrerank._core.client.routed import RoutedModel
from anyrerank._core.client.scales import mixed_scales
from anyrerank._core.client.status import DeploymentStatus, statuses
from anyrerank._core.engine import CONNECTION, Options, RouterCallKeywords, lists_options, parse_options
from anyrerank._core.http import Transport
from anyrerank._core.pricing import PriceFile, read_prices
from anyrerank._core.routing import (
    Balancer,
    Fallbacks,
    RouterSettings,
    SharedState,
    aliases_of,
    chain_of,
    chains_of,
    groups_of,
    located,
    options_of,
    rerankers_of,
    routing_state,
)
from anyrerank._core.runtime import did_you_mean
from anyrerank._core.types import Document, RerankResponse, public
from anyrerank.errors import BadRequestError, ConfigurationError, RerankError


@public("anyrerank")
class Router(KeepsConnections):
    """Several deployments under one name: load balancing, cooldowns, retries, and fallbacks to other names.

        router = Router(
            [
                {"model_name": "rerank", "litellm_params": {"model": "cohere/rerank-v3.5", "weight": 3}},
                {"model_name": "rerank", "litellm_params": {"model": "azure_ai/rerank", "api_base": "https://..."}},
                {"model_name": "spare", "litellm_params": {"model": "local/lexical"}},
            ],
            fallbacks=[{"rerank": ["spare"]}],
        )
        router.rerank("rerank", query, documents)

    Thread-safe; usable from any number of event loops. A pickle or a copy has the same deployments, and starts without
    any load or cooldown. A context manager, synchronous and asynchronous.

    Args:
        model_list: LiteLLM's: mappings with a `model_name` (several may share one), `litellm_params` (`model`,
            connection and provider options as for `Reranker`, and `weight`, `rpm`, `tpm`, `order`, `timeout`,
            `max_budget`) and `model_info` (`id`, `mode`, prices). A `model_name` and `model` of `cohere/*` stand for
            every model of Cohere; each has limits and cooldowns of its own, and they share the budget. Entries that
            are evidently not rerankers are left out, with a warning.
        routing_strategy: `"simple-shuffle"` (by weight, else rpm, else tpm), `"least-busy"`, `"latency-based-routing"`,
            `"usage-based-routing"` or `"cost-based-routing"`.
        routing_strategy_args: `ttl` (seconds for which a latency counts) and `lowest_latency_buffer`.
        fallbacks: For a name, the names to ask when it fails: `[{"name": ["other", ...]}]`, or one mapping. A price
            that a budget needs and that is not known is an error, unless another deployment of the same name has one.
        default_fallbacks: The fallbacks of names that have none.
        max_fallbacks: Maximum number of names that are asked after the first one.
        num_retries: Retries for each name: at another deployment if one is available, else at the same.
        retry_after: Minimum number of seconds to wait before a retry.
        timeout: Seconds for a whole call, over all names; each attempt gets an equal share of the remaining time.
        allowed_fails: Failures of a deployment per minute before it cools down. It cools down at once after a rate
            limit, a rejected key or model, an answer with the seconds to wait, or a failure right after a cooldown.
        cooldown_time: Seconds to cool down, unless the server reports how long to wait.
        max_wait: Maximum number of seconds that a call waits while every deployment cools down or is rate limited, or
            that a server can ask to wait before a retry; a call that would have to wait longer fails at once.
        model_group_alias: Other names: `{"alias": "name"}`; `{"alias": {"model": "name", "hidden": True}}` for one that
            `model_names` does not show.
        prices: A file in LiteLLM's format, or its content.
        http_client: An `httpx.Client` or `httpx.AsyncClient` to send with; see `Reranker`.
        state: Shares rate limits, cooldowns and budgets with the replicas of this router in other processes: an
            `anyrerank.state.RedisState`. By default this process keeps them for itself.
        options: Options of `Reranker` for every call: `hooks`, `cache`, `guardrails`, `user_budget` and so on.

    Raises:
        ConfigurationError: A wrong setting, such as an unknown strategy, a name without a deployment or a circle of
            fallbacks; or a wrong entry of `model_list`.
        BadRequestError: Unknown option, or a value that an option cannot have.
    """

    def __init__(
        self,
        model_list: Sequence[Mapping[str, Any]],
        *,
        routing_strategy: str = "simple-shuffle",
        routing_strategy_args: Mapping[str, Any] | None = None,
        fallbacks: Fallbacks | None = None,
        default_fallbacks: Sequence[str] | None = None,
        max_fallbacks: int | None = 5,
        num_retries: int | None = 2,
        retry_after: float | None = 0.0,
        timeout: float | None = 60.0,
        allowed_fails: int | None = 3,
        cooldown_time: float | None = 5.0,
        max_wait: float | None = 60.0,
        model_group_alias: Mapping[str, str | Mapping[str, Any]] | None = None,
        prices: PriceFile | None = None,
        http_client: Any = None,
        state: SharedState | None = None,
        **options: Any,
    ) -> None:
        if fixed := sorted(CONNECTION & options.keys()):
            raise BadRequestError(f"{', '.join(fixed)} cannot be set for a router: pass it in litellm_params")
        models, names = rerankers_of(
            model_list,
            {"alias": model_group_alias, "fallbacks": fallbacks or (), "default_fallbacks": default_fallbacks or ()},
        )
        settings = RouterSettings.of(
            routing_strategy=routing_strategy,
            routing_strategy_args=routing_strategy_args,
            max_fallbacks=max_fallbacks,
            num_retries=num_retries,
            retry_after=retry_after,
            allowed_fails=allowed_fails,
            cooldown_time=cooldown_time,
            max_wait=max_wait,
        )
        self._transport = Transport(http_client)
        self._groups = groups_of(models, {} if prices is None else read_prices(prices), self._transport)
        self._options = parse_options(
            Options,
            {"timeout": timeout, "max_retries": settings.num_retries, **options_of(options, self._groups.providers)},
        )
        routing = routing_state(settings, state, self._groups, self._options)
        self._balancer = Balancer(settings.rules, routing, self._transport)
        self._aliases, self._hidden = aliases_of(names["alias"], self._groups)
        self._chains = chains_of(
            self._groups, names["fallbacks"], names["default_fallbacks"], settings.max_fallbacks, self._aliases
        )
        self._check_options()
        for name in self._groups.named:
            for member in self.as_reranker(name)._members():
                member.check_options(self._options)
        members = [entry.deployment for group in self._groups for entry in group.entries]
        if warning := mixed_scales(members, self._options):
            self._balancer.warn(warning)

    @classmethod
    def from_config(cls, path: str | PathLike[str], **arguments: Any) -> Self:
        """The router that a file of LiteLLM's describes. Reading YAML needs `pip install 'anyrerank[config]'`.

        It reads `model_list`, `router_settings`, of `litellm_settings` the retries, timeouts, fallbacks, budgets,
        certificates and a cache, and of `guardrails` those with `default_on`; `os.environ/NAME` is resolved. With a
        `redis_url` or `redis_host`, processes that read the same file share rate limits, cooldowns and budgets. One
        warning names the models that are left out, because they are not for reranking or a variable is not set, another
        the settings that have no effect.

        Args:
            path: A YAML file.
            arguments: Arguments of `Router`; they replace those in the file.

        Raises:
            ConfigurationError: The file cannot be read, or something in it is wrong, or it asks for something about
                money, trust or access that is not supported. The message names the file, and the line if it is known.
        """
        given, file = arguments_of_file(path, arguments)
        try:
            return cls(**given)
        except (BadRequestError, ConfigurationError) as error:
            raise located(error, file) from None

    def __repr__(self) -> str:
        return f"Router({self._groups!r})"

    def _check_options(self) -> None:
        """Raise for an argument that neither a router nor any of its providers has."""
        known = {
            option for group in self._groups for entry in group.entries for option in entry.deployment.kind.options
        }
        unknown = sorted(self._options.provider_options.keys() - known)
        if not unknown or self._groups.wildcards or self._options.drop_params:
            return
        if not_here := [name for name in unknown if name in Options.model_fields]:
            raise BadRequestError(f"no model of this router takes {', '.join(not_here)}: remove it")
        possible = {*signature(Router).parameters, *Options.model_fields, *known}
        raise BadRequestError(f"Router has no argument {', '.join(unknown)}{did_you_mean(unknown[0], possible)}")

    @property
    def options(self) -> Options:
        """The default options of calls."""
        return self._options

    @property
    def timeout(self) -> float | None:
        """Seconds for a whole call, unless it has its own timeout."""
        return self._options.timeout

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that can be asked, except hidden aliases; `*` stands for any text."""
        shown = (alias for alias in self._aliases if alias not in self._hidden)
        return (*self._groups.named, *self._groups.wildcards, *shown)

    def as_reranker(self, model: str | None = None, fallbacks: Sequence[str] | None = None) -> RoutedModel:
        """One of the names as a reranker, for example for `anyrerank.langchain` and `anyrerank.llama_index`.

        Args:
            model: A name; `None` for the only one that is not a fallback of another.
            fallbacks: Names to ask when it fails, instead of its own.

        Raises:
            BadRequestError: There is no such name, or several could be meant.
        """
        return self._model(self._name_of(model), None if fallbacks is None else map(self._name_of, fallbacks))

    def _name_of(self, model: object) -> str:
        if model is None:
            spares = {spare for chain in self._chains.values() for spare in chain}
            firsts = [name for name in self._groups.named if name not in spares]
            if len(firsts) == 1:
                return firsts[0]
            raise BadRequestError(f"model must be one of {', '.join(self.model_names)}, got None")
        name = self._aliases.get(model, model) if isinstance(model, str) else None
        if name is None or self._groups.find(name) is None:
            raise BadRequestError(f"this router has no model {str(model)[:80]!r}; it has {', '.join(self.model_names)}")
        return name

    @lists_options(Options)
    def rerank(
        self, model: str, query: str, documents: Sequence[Document], **overrides: Unpack[RouterCallKeywords]
    ) -> RerankResponse:
        """Rank `documents` by their relevance to `query`.

        Args:
            model: One of the names.
            query: Must not be blank.
            documents: Strings, or mappings with a `text`. Without documents nothing is sent.
            fallbacks: Names that replace the router's fallbacks.
            {options}

        Raises:
            BadRequestError: The call is wrong, or there is no such name. Nothing was sent, unless the error has a
                status.
            FallbackError: Several deployments failed; it contains every error and every attempt.
            RerankError: The only deployment that was asked failed.
        """
        routed, options = self._routed(model, overrides)
        return routed.rerank(query, documents, **options)

    @same_parameters(rerank)
    async def arerank(self, model: str, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        routed, options = self._routed(model, overrides)
        return await routed.arerank(query, documents, **options)

    @overload
    def rerank_many(
        self,
        model: str,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: Literal[False] = False,
        **overrides: Unpack[RouterCallKeywords],
    ) -> list[RerankResponse]: ...

    @overload
    def rerank_many(
        self,
        model: str,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool,
        **overrides: Unpack[RouterCallKeywords],
    ) -> list[RerankResponse | RerankError]: ...

    @lists_options(Options)
    def rerank_many(
        self,
        model: str,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Unpack[RouterCallKeywords],
    ) -> list[RerankResponse] | list[RerankResponse | RerankError]:
        """`Reranker.rerank_many` for one of the names.

        Args:
            model: One of the names.
            queries, documents, progress, return_exceptions: As for `Reranker.rerank_many`.
            fallbacks: Names that replace the router's fallbacks.
            {options}
        """
        routed, options = self._routed(model, overrides)
        return routed.rerank_many(queries, documents, progress=progress, return_exceptions=return_exceptions, **options)

    @overload
    async def arerank_many(
        self,
        model: str,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: Literal[False] = False,
        **overrides: Unpack[RouterCallKeywords],
    ) -> list[RerankResponse]: ...

    @overload
    async def arerank_many(
        self,
        model: str,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool,
        **overrides: Unpack[RouterCallKeywords],
    ) -> list[RerankResponse | RerankError]: ...

    @same_overloads(rerank_many)
    async def arerank_many(
        self,
        model: str,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Any,
    ) -> list[RerankResponse] | list[RerankResponse | RerankError]:
        routed, options = self._routed(model, overrides)
        return await routed.arerank_many(
            queries, documents, progress=progress, return_exceptions=return_exceptions, **options
        )

    def deployment_status(self) -> list[DeploymentStatus]:
        """The status of each deployment."""
        return statuses(self._groups, self._balancer)

    def _routed(self, model: str, overrides: Mapping[str, Any]) -> tuple[RoutedModel, dict[str, Any]]:
        """One of the names with the fallbacks of this call, and the other options of the call."""
        options, name = dict(overrides), self._name_of(model)
        if "fallbacks" not in options:
            return self._model(name), options
        names = options.pop("fallbacks") or ()
        if not isinstance(names, list | tuple):
            raise BadRequestError(f"fallbacks must be a list of names, or None, got {type(names).__name__}")
        return self._model(name, map(self._name_of, names)), options

    def _model(self, name: str, fallbacks: Iterable[str] | None = None) -> RoutedModel:
        """A name with its fallbacks, or with those given."""
        others = chain_of(name, self._groups, self._chains) if fallbacks is None else fallbacks
        asked = [group for each in (name, *others) if (group := self._groups.find(each)) is not None]
        return RoutedModel(name, asked, self._balancer, self._options, self._transport)
