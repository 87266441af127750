"""The state that replicas of a gateway share: through Redis, or through PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from anyrerank._core.pricing import BudgetState
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.database_budgets import DatabaseBudgets
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.limits import Limits, Place
from anyrerank.gateway.keys.shared_limits import SharedLimits
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.state import Listener, RedisState

_log = logging.getLogger("anyrerank.gateway")

_AGREED_SECONDS = 60


class Sharing(Protocol):
    """The state that replicas share."""

    @property
    def budgets(self) -> BudgetState:
        """The state of all budgets."""
        ...

    def limits(self, token: str, clock: Callable[[], float]) -> Limits:
        """Counts for a key."""
        ...

    def listen(self, listener: Listener) -> None:
        """Pass messages of other replicas to a listener."""
        ...

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to other replicas."""
        ...

    def configured(self, digest: str) -> None:
        """Say what is configured; other replicas must have the same models and budgets."""
        ...

    def renew(self) -> None:
        """Called every few seconds."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class RedisSharing:
    """Through Redis, which decides for all replicas."""

    def __init__(self, state: RedisState, database: Database) -> None:
        self._state = state
        self._identity = database.identity()
        self._configuration: str | None = None
        self._is_alike = True
        self.renew()

    @property
    def budgets(self) -> BudgetState:
        """The state of all budgets."""
        return self._state.budgets

    def limits(self, token: str, clock: Callable[[], float]) -> Limits:
        """Counts for a key."""
        return SharedLimits(self._state.calls(f"key:{token}"), self._state.notifications, clock)

    def listen(self, listener: Listener) -> None:
        """Pass messages of other replicas to a listener."""
        self._state.notifications.add(listener)
        self._state.notifications.start()

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to other replicas."""
        self._state.notifications.send(message)

    def configured(self, digest: str) -> None:
        """Say what is configured, and warn if other replicas have other models or budgets, as in a rolling restart."""
        self._configuration = digest
        self._compare()

    def _compare(self) -> None:
        if self._configuration is None:
            return
        is_alike = self._state.agree("configuration", self._configuration, _AGREED_SECONDS)
        if self._is_alike and not is_alike:
            _log.warning(
                "gateways that use this Redis with the prefix %s have other models or budgets: give all of them the "
                "same configuration, and restart or reload them",
                self._state.prefix,
            )
        self._is_alike = is_alike

    def renew(self) -> None:
        """Say which database and which configuration the replicas have, for a minute.

        Raises:
            ConfigurationError: Other replicas have another one.
        """
        if not self._state.agree("database", self._identity, _AGREED_SECONDS):
            raise ConfigurationError(
                f"redis_url: gateways that use this Redis with the prefix {self._state.prefix} have another database: "
                "use the same database_url, or set another redis_prefix"
            )
        self._compare()

    def close(self) -> None:
        """The state is closed by its owner."""


class DatabaseSharing:
    """Through PostgreSQL: budgets are those of all replicas, and each replica has its share of the other limits.

    Args:
        database: Of the keys.
        replicas: How many there are.
    """

    def __init__(self, database: Database, replicas: int) -> None:
        self._budgets = DatabaseBudgets(database)
        self._replicas = replicas

    @property
    def budgets(self) -> BudgetState:
        """The state of all budgets."""
        return self._budgets

    def limits(self, token: str, clock: Callable[[], float]) -> Limits:  # noqa: ARG002  each replica counts on its own
        """Counts for a key."""
        return _ShareOfLimits(self._replicas, clock)

    def listen(self, listener: Listener) -> None:
        """There is nothing to hear: every replica reads changes of keys from the database."""

    def tell(self, message: dict[str, Any]) -> None:
        """See `listen`."""

    def configured(self, digest: str) -> None:
        """There is nothing to compare it with."""

    def renew(self) -> None:
        """There is nothing to renew."""

    def close(self) -> None:
        """Write what is left."""
        self._budgets.close()


class _ShareOfLimits(Limits):
    """The share of a key's limits that one of several replicas has."""

    def __init__(self, replicas: int, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._replicas = replicas

    async def enter(self, key: Key) -> str | None:
        """See `Limits`."""
        return await super().enter(key.share(self._replicas))

    async def count(self, key: Key, tokens: int) -> Place:
        """See `Limits`."""
        return await super().count(key.share(self._replicas), tokens)

    def headers(self, key: Key) -> dict[str, str]:
        """See `Limits`."""
        return super().headers(key.share(self._replicas))


def sharing_of(settings: GatewaySettings, state: RedisState | None, database: Database) -> Sharing | None:
    """How a gateway counts together with its replicas; `None` if it has none.

    Raises:
        ConfigurationError: There are replicas, and nothing that they can share.
    """
    if state is not None:
        return RedisSharing(state, database)
    if settings.replicas == 1:
        return None
    if database.url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"{settings.replicas} replicas need a redis_url, or a PostgreSQL database_url, to share budgets and keys"
        )
    return DatabaseSharing(database, settings.replicas)
