"""`anyrerank batch`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.batch import expected, ids, row, write_rows
from tests.support.redis_server import RedisServer
from tests.support.voyage_batches import VoyageStandIn
from tests.unit.cli.running import run

from anyrerank.testing import StubServer

MODEL = "cohere_compatible/m"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def batch(stub: StubServer, tmp_path: Path) -> Callable[..., Any]:
    rows = write_rows(tmp_path / "rows.jsonl", map(row, range(25)))

    def start(*more: str, model: str = MODEL) -> Any:
        connection = ["--model", model, "--api-base", stub.url, "--api-key", "k"]
        price = ["--option", "input_cost_per_query=0.001"]
        return run("batch", str(rows), "--out", str(tmp_path / "out"), *connection, *price, *more, columns=200)

    return start


def test_batch_announces_runs_and_reports(batch: Callable[..., Any], stub: StubServer, tmp_path: Path) -> None:
    done = batch("--yes", "--rpm", "6000000")
    assert done.exit_code == 0, done.output
    assert "25 rows in 1 file, 25 requests, 75 documents, estimated cost $0.0250, 1 min at 6e+06" in done.stderr
    assert done.stdout.startswith("complete: 25 rows done; 25 requests, $0.0250")
    assert ids(tmp_path / "out") == expected(25)
    status = run("batch", "--status", str(tmp_path / "out"), "--json")
    assert (status.exit_code, json.loads(status.stdout)["rows"]) == (0, 25)
    assert batch("--yes").exit_code == 0
    assert len(stub.requests) == 25


def test_batch_asks_nobody_and_does_not_start(batch: Callable[..., Any], stub: StubServer, tmp_path: Path) -> None:
    done = batch()
    assert (done.exit_code, done.stdout, stub.requests) == (2, "", [])
    assert "--yes or --budget" in done.stderr
    assert not (tmp_path / "out").exists()
    assert batch("--budget", "1").exit_code == 0


def test_batch_goes_through_the_batch_api_of_voyage(tmp_path: Path) -> None:
    rows, out = write_rows(tmp_path / "rows.jsonl", map(row, range(25))), str(tmp_path / "out")
    with VoyageStandIn() as vendor:
        connection = ["--model", "voyage/rerank-2.5", "--api-base", vendor.url, "--api-key", "pa-key"]
        done = run("batch", str(rows), "--out", out, *connection, "--via", "batch-api", "--yes", columns=200)
        assert done.exit_code == 0, done.output
        assert "(33% less through the Batch API), within 12 hours" in done.stderr
        assert done.stdout.startswith("complete: 25 rows done; 25 requests")
        assert set(vendor.paid.values()) == {1}


def test_batch_says_who_has_a_batch_api(batch: Callable[..., Any], stub: StubServer) -> None:
    done = batch("--yes", "--via", "batch-api")
    assert (done.exit_code, stub.requests) == (2, [])
    assert "only Voyage AI has one, for voyage/rerank-2.5 and voyage/rerank-2.5-lite" in done.stderr


def test_batch_estimates_without_sending(batch: Callable[..., Any], stub: StubServer) -> None:
    done = batch("--estimate")
    assert (done.exit_code, stub.requests) == (0, [])
    assert "estimated cost $0.0250" in done.stdout


def test_batch_reports_failed_rows_with_status_3(batch: Callable[..., Any], stub: StubServer) -> None:
    stub.fail(422, times=2)
    done = batch("--yes", "--in-flight", "1")
    assert done.exit_code == 3
    assert "2 of them failed (BadRequestError 2)" in done.stdout
    assert batch("--yes", "--in-flight", "1").exit_code == 3
    assert batch("--yes", "--retry-errors").exit_code == 0


def test_batch_that_stopped_has_status_4(batch: Callable[..., Any], stub: StubServer) -> None:
    stub.fail(401)
    done = batch("--yes")
    assert done.exit_code == 4
    assert done.stdout.startswith("stopped: 20 rows in a row failed, the last one with AuthenticationError")
    stub.recover()
    assert batch("--yes").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "0.01"], "exceeds the budget"),
        (["--yes", "--shard", "3"], "--shard must be I/N"),
        (["--yes", "--shard", "3/3"], "from 0 to 2"),
        (["--yes", "--query", "q"], "line 1 has no q"),
        (["--yes", "--keep", "error"], "keep must not name error"),
        (["--yes", "--rpm", "0"], "rpm must be"),
    ],
)
def test_batch_that_cannot_start_has_status_2(
    batch: Callable[..., Any], stub: StubServer, arguments: list[str], words: str
) -> None:
    done = batch(*arguments)
    assert (done.exit_code, done.stdout, stub.requests) == (2, "", [])
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert words in done.stderr


def test_batch_without_its_arguments_says_which(tmp_path: Path) -> None:
    for arguments in ([], ["rows.jsonl", "--out", "out"], ["--status", str(tmp_path)]):
        done = run("batch", *arguments)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_batch_takes_a_router(tmp_path: Path, stub: StubServer) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", map(row, range(5)))
    config = tmp_path / "config.yaml"
    parameters = {"model": MODEL, "api_base": stub.url, "api_key": "k"}
    config.write_text(json.dumps({"model_list": [{"model_name": "best", "litellm_params": parameters}]}))
    given = ["batch", str(rows), "--out", str(tmp_path / "out"), "--config", str(config), "--model", "best", "--yes"]
    assert run(*given).exit_code == 0
    assert len(stub.requests) == 5
    assert run(*given, "--api-key", "k").exit_code == 2


def test_jobs_share_a_limit_in_redis(
    batch: Callable[..., Any], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARED", redis_url)
    done = batch("--yes", "--rpm", "60000", "--tpm", "6000000", "--limit", "os.environ/SHARED")
    assert done.exit_code == 0, done.output
    with Redis.from_url(redis_url) as server:
        assert f"anyrerank:limit:batch:{MODEL}".encode() in set(server.scan_iter())


def test_a_limit_in_redis_needs_a_rate_and_a_server(
    batch: Callable[..., Any], stub: StubServer, redis_url: str, new_redis: Callable[..., RedisServer]
) -> None:
    for more in (["--limit", redis_url], ["--rpm", "60", "--limit", new_redis().url]):
        assert batch("--yes", *more).exit_code == 2
    assert stub.requests == []
