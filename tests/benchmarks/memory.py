"""What ranking 100,000 documents in batches of 1,000 holds at its peak, against the documents' own size.

Measured in a process of its own (`python -m tests.benchmarks.memory sync ADDRESS`), after a first small call, so that
what is imported and opened once is not counted.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

from anyrerank import Reranker, RerankResponse
from tests.benchmarks.figures import Figure, within_ratio
from tests.benchmarks.loopback import KEY, MODEL, QUERY, ROOT, serving, texts

_COUNT, _SIZE = 100_000, 1000
_RUNS = 3
_MB = 1e6
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run() -> list[Figure]:
    if sys.platform != "linux":
        sys.stderr.write("memory: not measured, the peak of resident memory is read from Linux's /proc\n")
        return []
    with serving() as address:
        measured = {mode: [_measured(mode, address) for _ in range(_RUNS)] for mode in ("sync", "async")}
    return [_figure(mode, runs) for mode, runs in measured.items()]


def _figure(mode: str, runs: list[tuple[float, float]]) -> Figure:
    own = runs[0][0]
    peak = own + median(grown for _, grown in runs)
    return within_ratio("memory", f"{mode}, peak, the documents' own size", peak / _MB, own / _MB, "MB", limit=2.5)


def _measured(mode: str, address: str) -> tuple[float, float]:
    """Bytes of the documents, and bytes by which resident memory grows above them."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", mode, address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    own, grown = json.loads(done.stdout)
    return own, grown


def _probe(mode: str, address: str) -> tuple[float, float]:
    reranker = Reranker(MODEL, api_key=KEY, api_base=address, batch_size=_SIZE)
    documents = texts(_COUNT)
    own = sys.getsizeof(documents) + sum(map(sys.getsizeof, documents))
    if mode == "sync":
        return own, _sync_growth(reranker, documents)
    return own, asyncio.run(_async_growth(reranker, documents))


def _sync_growth(reranker: Reranker, documents: list[str]) -> float:
    with reranker:
        reranker.rerank(QUERY, documents[:1])
        before = _peak_starts_here()
        response = reranker.rerank(QUERY, documents)
        return _grown(before, response)


async def _async_growth(reranker: Reranker, documents: list[str]) -> float:
    async with reranker:
        await reranker.arerank(QUERY, documents[:1])
        before = _peak_starts_here()
        response = await reranker.arerank(QUERY, documents)
        return _grown(before, response)


def _peak_starts_here() -> float:
    """Forget the peak so far; the bytes that are resident now."""
    _RESET.write_text("5", "ascii")
    return _resident("VmRSS")


def _grown(before: float, response: RerankResponse) -> float:
    peak = _resident("VmHWM")
    assert len(response.results) == _COUNT
    return peak - before


def _resident(kind: str) -> float:
    found = re.search(rf"{kind}:\s+(\d+) kB", _STATUS.read_text("ascii"))
    assert found is not None
    return 1024 * float(found[1])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe(sys.argv[1], sys.argv[2])))
