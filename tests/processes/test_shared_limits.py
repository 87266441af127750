"""Two processes that share a limit use a vendor's quota up, and are refused next to never."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.batch import expected, ids, row, write_rows

from anyrerank.testing import Exchange, StubServer

ROWS = 2_400
QUOTA = 400.0
"""Requests a second, as many at first at once."""

WORKER = """
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


@pytest.mark.slow
def test_two_processes_use_a_quota_up(redis_url: str, tmp_path: Path) -> None:
    vendor = Vendor()
    with StubServer(handler=vendor) as server:
        halves = [write_rows(tmp_path / f"{half}.jsonl", map(row, range(half, ROWS, 2))) for half in range(2)]
        runs = [
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", WORKER, server.url, redis_url, str(half), str(tmp_path / f"out{number}")],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, half in enumerate(halves)
        ]
        try:
            assert [each.communicate(timeout=60)[0].strip() for each in runs] == ["0", "0"]
        finally:
            for each in runs:
                each.kill()
                each.communicate()
    assert vendor.refused <= ROWS * 0.001
    assert sorted([*ids(tmp_path / "out0"), *ids(tmp_path / "out1")]) == expected(ROWS)
    # from when both processes are at work to when the first of them has only its last rows in flight
    start, end = vendor.times[400], vendor.times[-200]
    assert (ROWS - 600) / (end - start) / QUOTA >= 0.97, json.dumps([start - vendor.times[0], end - vendor.times[0]])
