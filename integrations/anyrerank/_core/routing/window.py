"""The requests and tokens of a deployment in the last minute."""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Need:
    """The estimated use of a call."""

    requests: int = 1
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """The use within one second. It counts until its last use is a minute old."""

    last: float
    requests: int
    tokens: int


class Window:
    """Requests and tokens of the last minute, counted in slots of about a second."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0
        self._slots: dict[float, Slot] = {}
        """By the time at which they start, the oldest first."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The oldest first."""
        return tuple(self._slots.values())

    def add(self, now: float, need: Need) -> float:
        """Count a call that starts; returns the start of the slot in which it counts."""
        self.forget(now)
        start = next(reversed(self._slots), -math.inf)
        if now - start >= 1.0:
            start = now
            self._slots[start] = Slot(now, 0, 0)
        self._count(start, now, need.requests, need.tokens)
        return start

    def change(self, start: float, requests: int, tokens: int) -> None:
        """Add to a slot, or subtract with negative numbers; nothing if that slot was dropped."""
        slot = self._slots.get(start)
        if slot is not None:
            self._count(start, slot.last, requests, tokens)

    def forget(self, now: float) -> None:
        """Drop slots that are a minute old."""
        while self._slots:
            start, slot = next(iter(self._slots.items()))
            if slot.last + MINUTE > now:
                break
            del self._slots[start]
            self.requests -= slot.requests
            self.tokens -= slot.tokens

    def _count(self, start: float, last: float, requests: int, tokens: int) -> None:
        slot = self._slots[start]
        self._slots[start] = Slot(last, slot.requests + requests, slot.tokens + tokens)
        self.requests += requests
        self.tokens += tokens
