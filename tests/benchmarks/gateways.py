"""The gateway, and its peers where they are installed: `python -m tests.benchmarks gateways`.

Each gateway runs in a process of its own in front of the same upstream, with one deployment, and a client without any
library keeps 64 requests in flight. Ours counts metrics, records what calls cost, and holds a budget. The number that
other work on the machine does not spoil is the processor time per request of the gateway's process. The peers are found
in the environment: `BENCH_LITELLM` is the `litellm` command, `BENCH_SMG` the `smg` command.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from tests.benchmarks.figures import Figure, adds, reaches_ratio, stays_under, within_ratio
from tests.benchmarks.loopback import QUERY, ROOT, serving, texts

_IN_FLIGHT = 64
_REQUESTS = 3_000
_ALONE = 500
KEY = "sk-bench"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a client saw, and what the gateway needed.

    Attributes:
        rate: Requests per second.
        p50, p99: Latencies in ms.
        cpu: Processor time of the gateway per request in ms.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that runs.

    Attributes:
        port: Where it listens.
        pid: Its process.
        path: Where it answers.
        ready: Seconds from its start to its first answer.
    """

    port: int
    pid: int
    path: str
    ready: float

    @property
    def cpu(self) -> float:
        """Seconds of processor time, those of its children included."""
        return sum(_cpu(pid) for pid in _family(self.pid))

    @property
    def memory(self) -> float:
        """Resident memory in MB, that of its children included."""
        return sum(_memory(pid) for pid in _family(self.pid))


def run() -> list[Figure]:
    """The figures of our gateway, beside those of the peers that are there."""
    found = {name: os.environ.get(f"BENCH_{name.upper()}") for name in ("litellm", "smg")}
    with serving() as upstream, TemporaryDirectory() as folder:
        config = _config(Path(folder, "config.yaml"), upstream)
        with_budget = _config(Path(folder, "budget.yaml"), upstream, "litellm_settings: {max_budget: 1000000}")
        commands = {"ours": ([sys.executable, "-m", "anyrerank", "serve", "--config", str(with_budget)], "/rerank")}
        if found["litellm"]:
            commands["litellm"] = ([*shlex.split(found["litellm"]), "--config", str(config)], "/rerank")
        if found["smg"]:
            workers = ["--worker-urls", upstream, "--policy", "random"]
            commands["smg"] = ([*shlex.split(found["smg"]), "launch", *workers], "/v1/rerank")
        direct, loads, figures = asyncio.run(_measured(upstream, commands))
        _print(direct, loads)
        return figures


async def _measured(
    upstream: str, commands: Mapping[str, tuple[list[str], str]]
) -> tuple[Load, dict[str, Load], list[Figure]]:
    port = int(upstream.rpartition(":")[2])
    direct = await load(Running(port, os.getpid(), "/rerank", 0.0), 1, _ALONE)
    loads: dict[str, Load] = {}
    figures: list[Figure] = []
    for name, (command, path) in commands.items():
        with started(command, path) as gateway:
            idle = gateway.memory
            await load(gateway, _IN_FLIGHT, 300)
            if name == "ours":
                figures += await _alone(gateway, direct, idle)
            loads[name] = await load(gateway, _IN_FLIGHT, _REQUESTS)
    ours = loads["ours"]
    if peer := loads.get("litellm"):
        figures.append(reaches_ratio("gateway", "LiteLLM's proxy, 64", ours.rate, peer.rate, "req/s", limit=10))
        figures.append(within_ratio("gateway", "LiteLLM's proxy, p99", ours.p99, peer.p99, "ms", limit=0.2))
    if peer := loads.get("smg"):
        figures.append(within_ratio("gateway", "smg, CPU a request", ours.cpu, peer.cpu, "ms", limit=1.3))
    return direct, loads, figures


async def _alone(gateway: Running, direct: Load, idle: float) -> list[Figure]:
    """One request at a time, and what the process needs beside that."""
    alone = await load(gateway, 1, _ALONE)
    await load(gateway, _IN_FLIGHT, 1_000)
    before = gateway.memory
    await load(gateway, _IN_FLIGHT, 20_000)
    return [
        adds("gateway", "upstream alone, one at a time, p50", alone.p50, direct.p50, "ms", limit=0.8),
        adds("gateway", "upstream alone, one at a time, p99", alone.p99, direct.p99, "ms", limit=3.0),
        stays_under("gateway", "start to ready", gateway.ready, None, "s", limit=1.5),
        stays_under("gateway", "memory, idle", idle, None, "MB", limit=90),
        within_ratio("gateway", "memory after 20,000 calls", gateway.memory, before, "MB", limit=1.05),
    ]


def _config(path: Path, upstream: str, more: str = "") -> Path:
    path.write_text(
        f"""
model_list:
  - model_name: rerank
    litellm_params:
      model: cohere/rerank-v3.5
      api_key: vendor-key
      api_base: {upstream}
general_settings:
  master_key: {KEY}
{more}
"""
    )
    return path


@contextmanager
def started(command: list[str], path: str) -> Iterator[Running]:
    with TemporaryDirectory() as state:
        given = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "XDG_STATE_HOME": state}
        with _process(command, path, given) as running:
            yield running


@contextmanager
def _process(command: list[str], path: str, environment: Mapping[str, str]) -> Iterator[Running]:
    port = _free_port()
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port)
        yield Running(port, process.pid, path, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(port: int) -> None:
    """Wait until it answers anything."""
    until = time.perf_counter() + _START_SECONDS
    while time.perf_counter() < until:
        try:
            urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=1).close()
        except OSError as error:
            if getattr(error, "code", None) is not None:  # an answer, if not the best
                return
            time.sleep(0.01)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


async def load(gateway: Running, connections: int, requests: int, key: str = KEY) -> Load:
    """`requests` requests on `connections` connections, all of which are answered."""
    statuses: Counter[int] = Counter()
    found = await counted(gateway, connections, requests, statuses, key)
    assert statuses == {200: requests}, statuses
    return found


async def counted(gateway: Running, connections: int, requests: int, statuses: Counter[int], key: str = KEY) -> Load:
    """`requests` requests on `connections` connections; their statuses are counted."""
    body = json.dumps({"model": "rerank", "query": QUERY, "documents": texts(100), "return_documents": False}).encode()
    head = (
        f"POST {gateway.path} HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request, latencies = head.encode() + body, list[float]()
    left = iter(range(requests))
    cpu, began = gateway.cpu, time.perf_counter()
    await asyncio.gather(*(_connection(gateway.port, request, left, latencies, statuses) for _ in range(connections)))
    seconds = time.perf_counter() - began
    cuts = quantiles(latencies, n=100)
    return Load(requests / seconds, 1000 * median(latencies), 1000 * cuts[98], 1000 * (gateway.cpu - cpu) / requests)


async def _connection(
    port: int, request: bytes, left: Iterator[int], latencies: list[float], statuses: Counter[int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in left:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        statuses[int(head.split(b" ", 2)[1])] += 1
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        latencies.append(time.perf_counter() - began)
    writer.close()


def _family(pid: int) -> list[int]:
    """A process and its children, on Linux."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _family(int(child))
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _print(direct: Load, loads: Mapping[str, Load]) -> None:
    for name, load in {"upstream, one at a time": direct, **loads}.items():
        sys.stderr.write(
            f"  {name}: {load.rate:,.0f} req/s, p50 {load.p50:.1f} ms, p99 {load.p99:.1f} ms"
            + (f", {load.cpu:.2f} ms CPU a request\n" if load is not direct else "\n")
        )
