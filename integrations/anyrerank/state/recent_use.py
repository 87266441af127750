"""What one process has used of a limit in the last minute."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anyrerank._core.routing import Need

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Batch:
    """Use that the server is to count, at most once.

    Attributes:
        uses: By the second in which it was.
        number: The same whenever this batch is sent again, and greater for the next one.
    """

    uses: Mapping[int, Need]
    number: int


class RecentUse:
    """Use of the last minute that the server has counted, and use that it has yet to hear of. Thread-safe.

    Args:
        clock: Seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything, as in a forked child."""
        self._lock = threading.Lock()
        self._counted: dict[int, Need] = {}
        self._unsent: dict[int, Need] = {}
        self._sending: Batch | None = None
        self._batches = 0

    def counted(self, requests: int, tokens: int) -> None:
        """Record what the server has counted."""
        with self._lock:
            self._add(self._counted, int(self._clock()), Need(requests, tokens))

    def add(self, requests: int, tokens: int) -> None:
        """Record what the server has yet to hear of."""
        with self._lock:
            self._add(self._unsent, int(self._clock()), Need(requests, tokens))

    def unsent(self) -> Batch | None:
        """What the server has yet to hear of: the same batch until it is `sent`."""
        with self._lock:
            if self._sending is None and (uses := self._latest(self._unsent)):
                self._batches += 1
                self._sending, self._unsent = Batch(uses, self._batches), {}
            return self._sending

    def sent(self, batch: Batch) -> None:
        """Record that the server has counted a batch."""
        with self._lock:
            if self._sending is batch:
                self._sending = None
                for at, need in batch.uses.items():
                    self._add(self._counted, at, need)

    def all_counted(self) -> dict[int, Need]:
        """What the server has counted in the last minute."""
        with self._lock:
            return self._latest(self._counted)

    def ages(self, uses: Mapping[int, Need]) -> list[int]:
        """For each second: how long ago it ended, its requests, its tokens."""
        now = int(self._clock())
        return [each for at, need in uses.items() for each in (max(0, now - at - 1), need.requests, need.tokens)]

    def _add(self, uses: dict[int, Need], at: int, more: Need) -> None:
        if at not in uses:
            for each in uses.keys() - self._latest(uses).keys():
                del uses[each]
        before = uses.get(at, Need(0, 0))
        uses[at] = Need(before.requests + more.requests, before.tokens + more.tokens)

    def _latest(self, uses: Mapping[int, Need]) -> dict[int, Need]:
        oldest = int(self._clock()) - _MINUTE
        return {at: need for at, need in uses.items() if at >= oldest}
