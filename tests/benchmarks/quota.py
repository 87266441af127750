"""How much of a vendor's quota two processes use that share a limit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.figures import Figure, reaches_ratio, stays_under
from tests.support.quota import QUOTA, ROWS, Vendor, rerank_in_two_processes
from tests.support.redis_server import RedisServer
from tests.support.server_process import new_server


def run() -> list[Figure]:
    """The rate at the vendor, and how many requests it refused."""
    vendor = Vendor()
    with TemporaryDirectory() as folder, new_server(RedisServer) as redis:
        redis.start()
        rerank_in_two_processes(vendor, redis.url, Path(folder))
    # from when both processes are at work to when the first of them has only its last rows in flight
    start, end = vendor.times[400], vendor.times[-200]
    rate = (ROWS - 600) / (end - start)
    return [
        reaches_ratio("quota", "of the vendor, by two processes", rate, QUOTA, "req/s", limit=0.97),
        stays_under("quota", "refused with 429", vendor.refused, None, "calls", limit=ROWS * 0.001),
    ]
