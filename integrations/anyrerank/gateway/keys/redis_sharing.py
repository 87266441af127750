"""The state that replicas of a gateway share through Redis, which decides for all of them."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from anyrerank._core.pricing import BudgetState
from anyrerank._core.redis import RedisUnavailableError
from anyrerank.errors import StateUnavailableError
from anyrerank.gateway.keys.configuration_parts import differences
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.limits import Limits
from anyrerank.gateway.keys.shared_limits import SharedLimits
from anyrerank.gateway.keys.sharing_check import DisagreementError
from anyrerank.state import Listener, RedisState

_log = logging.getLogger("anyrerank.gateway")

_PRESENT_SECONDS = 45
"""For how long a replica counts as running that was killed; a statement that hangs must not let one seem so."""

_PAUSE, _TRIES = 0.05, 10


class RedisSharing:
    """What a replica shares, and what it must have in common with the others.

    Args:
        state: In Redis.
        database: Of the keys.
        is_rolling_change: Whether the others may have another configuration when this one starts.

    Raises:
        DisagreementError: Other replicas have another database.
    """

    def __init__(self, state: RedisState, database: Database, *, is_rolling_change: bool = False) -> None:
        self._state = state
        self._running = state.presence("running")
        self._owing = state.presence("owing")
        self._database = database.identity()
        self._is_rolling_change = is_rolling_change
        self._parts: Mapping[str, str] = {}
        self._is_alike = True
        self._owes = False
        self._announcing = threading.Lock()
        self._is_closed = False
        self._waiting = threading.Event()
        self._waited_at = -math.inf
        if any(each["database"] != self._database for each in self._announce()):
            self.close()
            raise DisagreementError(
                f"redis_url: {self._others()} have another database: use the same database_url, or set another "
                "redis_prefix"
            )

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
            DisagreementError: Others have something else, and this process starts without being allowed to do so.
        """
        is_start, self._parts = not self._parts, parts
        others = self._announce()
        if not is_start:
            return
        if names := self._differences(others):
            if not self._is_rolling_change:
                self.close()
                raise DisagreementError(
                    f"redis_url: {self._others()} have another configuration than this one: {', '.join(names)}. Give "
                    "all of them the same one. To change one after the other, start each with --rolling-change (or "
                    "ANYRERANK_ROLLING_CHANGE=1)"
                )
            self._compare(others)

    def renew(self) -> None:
        """Say that this replica runs, and warn if others have another database or configuration."""
        others = self._announce()
        if not self._is_closed:
            self._compare(others)

    def owe(self) -> None:
        """Say that this replica has calls which are not in the database yet.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        with self._announcing:
            self._owing.announce("", _PRESENT_SECONDS)
            self._owes = True

    def owe_nothing(self) -> None:
        """Say that what `owe` has said is over."""
        with self._announcing, suppress(RedisUnavailableError):
            self._owes = False
            self._owing.leave()

    def check_nothing_is_owed(self) -> None:
        """Raise if the database does not know all calls of running replicas, and will not do so in a moment. It blocks.

        Raises:
            StateUnavailableError: It does not.
        """
        tries = _TRIES if time.monotonic() > self._waited_at + _PAUSE * _TRIES else 1
        try:
            for _ in range(tries):
                if not (self._owes or self._owing.others()):
                    return
                self._waiting.wait(_PAUSE)
        except RedisUnavailableError:  # this replica decides alone
            return
        self._waited_at = time.monotonic()
        raise StateUnavailableError("a gateway has not yet written to the database what its calls have cost")

    def close(self) -> None:
        """Say that this replica does not run any more; the state is closed by its owner."""
        with self._announcing, suppress(RedisUnavailableError):
            self._is_closed = True
            self._running.leave()

    def _announce(self) -> list[dict[str, Any]]:
        """What the other replicas have; nothing while the server does not answer."""
        mine = json.dumps({"database": self._database, "parts": self._parts})
        with self._announcing, suppress(RedisUnavailableError):
            if not self._is_closed:
                self._state.identity.keep()
                if self._owes:
                    self._owing.announce("", _PRESENT_SECONDS)
                return list(map(json.loads, self._running.announce(mine, _PRESENT_SECONDS)))
        return []

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
        if not self._parts:
            return []
        mine = {**self._parts, "the database": self._database}
        return differences(
            mine, [{**each["parts"], "the database": each["database"]} for each in others if each["parts"]]
        )

    def _others(self) -> str:
        return f"other gateways that use this Redis with the prefix {self._state.prefix}"
