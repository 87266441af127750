"""Single flight: of identical concurrent requests one is sent, and the other calls wait for its result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from anyrerank._core.runtime import Flow, Invoke, Wait, reset_in_child

Values: TypeAlias = dict[bytes, bytes]
Compute: TypeAlias = Callable[[Sequence[bytes]], Flow[Values]]


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """Keys whose values a call is computing.

    Attributes:
        loop: The event loop of the call, or `None` if it is synchronous.
        future: Its result is the values; empty if the call failed, `None` if it was cancelled.
    """

    loop: object
    future: Future[Mapping[bytes, bytes] | None] = field(default_factory=Future)


class SingleFlight:
    """Calls of this process that compute values for each other.

    A call waits only for calls on the same event loop or, if it is synchronous, for synchronous calls of other threads.
    Otherwise a synchronous call could block the very event loop that it waits for.
    """

    def __init__(self) -> None:
        self._start()
        reset_in_child(self, SingleFlight._start)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[tuple[object, int, bytes], _Flight] = {}

    def values(self, owner: object, keys: Sequence[bytes], compute: Compute) -> Flow[Values]:
        """The value of each key, computed by this call or by a concurrent one.

        Args:
            owner: The cache that the keys belong to.
            keys: Without duplicates.
            compute: Returns a flow that computes the values of some keys.
        """
        values: Values = {}
        loop: object = yield Invoke(_no_loop, asyncio.get_running_loop)
        while missing := [key for key in keys if key not in values]:
            flight = _Flight(loop)
            mine, others = self._claim(owner, missing, flight)
            values |= yield from self._computed(owner, mine, flight, compute)
            cancelled = False
            for other in others:
                found: Mapping[bytes, bytes] | None = yield Wait(other.future)
                cancelled = cancelled or found is None
                result = found or {}
                values |= {key: result[key] for key in missing if key in result}
            failed = [key for key in missing if key not in values]
            if failed and not cancelled:  # all waiting calls try concurrently, not one after another
                values |= yield from compute(failed)
        return values

    def _claim(self, owner: object, keys: Iterable[bytes], flight: _Flight) -> tuple[list[bytes], set[_Flight]]:
        """Claim the keys that no call is computing; also returns the flights of the other keys."""
        mine, others = [], set()
        with self._lock:
            for key in keys:
                other = self._flights.setdefault((flight.loop, id(owner), key), flight)
                if other is flight:
                    mine.append(key)
                else:
                    others.add(other)
        return mine, others

    def _computed(self, owner: object, keys: Sequence[bytes], flight: _Flight, compute: Compute) -> Flow[Values]:
        """Compute the values of claimed keys, and pass them on to the calls that wait for them."""
        result: Mapping[bytes, bytes] | None = None
        try:
            values = (yield from compute(keys)) if keys else {}
            result = values
        except Exception:
            result = {}
            raise
        finally:
            self._release(owner, keys, flight)
            flight.future.set_result(result)
        return values

    def _release(self, owner: object, keys: Iterable[bytes], flight: _Flight) -> None:
        with self._lock:
            for key in keys:
                self._flights.pop((flight.loop, id(owner), key), None)


def _no_loop() -> None:
    """The event loop of a synchronous call; it has none, even on the thread of a running one."""
