"""10,000 calls over three deployments that misbehave: `python -m tests.benchmarks.chaos`.

One takes 300 requests a second and answers 429 with `Retry-After: 1` to the rest, one answers 500 to a random fifth,
and one never answers until a third of the calls is over. Before that, as many calls while all three work.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import mean, quantiles

from anyrerank import RerankError, RerankResponse, Router
from tests.benchmarks.loopback import KEY, MODEL, QUERY, texts
from tests.benchmarks.server import scores_of

_CALLS = 10_000
_AT_ONCE = 64
_TIMEOUT = 10.0
_WEIGHTS = {"limited": 3.0, "random": 2.0, "hanging": 1.0}
_DOCUMENTS = texts(3)
_GOOD = scores_of(len(_DOCUMENTS))

Behaviour = Callable[[], "tuple[int, bytes] | None"]
"""A status and further headers, or `None` for no answer at all."""


def well() -> tuple[int, bytes]:
    return 200, b""


def limited(a_second: int) -> Behaviour:
    """Answers 429 above `a_second` requests per second."""
    seen: deque[float] = deque()

    def behave() -> tuple[int, bytes]:
        now = time.monotonic()
        while seen and seen[0] <= now - 1:
            seen.popleft()
        if len(seen) >= a_second:
            return 429, b"retry-after: 1\r\n"
        seen.append(now)
        return well()

    return behave


def at_random(fraction: float) -> Behaviour:
    """Answers 500 to a random fraction."""
    return lambda: (500, b"") if random.random() < fraction else well()


class Servers:
    """The three servers: each behaves as `how` says at that time, and remembers when it was asked."""

    def __init__(self) -> None:
        self.how: dict[str, Behaviour] = dict.fromkeys(_WEIGHTS, well)
        self.asked: dict[str, list[float]] = {name: [] for name in _WEIGHTS}
        self._connections: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, str]]:
        """Their addresses, by name."""
        servers = {name: await asyncio.start_server(self._serve(name), "127.0.0.1", 0) for name in _WEIGHTS}
        try:
            yield {name: "http://{}:{}".format(*server.sockets[0].getsockname()) for name, server in servers.items()}
        finally:
            for server in servers.values():
                server.close()
            for writer in self._connections:
                writer.close()

    def _serve(self, name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._connections.add(writer)
            while head := await _head(reader):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                self.asked[name].append(time.monotonic())
                answer = self.how[name]()
                if answer is None:
                    continue
                status, headers = answer
                content = _GOOD if status == 200 else b"{}"
                writer.write(
                    b"HTTP/1.1 %d S\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(content), headers, content)
                )

        return serve


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call: how long it took, and its response or error."""

    seconds: float
    result: RerankResponse | RerankError


async def asking(router: Router, calls: int, after: Callable[[int], None] = lambda number: None) -> list[Outcome]:
    """Make `calls` calls, `_AT_ONCE` at a time; `after` gets the number of those that are over."""
    outcomes: list[Outcome] = []
    waiting = iter(range(calls))

    async def worker() -> None:
        for _ in waiting:
            began = time.monotonic()
            result: RerankResponse | RerankError
            try:
                result = await router.arerank("rerank", QUERY, _DOCUMENTS)
            except RerankError as error:
                result = error
            outcomes.append(Outcome(time.monotonic() - began, result))
            after(len(outcomes))

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
    return outcomes


def share_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The fraction of the calls that each deployment answered."""
    answered = [each.result.attempts[-1].model_id for each in outcomes if isinstance(each.result, RerankResponse)]
    counted = Counter(answered)
    return {name: counted[name] / len(answered) for name in _WEIGHTS}


def report(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    good = [each.result for each in outcomes if isinstance(each.result, RerankResponse)]
    bad = Counter(type(each.result).__name__ for each in outcomes if isinstance(each.result, RerankError))
    seconds = [each.seconds for each in outcomes]
    tries = Counter(len(response.attempts) for response in good)
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in share_of(outcomes).items())
    median, slow = (1000 * quantiles(seconds, n=100)[index] for index in (49, 98))
    counted = ", ".join(f"{count} x {number}" for number, count in sorted(tries.items()))
    return [
        title,
        f"  answered            {len(good)} of {len(outcomes)}",
        f"  longest call        {max(seconds):.2f} s of {_TIMEOUT:g} s; p50 {median:.1f} ms, p99 {slow:.1f} ms",
        f"  attempts a call     {mean(len(response.attempts) for response in good):.3f} ({counted})",
        f"  answered by         {shares}",
        *(f"  failed              {count} with {name}" for name, count in bad.items()),
    ]


async def run() -> int:
    servers = Servers()
    random.seed(7)
    async with servers.running() as addresses:
        entries = [
            {
                "model_name": "rerank",
                "litellm_params": {"model": MODEL, "api_key": KEY, "api_base": addresses[name], "weight": weight},
                "model_info": {"id": name},
            }
            for name, weight in _WEIGHTS.items()
        ]
        async with Router(entries, timeout=_TIMEOUT, num_retries=5) as router:
            well_behaved = await asking(router, _CALLS)
            recovered = 0.0

            def recover(over: int) -> None:
                nonlocal recovered
                if over == _CALLS // 3:
                    servers.how["hanging"] = well
                    recovered = time.monotonic()

            servers.how = {
                "limited": limited(300),
                "random": at_random(0.2),
                "hanging": lambda: None,
            }
            began = time.monotonic()
            chaotic = await asking(router, _CALLS, recover)
            took = time.monotonic() - began
            statuses = router.deployment_status()
        again = next(when for when in servers.asked["hanging"] if when > recovered) - recovered
    total = sum(_WEIGHTS.values())
    off = max(abs(share - _WEIGHTS[name] / total) for name, share in share_of(well_behaved).items())
    lines = [
        *report(f"{_CALLS} calls, {_AT_ONCE} at once, all working", well_behaved),
        f"  off the weights by  {100 * off:.2f} points at most",
        *report(f"{_CALLS} calls in {took:.1f} s, with chaos", chaotic),
        f"  used again          {again:.2f} s after it recovered",
        f"  left in flight      {sum(each.in_flight for each in statuses)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    good = all(isinstance(each.result, RerankResponse) and each.seconds <= _TIMEOUT for each in chaotic)
    return 0 if good and off <= 0.03 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
