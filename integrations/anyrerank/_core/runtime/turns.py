"""Short turns of an event loop: many calls that get on at once share several, and hold up nothing else for long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

_LONG = 0.008
"""Seconds. Another task may have to wait for three such turns: one until its timer is seen, two until it runs."""

_LEAST_PLACES = 4
"""Beside tasks that take long turns themselves, calls would get on one by one otherwise."""


@dataclass(slots=True)
class _Turn:
    """The turn of a loop that is under way, one pass over all that is ready, and who waits for another."""

    began: float | None = None
    """When work of ours began in it."""
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    places: int = _LEAST_PLACES
    """For how many of them there is time in a turn, by what the last ones took, whoever's work that was."""

    def has_room(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is time left in it, and nobody who came before."""
        now = time.monotonic()
        if self.began is None:
            self.began = now
            loop.call_soon(self.pass_on, loop)
        return not self.waiting and now - self.began <= _LONG

    def pass_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the turn that begins to who have waited longest; where others wait, all of it."""
        now = time.monotonic()
        if not self.waiting:
            self.places = _LEAST_PLACES
        elif self.began is None or now - self.began < _LONG:
            self.places += 1
        else:
            self.places = max(_LEAST_PLACES, self.places // 2)
        for _ in range(min(self.places, len(self.waiting))):
            first = self.waiting.popleft()
            if not first.done():
                first.set_result(None)
        self.began = now if self.waiting else None
        if self.waiting:
            loop.call_soon(self.pass_on, loop)


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()


async def short_turn() -> None:
    """Go on in this turn of the running loop, or, when there was much work of ours in it, in a later one: in line."""
    loop = asyncio.get_running_loop()
    turn = _TURNS.get(loop)
    if turn is None:
        turn = _TURNS[loop] = _Turn()
    if not turn.has_room(loop):
        mine = loop.create_future()
        turn.waiting.append(mine)
        await mine
