"""The state that replicas of a gateway share through Redis, which decides for all of them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anyrerank._core.pricing import BudgetState
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys.configuration_parts import differences
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.limits import Limits
from anyrerank.gateway.keys.shared_limits import SharedLimits
from anyrerank.state import Listener, RedisState

_log = logging.getLogger("anyrerank.gateway")

_PRESENT_SECONDS = 30
"""For how long a replica counts as running that was killed."""


class RedisSharing:
    """What a replica shares, and what it must have in common with the others.

    Args:
        state: In Redis.
        database: Of the keys.
        is_rolling_change: Whether the others may have another configuration when this one starts.

    Raises:
        ConfigurationError: Other replicas have another database.
    """

    def __init__(self, state: RedisState, database: Database, *, is_rolling_change: bool = False) -> None:
        self._state = state
        self._presence = state.presence()
        self._database = database.identity()
        self._is_rolling_change = is_rolling_change
        self._parts: Mapping[str, str] = {}
        self._is_alike = True
        self._announcing = threading.Lock()
        self._is_closed = False
        try:
            self._check_database(self._announce())
        except ConfigurationError:
            self.close()
            raise

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

    def configured(self, parts: Mapping[str, str]) -> None:
        """Say what is configured. After the start, `renew` compares it with what others have.

        Raises:
            ConfigurationError: Others have something else, and this process starts without being allowed to do so.
        """
        is_start, self._parts = not self._parts, parts
        others = self._announce()
        if not is_start:
            return
        if names := self._differences(others):
            if not self._is_rolling_change:
                self.close()
                raise ConfigurationError(
                    f"redis_url: {self._others()} have another configuration than this one: {', '.join(names)}. Give "
                    "all of them the same one. To change one after the other, start each with --rolling-change (or "
                    "ANYRERANK_ROLLING_CHANGE=1)"
                )
            self._compare(others)

    def renew(self) -> None:
        """Say that this replica runs, and warn if others have another configuration.

        Raises:
            ConfigurationError: Other replicas have another database.
        """
        others = self._announce()
        if not self._is_closed:
            self._check_database(others)
            self._compare(others)

    def close(self) -> None:
        """Say that this replica does not run any more; the state is closed by its owner."""
        with self._announcing:
            self._is_closed = True
            self._presence.leave()

    def _announce(self) -> list[dict[str, Any]]:
        """What the other replicas have."""
        with self._announcing:
            if self._is_closed:
                return []
            mine = json.dumps({"database": self._database, "parts": self._parts})
            return list(map(json.loads, self._presence.announce(mine, _PRESENT_SECONDS)))

    def _check_database(self, others: Sequence[Mapping[str, Any]]) -> None:
        if any(each["database"] != self._database for each in others):
            raise ConfigurationError(
                f"redis_url: {self._others()} have another database: use the same database_url, or set another "
                "redis_prefix"
            )

    def _compare(self, others: Sequence[Mapping[str, Any]]) -> None:
        names = self._differences(others)
        if names and self._is_alike:
            _log.warning(
                "%s have another configuration than this one: %s; give all of them the same one, and restart or reload "
                "them",
                self._others(),
                ", ".join(names),
            )
        elif not names and not self._is_alike:
            _log.warning("%s have the same configuration again", self._others())
        self._is_alike = not names

    def _differences(self, others: Sequence[Mapping[str, Any]]) -> list[str]:
        return differences(self._parts, [each["parts"] for each in others if each["parts"]]) if self._parts else []

    def _others(self) -> str:
        return f"other gateways that use this Redis with the prefix {self._state.prefix}"
