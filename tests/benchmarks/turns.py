"""Measuring turn by turn: A B A B ..., then the median of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


def seconds(calls: Sequence[Call], *, times: int, warm_up: int = 5) -> list[float]:
    """The median time of each of `calls`, which take turns."""
    for call in [*calls] * warm_up:
        call()
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, measured in zip(calls, took, strict=True):
            began = time.perf_counter()
            call()
            measured.append(time.perf_counter() - began)
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


async def rates(calls: Sequence[tuple[AsyncCall, int]], *, at_once: int, rounds: int) -> list[float]:
    """The median of requests a second of each call, made so many times in each of its turns, `at_once` at a time."""
    for call, _ in calls:
        await rate(call, 2 * at_once, at_once)
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for (call, count), measured in zip(calls, found, strict=True):
            measured.append(await rate(call, count, at_once))
    return [median(measured) for measured in found]


async def rate(call: AsyncCall, count: int, at_once: int) -> float:
    """Requests a second of `count` calls."""
    waiting = iter(range(count))

    async def worker() -> None:
        for _ in waiting:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return count / (time.perf_counter() - began)
