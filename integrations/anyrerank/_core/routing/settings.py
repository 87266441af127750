"""The settings of a router, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from typing_extensions import Self

from anyrerank._core.engine import shown
from anyrerank._core.routing.balancer import Rules
from anyrerank._core.routing.cooldowns import Cooldowns
from anyrerank._core.routing.strategies import STRATEGIES
from anyrerank._core.routing.wildcards import Groups
from anyrerank._core.runtime import did_you_mean, is_number
from anyrerank.errors import ConfigurationError

T = TypeVar("T")

_USUAL_STRATEGY = "simple-shuffle"
_COUNTS: Mapping[str, int] = {"max_fallbacks": 5, "num_retries": 2, "allowed_fails": 3}
_NUMBERS: Mapping[str, float] = {
    "retry_after": 0.0,
    "cooldown_time": 5.0,
    "ttl": 3600.0,
    "lowest_latency_buffer": 0.0,
    "max_wait": 60.0,
}
"""Defaults."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """How a router decides."""

    rules: Rules
    cooldowns: Cooldowns
    latency_ttl: float
    max_fallbacks: int
    num_retries: int

    @classmethod
    def of(cls, *, routing_strategy: object, routing_strategy_args: object, **given: object) -> Self:
        """The settings that the arguments of `Router` describe; `None` stands for the default.

        Raises:
            ConfigurationError: A value that the setting cannot have.
        """
        # LiteLLM's usage-based-routing-v2 is the same strategy
        given_name = _USUAL_STRATEGY if routing_strategy is None else routing_strategy
        name = given_name.removesuffix("-v2") if isinstance(given_name, str) else given_name
        strategy = one_of("routing_strategy", name, STRATEGIES)
        values = {**_mapping("routing_strategy_args", routing_strategy_args), **given}
        counts = {name: _count(name, values.get(name), default) for name, default in _COUNTS.items()}
        numbers = {name: _number(name, values.get(name), default) for name, default in _NUMBERS.items()}
        return cls(
            rules=Rules(
                strategy=strategy,
                counts_tokens=strategy is STRATEGIES["usage-based-routing"],
                buffer=numbers["lowest_latency_buffer"],
                retry_after=numbers["retry_after"],
                max_wait=numbers["max_wait"],
            ),
            cooldowns=Cooldowns(counts["allowed_fails"], numbers["cooldown_time"]),
            latency_ttl=numbers["ttl"],
            max_fallbacks=counts["max_fallbacks"],
            num_retries=counts["num_retries"],
        )


def aliases_of(given: object, groups: Groups) -> tuple[dict[str, str], frozenset[str]]:
    """The aliases in a `model_group_alias`, and which of them are hidden.

    Raises:
        ConfigurationError: It is not a mapping of aliases to names of the router.
    """
    found: dict[str, str] = {}
    hidden: set[str] = set()
    for alias, target in _mapping("model_group_alias", given).items():
        name = target.get("model") if isinstance(target, Mapping) else target
        if isinstance(target, Mapping) and target.get("hidden"):
            hidden.add(alias)
        if not (isinstance(name, str) and groups.find(name)):
            one_of(f"model_group_alias of {alias}", name, groups.named)
        if alias in groups.named:
            raise ConfigurationError(f"model_group_alias: {alias} is already a name in model_list")
        found[alias] = str(name)
    return found, frozenset(hidden)


def one_of(what: str, name: object, known: Mapping[str, T]) -> T:
    """The value of `name`.

    Raises:
        ConfigurationError: There is none; the message has close matches.
    """
    must = f"{what} must be one of {', '.join(known)}"
    if not isinstance(name, str):
        raise ConfigurationError(f"{must}, got {shown(name)}")
    if name not in known:
        raise ConfigurationError(f"{must}, got {name[:80]!r}{did_you_mean(name, known)}")
    return known[name]


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a mapping, got {shown(value)}")
    return value or {}


def _count(name: str, value: object, default: int) -> int:
    if value is None:
        return default
    if not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        raise ConfigurationError(f"{name} must be an integer of at least 0, got {shown(value)}")
    return value


def _number(name: str, value: object, default: float) -> float:
    if value is None:
        return default
    if not (is_number(value) and value >= 0):
        raise ConfigurationError(f"{name} must be a number of at least 0, got {shown(value)}")
    return value
