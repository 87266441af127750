"""Two processes that share a limit, at a vendor that refuses what is more than its quota."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.batch import row, write_rows

from anyrerank.testing import Exchange, StubServer

ROWS = 2_400
QUOTA = 400.0
"""Requests a second, as many at first at once."""

_WORKER = """
import sys
from anyrerank import Limit, Reranker
from anyrerank.batch import run
from anyrerank.state import RedisState

url, redis, rows, out = sys.argv[1:]
with RedisState(redis) as state:
    limit = Limit(rpm=24_000, state=state, name="vendor")
    print(run(rows, out, Reranker("cohere/m", api_base=url, api_key="k"), limit=limit).exit_code)
"""


class Vendor:
    """Refuses what is more than its quota: a bucket that fills up evenly."""

    def __init__(self) -> None:
        self.full, self.at = QUOTA, time.monotonic()
        self.times: list[float] = []
        self.refused = 0

    def __call__(self, exchange: Exchange) -> None:
        now = time.monotonic()
        self.full, self.at = min(QUOTA, self.full + QUOTA * (now - self.at)), now
        if self.full < 1:
            self.refused += 1
            exchange.respond(429, {"message": "slow down"})
            return
        self.full -= 1
        self.times.append(now)
        exchange.rank()


def rerank_in_two_processes(vendor: Vendor, redis_url: str, folder: Path) -> list[Path]:
    """Rerank `ROWS` rows in two processes; returns the folders that they wrote."""
    with StubServer(handler=vendor) as server:
        outs = [folder / f"out{half}" for half in range(2)]
        halves = [write_rows(folder / f"{half}.jsonl", map(row, range(half, ROWS, 2))) for half in range(2)]
        runs = [
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", _WORKER, server.url, redis_url, str(half), str(out)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for half, out in zip(halves, outs, strict=True)
        ]
        try:
            assert [each.communicate(timeout=60)[0].strip() for each in runs] == ["0", "0"]
        finally:
            for each in runs:
                each.kill()
                each.communicate()
    return outs
