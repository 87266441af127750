"""`RerankBatch`, without an engine."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.batch import CANDIDATES, row

from anyrerank import AuthenticationError, BadRequestError, RerankError
from anyrerank.batch import RerankBatch
from anyrerank.testing import Exchange, StubServer

MODEL = "cohere_compatible/m"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    monkeypatch.setenv("OUR_KEY", "the-secret")
    with StubServer() as server:
        yield server


@pytest.fixture
def batch(stub: StubServer) -> RerankBatch:
    made = RerankBatch(MODEL, api_base=stub.url, api_key_env="OUR_KEY", in_flight=4, max_wait=0, top_n=2)
    copied: RerankBatch = pickle.loads(pickle.dumps(made))  # noqa: S301
    return copied


def columns(count: int) -> dict[str, list[Any]]:
    rows = [row(number) for number in range(count)]
    return {name: [each[name] for each in rows] for name in rows[0]}


async def test_batch_of_columns_keeps_the_id_and_adds_columns(batch: RerankBatch, stub: StubServer) -> None:
    found = await batch(columns(10))
    assert found["id"] == [f"r{number}" for number in range(10)]
    assert [len(ranking) for ranking in found["ranking"]] == [2] * 10
    assert found["error"] == [None] * 10
    assert list(found)[:3] == ["id", "ranking", "scores"]
    assert {request.headers["authorization"] for request in stub.requests} == {"Bearer the-secret"}


def test_pickle_holds_no_key(batch: RerankBatch, stub: StubServer) -> None:
    asyncio.run(batch(columns(1)))
    assert b"the-secret" not in pickle.dumps(batch)
    with pytest.raises(BadRequestError, match="api_key_env"):
        RerankBatch(MODEL, api_key="the-secret")
    with pytest.raises(BadRequestError, match="headers"):
        RerankBatch(MODEL, headers={"authorization": "the-secret"})


def test_missing_variable_is_named(stub: StubServer) -> None:
    with pytest.raises(AuthenticationError, match="NO_SUCH_KEY"):
        asyncio.run(RerankBatch(MODEL, api_base=stub.url, api_key_env="NO_SUCH_KEY")(columns(1)))


async def test_errors_are_rows(batch: RerankBatch, stub: StubServer) -> None:
    given = {**columns(4), "query": ["a", None, " ", "d"]}
    stub.fail(422, times=1)
    found = await batch(given)
    assert [error is None for error in found["error"]].count(False) == 3
    assert found["ranking"].count(None) == 3
    assert len(stub.requests) == 2


def test_refused_key_fails_the_task_at_the_twentieth_row(batch: RerankBatch, stub: StubServer) -> None:
    stub.fail(401)
    found = asyncio.run(batch(columns(19)))
    assert found["error"] == ["AuthenticationError"] * 19
    with pytest.raises(RerankError, match="20 rows in a row failed"):
        asyncio.run(batch(columns(19)))
    assert len(stub.requests) <= 19 + 4


def test_all_batches_of_a_process_share_what_is_in_flight(stub: StubServer) -> None:
    """Four copies at the same time, from four threads: no more than four requests in flight."""
    batch = RerankBatch(MODEL, api_base=stub.url, api_key_env="OUR_KEY", in_flight=4)
    lock, now, most = threading.Lock(), [0], [0]

    def count(exchange: Exchange) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        stub.wait_for_requests(min(exchange.number + 2, 80), 0.05)  # long enough for others to arrive
        with lock:
            now[0] -= 1
        exchange.rank()

    stub.handler = count
    copies = [pickle.loads(pickle.dumps(batch)) for _ in range(4)]  # noqa: S301
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: asyncio.run(each(columns(20))), copies))
    assert len(stub.requests) == 80
    assert most[0] <= 4


async def test_row_is_for_datasets(batch: RerankBatch) -> None:
    found = await batch.row(row(0))
    assert (len(found["ranking"]), found["error"], "query" in found) == (2, None, False)


async def test_missing_column_is_named(batch: RerankBatch) -> None:
    with pytest.raises(BadRequestError, match=r"no column candidates or documents; the columns: query"):
        await batch({"query": ["a"]})
    with pytest.raises(BadRequestError, match="no column q"):
        await RerankBatch(MODEL, query="q")(columns(1))


def test_wrong_option_is_refused_before_anything_is_sent_to_workers() -> None:
    with pytest.raises(BadRequestError, match="top_n"):
        RerankBatch(MODEL, top_n=0)


def test_frames_and_arrow_tables_have_the_documented_columns(batch: RerankBatch) -> None:
    pa, pandas = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    table = pa.table(columns(3))
    (found,) = list(batch.in_arrow([table.to_batches()[0]]))
    assert found.schema == batch.schema(table.schema)
    frame = pandas.DataFrame(columns(3), index=[5, 6, 7])
    result = batch.frame(frame)
    assert list(result.index) == [5, 6, 7]
    assert (result.dtypes == batch.meta(frame).dtypes).all()
    assert [list(each) for each in result["ranking"]] == [list(each) for each in found["ranking"].to_pylist()]
    plain = next(batch.in_pandas([frame]))
    assert [list(each) for each in plain["scores"]] == [list(each) for each in result["scores"]]
    assert list(plain.columns) == list(result.columns)


async def test_numpy_candidates_are_ranked(batch: RerankBatch) -> None:
    numpy = pytest.importorskip("numpy")
    found = await batch({"query": numpy.array(["a"]), "candidates": [numpy.array(CANDIDATES, dtype=object)]})
    assert found["error"] == [None]
