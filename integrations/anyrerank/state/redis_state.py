"""`RedisState`: the state of several processes in a Redis server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from typing_extensions import Self

from anyrerank._core.redis import RedisLink, RedisUnavailableError, in_full
from anyrerank._core.routing import Cooldowns, RoutingState
from anyrerank._core.runtime import resolved
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError
from anyrerank.state.budgets import RedisBudgets
from anyrerank.state.calls import RedisCalls
from anyrerank.state.identity import Identity
from anyrerank.state.limits import RedisLimits
from anyrerank.state.notifications import Notifications
from anyrerank.state.presence import Presence
from anyrerank.state.routing import RedisRouting
from anyrerank.state.server_check import check
from anyrerank.state.whole import Whole

_RESTORED = ("budget", "calls", "deployment")
"""Kinds of keys that processes restore after a loss."""


@public("anyrerank.state")
class RedisState:
    """Budgets, rate limits and cooldowns that several processes share, in Redis (7.0 or later) or Valkey.

        state = RedisState("os.environ/REDIS_URL")
        router = Router(model_list, state=state)
        budget = Budget(500, "1d", state=state, name="nightly")
        limit = Limit(rpm=1_000, state=state, name="voyage")

    The `state` of a router shares its rate limits, cooldowns and budgets. Routers that are no replicas of each other
    need states with different prefixes: a budget of a router without a `name` of its own is the same for all of them.

    Nothing is connected before the first use, so call `check` once at the start of a program: it finds a wrong password
    and a server that evicts keys. Thread-safe; usable from any number of event loops. A pickle or a copy connects anew
    to the same server; write the URL as `os.environ/NAME`, so that a pickle holds no password.

    While the server does not answer, rate limits fall to a share of this process and cooldowns are its own. Budgets
    refuse calls with a `StateUnavailableError`, unless `refuse_when_away` is false: then this process spends at most
    what was left when it last heard of it. What calls have spent in the meantime is counted when the server is back.

    Install it with `pip install 'anyrerank[redis]'`. One server, or the primary of several; not Redis Cluster.

    Args:
        url: `redis://user:password@host:port/number`, `rediss://` for TLS, `unix://path`, or `os.environ/NAME`.
        prefix: Of all keys: processes with the same prefix share everything.
        timeout: Seconds that a call waits at most for an answer of the server.
        refuse_when_away: Whether budgets refuse calls while the server does not answer.

    Raises:
        ConfigurationError: The URL is wrong, or the variable is not set.
        MissingExtraError: The client library is not installed.
    """

    def __init__(
        self, url: str, *, prefix: str = "anyrerank", timeout: float = 0.05, refuse_when_away: bool = True
    ) -> None:
        if not (isinstance(prefix, str) and prefix):  # type: ignore[redundant-expr]
            raise ConfigurationError(f"prefix must be a string that is not empty, got {prefix!r}")
        self._arguments = {"prefix": prefix, "timeout": timeout, "refuse_when_away": refuse_when_away}
        self._url = url
        self.link = RedisLink(resolved(url, "url"), timeout=timeout)
        self.prefix = prefix
        whole = Whole(f"{prefix}:news:whole", tuple(f"{_escaped(prefix)}:{kind}:*" for kind in _RESTORED))
        self.notifications = Notifications(self.link, f"{prefix}:news", whole)
        self.identity = Identity(self.link, f"{prefix}:identity")
        self.link.first = [in_full(whole.forgetting())]
        self.budgets = RedisBudgets(
            self.link, prefix, refuse_when_away=refuse_when_away, notifications=self.notifications
        )
        self.limits = RedisLimits(self.link, prefix, self.notifications)

    def __repr__(self) -> str:
        return f"RedisState({self.link.shown!r}, prefix={self.prefix!r})"

    def __reduce__(self) -> tuple[Callable[..., RedisState], tuple[str, dict[str, Any]]]:
        return (_state, (self._url, self._arguments))

    def routing(self, cooldowns: Cooldowns, latency_ttl: float) -> RoutingState:
        """The routing state that a router shares with its replicas."""
        return RedisRouting(self, cooldowns, latency_ttl)

    def calls(self, name: str) -> RedisCalls:
        """Counts requests, tokens and concurrency of one caller."""
        return RedisCalls(self.link, f"{self.prefix}:calls:{name}", self.notifications)

    def presence(self, what: str) -> Presence:
        """One process more among those of a kind that use this state."""
        return Presence(self.link, f"{self.prefix}:processes:{what}")

    def check(self) -> None:
        """Raise if the server cannot be used. It may block for a few seconds.

        Raises:
            StateUnavailableError: It cannot be reached, or refuses the password.
            ConfigurationError: It is read-only or full, its user may not do all that is needed, it evicts keys, is a
                cluster or is too old.
        """
        check(self.link, f"{self.notifications.channel}:probe")

    async def connect(self) -> None:
        """Open a connection on the running event loop, so that the first call need not; it never raises."""
        with suppress(RedisUnavailableError):
            await self.link.acall(("PING",))

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones."""
        self.notifications.close()
        self.link.close()

    async def aclose(self) -> None:
        """Send what is left on the running event loop, and close its connections and those of synchronous calls."""
        await asyncio.to_thread(self.notifications.close)
        await self.link.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


def _escaped(prefix: str) -> str:
    """A pattern that matches nothing but the prefix."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix)


def _state(url: str, arguments: dict[str, Any]) -> RedisState:
    return RedisState(url, **arguments)
