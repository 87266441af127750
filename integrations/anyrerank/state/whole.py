"""How processes know that a server has its data, and no older data."""

from __future__ import annotations

import re
import time

from anyrerank._core.redis import Command, Script

_RESTART = Script("anyrerank.state.scripts", "restart")
_NUMBER = re.compile(rb":(\d+)$")


class Whole:
    """A key that exists while the server has its data: when it is gone, processes give back what they know.

    Its value is the run of the server and a number, which is greater each time that processes agree on it. So a server
    that comes back with a lower one, such as after two failovers, has older data.

    Args:
        key: The key.
        restored: Patterns of the keys that processes give back or find in a ledger.

    Attributes:
        key: The key.
        value: The last one that this process knows; `None` before the first one.
        number: That of the value; 0 for none.
    """

    def __init__(self, key: str, restored: tuple[str, ...]) -> None:
        self.key = key
        self.value: bytes | None = None
        self.number = 0
        self._restored = restored

    def found(self, value: bytes) -> None:
        """Know what the key is."""
        self.value = value
        match = _NUMBER.search(value)
        self.number = int(match[1]) if match else 0

    def next_number(self) -> int:
        """A number that is greater than all that this process knows, and most likely than those that it does not."""
        return max(time.time_ns() // 1000, self.number + 1)

    def forgetting(self) -> Command:
        """The command that lets a server forget older data."""
        return _RESTART.command([self.key], [self.number, *self._restored])
