"""Measuring turn by turn: A B A B ..., then the median of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]
Clock = Callable[[], float]


def seconds(calls: Sequence[Call], *, times: int, warm_up: int = 5, clock: Clock = time.perf_counter) -> list[float]:
    """The median time of each of `calls`, which take turns."""
    for call in [*calls] * warm_up:
        call()
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, measured in zip(calls, took, strict=True):
            began = clock()
            call()
            measured.append(clock() - began)
    return [median(measured) for measured in took]


async def aseconds(calls: Sequence[AsyncCall], *, times: int, warm_up: int = 5) -> list[float]:
    """`seconds`, on the running event loop."""
    for call in [*calls] * warm_up:
        await call()
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, measured in zip(calls, took, strict=True):
            began = time.perf_counter()
            await call()
            measured.append(time.perf_counter() - began)
    return [median(measured) for measured in took]


@dataclass(frozen=True, slots=True)
class Load:
    """What many concurrent calls did: requests a second, and the seconds that 99 of 100 stayed under."""

    rate: float
    p99: float


async def loads(calls: Sequence[tuple[AsyncCall, int]], *, at_once: int, rounds: int) -> list[Load]:
    """The medians of each call, over `rounds` turns with the given number of calls, `at_once` at a time."""
    for call, _ in calls:
        await load(call, 2 * at_once, at_once)
    found: list[list[Load]] = [[] for _ in calls]
    for _ in range(rounds):
        for (call, count), measured in zip(calls, found, strict=True):
            measured.append(await load(call, count, at_once))
    return [Load(median(each.rate for each in one), median(each.p99 for each in one)) for one in found]


async def rates(calls: Sequence[tuple[AsyncCall, int]], *, at_once: int, rounds: int) -> list[float]:
    """The median of requests a second of each call; see `loads`."""
    return [each.rate for each in await loads(calls, at_once=at_once, rounds=rounds)]


async def load(call: AsyncCall, count: int, at_once: int) -> Load:
    """Rate and latency of `count` calls."""
    waiting = iter(range(count))
    took: list[float] = []

    async def worker() -> None:
        for _ in waiting:
            start = time.perf_counter()
            await call()
            took.append(time.perf_counter() - start)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return Load(count / (time.perf_counter() - began), quantiles(took, n=100)[98])
