"""The state that replicas of a gateway share: through Redis, or through PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from anyrerank._core.pricing import BudgetState
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.database_budgets import DatabaseBudgets
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.limits import Limits, Place
from anyrerank.gateway.keys.redis_sharing import RedisSharing
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.state import Listener, RedisState


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

    def configured(self, parts: Mapping[str, str]) -> None:
        """Say what is configured, as `parts_of` does; other replicas must have the same.

        Raises:
            ConfigurationError: Others have something else, and this process starts.
        """
        ...

    def renew(self) -> None:
        """Called every few seconds."""
        ...

    def owe(self) -> None:
        """Say that this replica has calls which are not in the database yet."""
        ...

    def owe_nothing(self) -> None:
        """Say that what `owe` has said is over."""
        ...

    def check_nothing_is_owed(self) -> None:
        """Raise if the database does not know all calls of running replicas.

        Raises:
            StateUnavailableError: It does not.
        """
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


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

    def configured(self, parts: Mapping[str, str]) -> None:
        """There is nothing to compare it with."""

    def renew(self) -> None:
        """There is nothing to renew."""

    def owe(self) -> None:
        """There is nothing to say: the database is never without its data."""

    def owe_nothing(self) -> None:
        """See `owe`."""

    def check_nothing_is_owed(self) -> None:
        """See `owe`."""

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


def sharing_of(
    settings: GatewaySettings, state: RedisState | None, database: Database, *, is_rolling_change: bool = False
) -> Sharing | None:
    """How a gateway counts together with its replicas; `None` if it has none.

    Args:
        settings: Those of the gateway.
        state: What it shares with its replicas.
        database: Of its keys.
        is_rolling_change: Whether replicas may have another configuration.

    Raises:
        ConfigurationError: There are replicas, and nothing that they can share.
    """
    if state is not None:
        return RedisSharing(state, database, is_rolling_change=is_rolling_change)
    if settings.replicas == 1:
        return None
    if database.url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"{settings.replicas} replicas need a redis_url, or a PostgreSQL database_url, to share budgets and keys"
        )
    return DatabaseSharing(database, settings.replicas)
