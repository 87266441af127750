"""Ten times what a gateway can do: what it still does, how soon it refuses the rest, and whether probes are answered.

The provider needs 100 ms for each request and the gateway lets 8 in, so it can answer 80 requests a second.
The client offers 800, each at its time and on a connection of its own, whatever became of those before.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from anyrerank.testing import Exchange, StubServer
from tests.benchmarks.figures import Figure, reaches_ratio, stays_under
from tests.benchmarks.loopback import QUERY, texts
from tests.support.gateway_process import gateway_process

_IN_FLIGHT, _QUEUE, _UPSTREAM_SECONDS = 8, 8, 0.1
_CAPACITY = _IN_FLIGHT / _UPSTREAM_SECONDS
_SECONDS = 5.0
_PROBE_SECONDS = 0.02


def run() -> list[Figure]:
    """The figures of a gateway under overload."""
    settings = {"max_in_flight": _IN_FLIGHT, "queue": _QUEUE, "queue_seconds": 1.0, "drain_delay": 0.0}
    with (
        TemporaryDirectory() as folder,
        StubServer(handler=_slowly) as provider,
        gateway_process(Path(folder), [provider.url], settings) as gateway,
    ):
        outcomes, probes = asyncio.run(_offered(int(gateway.url.rpartition(":")[2])))
    answered = [seconds for status, seconds in outcomes if status == 200]
    refused = [seconds for status, seconds in outcomes if status == 503]
    others = len(outcomes) - len(answered) - len(refused)
    sys.stderr.write(f"  {len(answered)} answered, {len(refused)} refused, {others} others\n")
    rate = len(answered) / _SECONDS
    return [
        reaches_ratio("overload", "what it can answer, offered 10 times", rate, _CAPACITY, "req/s", limit=0.9),
        stays_under("overload", "answered, p99", _p99(answered), None, "ms", limit=1500),
        stays_under("overload", "refused, p99", _p99(refused), None, "ms", limit=100),
        stays_under("overload", "probes, p99", _p99(probes), None, "ms", limit=100),
    ]


def _slowly(exchange: Exchange) -> None:
    time.sleep(_UPSTREAM_SECONDS)
    exchange.rank()


async def _offered(port: int) -> tuple[list[tuple[int, float]], list[float]]:
    body = json.dumps({"query": QUERY, "documents": texts(10)}).encode()
    head = f"POST /rerank HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    request, probes, over = head.encode() + body, list[float](), asyncio.Event()
    await asyncio.gather(*(_exchange(port, request) for _ in range(_IN_FLIGHT)))  # the first calls load modules
    probing = asyncio.create_task(_probes(port, over, probes))
    began, calls = time.perf_counter(), list[asyncio.Task[tuple[int, float]]]()
    for number in range(round(10 * _CAPACITY * _SECONDS)):
        await asyncio.sleep(max(0.0, began + number / (10 * _CAPACITY) - time.perf_counter()))
        calls.append(asyncio.create_task(_exchange(port, request)))
    outcomes = await asyncio.gather(*calls)
    over.set()
    await probing
    return outcomes, probes


async def _probes(port: int, over: asyncio.Event, found: list[float]) -> None:
    while not over.is_set():
        status, seconds = await _exchange(port, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert status == 200, status
        found.append(seconds)
        await asyncio.sleep(_PROBE_SECONDS)


async def _exchange(port: int, request: bytes) -> tuple[int, float]:
    """The status of an answer, and the seconds until its end."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = b""
    while part := await reader.read(65536):
        answer += part
    writer.close()
    return int(answer.split(b" ", 2)[1]), time.perf_counter() - began


def _p99(seconds: list[float]) -> float:
    return 1000 * quantiles(seconds, n=100)[98]
