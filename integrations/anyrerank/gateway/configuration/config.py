"""The configuration of a gateway, from a file or from names of models, and the service that it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from anyrerank._core.client import Router, continue_routing
from anyrerank._core.routing import LeftOut, Located, NamedGuardrail, full_name, located, none_found, read_config
from anyrerank._core.runtime import environment_variable
from anyrerank.cache import Cache, MemoryCache, RedisCache
from anyrerank.errors import BadRequestError, ConfigurationError, StateUnavailableError
from anyrerank.gateway.advice import for_operator
from anyrerank.gateway.configuration.callbacks import hooks_of, without_honoured
from anyrerank.gateway.configuration.general_settings import honoured, may_be_ignored, refuse_wrong_names
from anyrerank.gateway.keys import Keyring, all_budgets, parts_of, restore
from anyrerank.gateway.rerank import Absent, MasterKey, Open, Service, isolation_of
from anyrerank.gateway.settings import GatewaySettings, settings_of
from anyrerank.state import RedisState

_DEFAULTS = {"drop_params": True}
"""Options of the router that differ in a gateway: some clients always send options that most vendors lack."""


_JSON_LOGS = "litellm_settings.json_logs"
"""It turns on the access log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A checked configuration.

    Attributes:
        router: Arguments of `anyrerank.Router`.
        settings: Those of the gateway.
        left_out: Entries of `model_list` that are not served.
        ignored: Names of settings that have no effect.
        names: All names in the file, in its order; none without a file.
        fallbacks: For names without a deployment, the names to ask in their place.
        guardrails: All guardrails; `router` has those that are on by default.
    """

    router: Mapping[str, Any] = field(repr=False)
    settings: GatewaySettings
    left_out: tuple[LeftOut, ...] = ()
    ignored: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guardrails: tuple[NamedGuardrail, ...] = ()

    def with_settings(self, given: Mapping[str, str | None]) -> GatewayConfig:
        """The same configuration with other settings of the gateway, where they are given.

        Raises:
            ConfigurationError: One has an invalid value.
        """
        own = {name: value for name, value in given.items() if value is not None}
        return replace(self, settings=settings_of({**dict(self.settings), **own}, "the command line")) if own else self

    @property
    def unavailable(self) -> dict[str, str]:
        """Names that are not served because a variable is not set, and what to do about it."""
        served = {each["model_name"] for each in self.router["model_list"]}
        return {
            each.name: f"the model {each.name} is not available: the gateway has no value for {each.variable}"
            for each in self.left_out
            if each.variable is not None and each.name not in served
        }

    @property
    def absent(self) -> Absent:
        """The models of the file that are not served."""
        unavailable = self.unavailable
        most = self.router.get("max_fallbacks")
        return Absent(
            unavailable=unavailable,
            spares={name: names[:most] for name, names in self.fallbacks.items() if name in unavailable},
            reasons={each.name: each.reason for each in self.left_out},
            names=self.names,
        )


def config_of_file(path: str | PathLike[str]) -> GatewayConfig:
    """The configuration in a file of LiteLLM's.

    Raises:
        ConfigurationError: The file cannot be read, or something in it is wrong or not supported. The message begins
            with the file, and names the line where it is known.
    """
    file = read_config(path)
    try:
        of_unset = (name.partition(".") for name in file.unset)
        refuse_wrong_names([*file.general, *(name for section, _, name in of_unset if section == "general_settings")])
        for name, unset in file.unset.items():
            if not may_be_ignored(name):
                raise unset.error()
        if not file.router["model_list"]:
            raise none_found(file.left_out)
        given, ignored = honoured(file.general)
        if file.litellm.get("json_logs"):
            given["access_log"] = True
        if file.redis_url is not None:
            given["redis_url"] = file.redis_url
        settings = settings_of({**_from_environment(), **given, **file.own}, "anyrerank_settings")
        hooks = hooks_of(file.litellm)
    except ConfigurationError as error:
        raise located(error, file.file) from None
    return GatewayConfig(
        router={**_DEFAULTS, **file.router, **({"hooks": hooks} if hooks else {})},
        settings=settings,
        left_out=file.left_out,
        ignored=(*without_honoured([each for each in file.ignored if each != _JSON_LOGS], file.litellm), *ignored),
        names=file.names,
        fallbacks=file.spares,
        guardrails=file.guardrails,
    )


def config_of_models(models: Sequence[str]) -> GatewayConfig:
    """The configuration that serves some models: `provider/model`, or `name=provider/model` to give one a name.

    Raises:
        ConfigurationError: One of them names no provider.
    """
    entries = []
    for each in models:
        name, equals, model = each.partition("=")
        model = model if equals else each
        if "/" not in full_name(model):
            raise ConfigurationError(f"--model {each} names no provider: write {name}=provider/model")
        params = {"model": model}
        entries.append(
            Located("--model", {"model_name": name, "litellm_params": params, "model_info": {"mode": "rerank"}})
        )
    settings = settings_of(_from_environment(), "environment")
    return GatewayConfig(router={**_DEFAULTS, "model_list": entries}, settings=settings)


def service_of(
    config: GatewayConfig,
    keyring: Keyring | None = None,
    before: Service | None = None,
    state: RedisState | None = None,
) -> Service:
    """The service that a configuration describes.

    Args:
        config: The configuration.
        keyring: Its keys, if it has a database.
        before: What it has served until now.
        state: What it shares with its replicas.

    Raises:
        ConfigurationError: An argument of the router is wrong; or replicas that run have another configuration.
        LedgerError: What was spent before cannot be read.
    """
    key = config.settings.master_key
    master_key = None if key is None else key.get_secret_value()
    try:
        share = 1 if state is not None else config.settings.replicas
        models = [_share(entry, share) for entry in config.router["model_list"]]
        given = {**config.router, "model_list": models, **_kept_cache(config.router.get("cache"), before)}
        router = Router(**given, max_wait=config.settings.queue_seconds, state=state)
    except (BadRequestError, ConfigurationError) as error:
        raise ConfigurationError(for_operator(error.message)) from None
    ledger = None if keyring is None else keyring.ledger
    sharing = None if keyring is None else keyring.sharing
    restore(router, ledger, None if before is None else before.router, sharing)
    if before is not None:
        continue_routing(router, before.router)
    if keyring is not None:  # last: an error must leave the keys as they were
        keyring.configure(
            master_key=master_key,
            networks=config.settings.trusted_networks,
            max_parallel_requests=config.settings.max_parallel_requests,
            budgets=all_budgets(router),
        )
    if sharing is not None:
        sharing.configured(parts_of(router, config.settings, config.guardrails))
    return Service(
        router=router,
        settings=config.settings,
        access=keyring or (Open() if master_key is None else MasterKey(master_key)),
        absent=config.absent,
        isolation=isolation_of(router, config.settings),
        guardrails=config.guardrails,
    )


def _kept_cache(wanted: Cache | None, before: Service | None) -> dict[str, Cache]:
    """The cache that was used until now, if the one that is wanted would be the same, but empty or not connected."""
    cache = None if before is None else before.router.options.cache
    if isinstance(cache, MemoryCache) and isinstance(wanted, MemoryCache):
        return {"cache": cache} if (cache.max_bytes, cache.ttl) == (wanted.max_bytes, wanted.ttl) else {}
    if isinstance(cache, RedisCache) and isinstance(wanted, RedisCache):
        return {"cache": cache} if cache.__reduce__() == wanted.__reduce__() else {}
    return {}


def _share(entry: Located, replicas: int) -> Located:
    """An entry of `model_list` with the share of its limits per minute that one of several replicas has."""
    params = entry["litellm_params"]
    limits = {name: max(1, params[name] // replicas) for name in ("rpm", "tpm") if isinstance(params.get(name), int)}
    return Located(entry.where, {**entry, "litellm_params": {**params, **limits}}) if replicas > 1 else entry


def shared_state(settings: GatewaySettings, *, check: bool = True) -> RedisState | None:
    """What a gateway shares with its replicas; `None` if it has none.

    Args:
        settings: Those of the gateway.
        check: Whether to ask the server if it can be used.

    Raises:
        ConfigurationError: The server cannot be used.
    """
    if settings.redis_url is None:
        return None
    try:
        state = RedisState(
            settings.redis_url.get_secret_value(),
            prefix=settings.redis_prefix,
            timeout=settings.redis_seconds,
            refuse_when_away=not settings.allow_requests_on_db_unavailable,
        )
        if check:
            state.check()
    except StateUnavailableError as error:
        raise ConfigurationError(f"redis_url: {error.message}") from None
    return state


def _from_environment() -> dict[str, str]:
    """The settings that LiteLLM's proxy reads from the environment where the file has none."""
    named = {
        "master_key": environment_variable("LITELLM_MASTER_KEY"),
        "database_url": environment_variable("DATABASE_URL"),
    }
    return {name: value for name, value in named.items() if value is not None}
