"""The settings of a router, checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from typing_extensions import Self

from anyrerank._core.engine import shown
from anyrerank._core.routing.balancer import Rules
from anyrerank._core.routing.state import Cooldowns
from anyrerank._core.routing.strategies import STRATEGIES
from anyrerank._core.runtime import is_number
from anyrerank.errors import BadRequestError, ConfigurationError

T = TypeVar("T")

_DEFAULTS: Mapping[str, float] = {
    "max_fallbacks": 5,
    "num_retries": 2,
    "retry_after": 0.0,
    "allowed_fails": 3,
    "cooldown_time": 5.0,
    "ttl": 3600.0,
    "lowest_latency_buffer": 0.0,
}


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """How a router decides."""

    rules: Rules
    cooldowns: Cooldowns
    latency_ttl: float
    max_fallbacks: int
    num_retries: int

    @classmethod
    def of(cls, *, routing_strategy: object, routing_strategy_args: object, **numbers: object) -> Self:
        """The settings that the arguments of `Router` describe; `None` stands for the default.

        Raises:
            ConfigurationError: One of them is no valid setting.
            BadRequestError: `num_retries` is not an integer of at least 0.
        """
        arguments = _mapping("routing_strategy_args", routing_strategy_args)
        given = {**numbers, **{name: arguments.get(name) for name in ("ttl", "lowest_latency_buffer")}}
        retries = given["num_retries"]
        if retries is not None and (type(retries) is not int or retries < 0):
            raise BadRequestError(f"num_retries must be an integer of at least 0, got {shown(retries)}")
        checked = {name: _number(name, given.get(name)) for name in _DEFAULTS}
        strategy = one_of("routing_strategy", routing_strategy, STRATEGIES)
        return cls(
            rules=Rules(
                strategy=strategy,
                counts_tokens=str(routing_strategy).startswith("usage"),
                buffer=checked["lowest_latency_buffer"],
                retry_after=checked["retry_after"],
            ),
            cooldowns=Cooldowns(int(checked["allowed_fails"]), checked["cooldown_time"]),
            latency_ttl=checked["ttl"],
            max_fallbacks=int(checked["max_fallbacks"]),
            num_retries=int(checked["num_retries"]),
        )


def one_of(what: str, name: object, known: Mapping[str, T]) -> T:
    """The value of `name`.

    Raises:
        ConfigurationError: There is none; the message has close matches.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"{what} must be one of {', '.join(known)}, got {shown(name)}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"{what} must be one of {', '.join(known)}, got {name[:80]!r}{hint}")
    return known[name]


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a mapping, got {shown(value)}")
    return value or {}


def _number(name: str, value: object) -> float:
    if value is None:
        return _DEFAULTS[name]
    if not (is_number(value) and value >= 0):
        raise ConfigurationError(f"{name} must be a number of at least 0, got {shown(value)}")
    return value
