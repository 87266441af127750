"""Time and memory of a comparison: 1,000 queries with 100 candidates each, 5 rerankers.

It runs in a separate process to measure its peak memory. Providers answer from memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import httpx

from anyrerank import Reranker
from anyrerank.evaluation import Dataset, compare
from tests.benchmarks.figures import Figure, stays_under
from tests.benchmarks.loopback import KEY, MODEL, ROOT, texts

_QUERIES, _CANDIDATES, _RERANKERS = 1000, 100, 5
_DOCUMENTS = 20_000


def run() -> list[Figure]:
    command = [sys.executable, "-m", "tests.benchmarks.comparing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    seconds, megabytes = json.loads(done.stdout)
    return [
        stays_under("compare", "1,000 queries, 100 candidates, 5 rerankers", seconds, None, "s", limit=30),
        stays_under("compare", "the same, peak memory of the process", megabytes, None, "MB", limit=1000),
    ]


def _data() -> Dataset:
    documents = {f"d{number}": text for number, text in enumerate(texts(_DOCUMENTS))}
    ids = list(documents)
    starts = {f"q{number}": 17 * number for number in range(_QUERIES)}
    return Dataset(
        queries={query: f"query {query}" for query in starts},
        documents=documents,
        labels={query: {ids[start + 3]: 1, ids[start + 50]: 2} for query, start in starts.items()},
        candidates={query: ids[start : start + _CANDIDATES] for query, start in starts.items()},
    )


def _reranker(number: int) -> Reranker:
    rows = [
        {"index": (7 * rank + number) % _CANDIDATES, "relevance_score": 1 - rank / _CANDIDATES}
        for rank in range(_CANDIDATES)
    ]
    content = json.dumps({"results": rows}).encode()
    client = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, content=content)))
    return Reranker(MODEL, api_key=KEY, http_client=client)


def _measure() -> None:
    import resource

    start = time.perf_counter()
    report = compare({str(number): _reranker(number) for number in range(_RERANKERS)}, _data(), announce=len)
    report.to_html()
    seconds = time.perf_counter() - start
    sys.stdout.write(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


if __name__ == "__main__":
    _measure()
