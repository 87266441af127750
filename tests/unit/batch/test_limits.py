"""Batches with limits: rows wait for their turn, and nothing but a request takes one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import expected, ids, parts, reranker, row, write_rows
from tests.support.clock import Clock

from anyrerank import BadRequestError, Limit, MemoryCache, Reranker, Router
from anyrerank.batch import Report, RerankBatch, run
from anyrerank.testing import FakeProvider, StubServer, fake_provider

SECOND = 60 / 59.4
"""Seconds between two requests at 60 per minute."""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", map(row, range(100)))


@pytest.fixture
def fake() -> type[FakeProvider]:
    return fake_provider()


@pytest.fixture
def go(fake: type[FakeProvider], rows: Path, tmp_path: Path) -> Callable[..., Report]:
    def start(target: Any = None, **arguments: Any) -> Report:
        target = target or Reranker("fake/m", custom_llm_provider=fake)
        return run(rows, tmp_path / "out", target, **{"in_flight": 8, "chunk_rows": 10, **arguments})

    return start


@pytest.mark.parametrize(
    "limits",
    [
        {"rpm": 60},
        {"limit": Limit(rpm=60)},
        {"of_reranker": Limit(rpm=60)},
        {"rpm": 60, "of_reranker": Limit(tpm=10**9)},
    ],
    ids=["rpm", "limit", "of the reranker", "two"],
)
def test_rows_are_evenly_spaced(
    fake: type[FakeProvider], go: Callable[..., Report], clock: Clock, limits: dict[str, Any]
) -> None:
    given = {**limits}
    own = Reranker("fake/m", custom_llm_provider=fake, limit=given.pop("of_reranker", None))
    assert go(own, **given).exit_code == 0
    assert clock.now - 1_000.0 >= 98 * SECOND


def test_waiting_does_not_use_up_the_timeout(
    fake: type[FakeProvider], go: Callable[..., Report], tmp_path: Path, clock: Clock
) -> None:
    report = go(Reranker("fake/m", custom_llm_provider=fake, timeout=5.0), rpm=6, in_flight=64)
    assert (report.exit_code, report.attempts) == (0, 100)
    assert ids(tmp_path / "out") == expected(100)
    assert clock.now - 1_000.0 >= 980


def test_the_timeout_of_a_deployment_counts_from_the_turn_on(rows: Path, tmp_path: Path) -> None:
    with StubServer() as server:
        params = {"model": "cohere/m", "api_base": server.url, "api_key": "k", "timeout": 2.0}
        router = Router([{"model_name": "r", "litellm_params": params}])
        report = run(rows, tmp_path / "out", router, rpm=1_200, in_flight=64)
    assert (report.exit_code, report.attempts) == (0, 100)
    assert max(each["seconds"] for each in parts(tmp_path / "out")) < 2.0  # the last of 64 rows waits for 3 seconds


def test_requests_of_a_row_that_is_split_wait_too(
    go: Callable[..., Report], fake: type[FakeProvider], clock: Clock
) -> None:
    split = Reranker("fake/m", custom_llm_provider=fake, batch_size=1, timeout=5.0)
    assert go(split, rpm=60).attempts == 300
    assert clock.now - 1_000.0 >= 298 * SECOND


def test_cached_rows_take_no_turn(
    fake: type[FakeProvider], go: Callable[..., Report], rows: Path, clock: Clock
) -> None:
    cache = MemoryCache(ttl=None)
    caching = Reranker("fake/m", custom_llm_provider=fake, cache=cache)
    for number in range(100):
        caching.rerank(row(number)["query"], row(number)["candidates"])
    assert go(caching, rpm=1).exit_code == 0
    assert clock.waits == []


def test_a_signal_ends_the_wait_for_a_turn(rows: Path, tmp_path: Path) -> None:
    with StubServer() as server:

        def stop(exchange: Any) -> None:
            exchange.rank()
            os.kill(os.getpid(), signal.SIGINT)

        server.handler = stop
        report = run(rows, tmp_path / "out", reranker(server.url), rpm=1)
        assert (report.exit_code, len(server.requests)) == (4, 1)
    assert parts(tmp_path / "out") == []


def test_a_limit_and_rates_together_are_refused(go: Callable[..., Report]) -> None:
    with pytest.raises(BadRequestError, match="either limit, or rpm and tpm"):
        go(limit=Limit(rpm=1), rpm=1)


@pytest.mark.parametrize("given", [{"rpm": 0}, {"tpm": -1}], ids=str)
def test_wrong_rates_of_an_engine_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="must be a positive number"):
        RerankBatch("local/lexical", **given)


@pytest.mark.parametrize("given", [{"rpm": 60}, {"tpm": 1_000}], ids=str)
def test_tasks_of_an_engine_wait(clock: Clock, given: dict[str, Any]) -> None:
    batch = RerankBatch("local/lexical", keep=[], **given)
    table = {"query": ["which " * 20] * 10, "candidates": [["a " * 60]] * 10}
    assert asyncio.run(batch(table))["ranking"] == [[0]] * 10
    assert clock.now - 1_000.0 >= 8


def test_an_engine_with_a_limit_that_processes_do_not_share_says_so(clock: Clock) -> None:
    batch = RerankBatch("local/lexical", keep=[], limit=Limit(rpm=60))
    with pytest.warns(RuntimeWarning, match="counts on its own"):
        asyncio.run(batch({"query": ["which"] * 10, "candidates": [["a"]] * 10}))
    assert clock.now - 1_000.0 >= 8
