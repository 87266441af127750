"""`anyrerank.batch.run`: what is sent, what is written, and what a second run does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import CANDIDATES, expected, ids, parts, reranker, row, sends, write_rows

from anyrerank import BadRequestError, BudgetExceededError, ConfigurationError, Reranker, Router, UnknownPriceError
from anyrerank.batch import Progress, arun, estimate, run, status
from anyrerank.testing import Exchange, StubServer, fake_provider


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", map(row, range(25)))


def test_every_row_is_answered_once_and_stands_in_the_order_of_the_input(
    stub: StubServer, rows: Path, out: Path
) -> None:
    report = run(rows, out, reranker(stub.url), chunk_rows=10)
    assert [each["id"] for each in parts(out)] == [f"r{number}" for number in range(25)]
    assert set(sends(stub).values()) == {1}
    assert len(list(out.glob("part-*"))) == 3
    assert (report.rows, report.failed, report.complete, report.exit_code) == (25, 0, True, 0)
    assert report.cost == pytest.approx(0.025) == sum(each["cost"] for each in parts(out))
    assert list((out / "_anyrerank" / "journal").iterdir()) == []


def test_columns_hold_ranking_scores_and_cost(stub: StubServer, rows: Path, out: Path) -> None:
    run(rows, out, reranker(stub.url, top_n=2), chunk_rows=10)
    first = parts(out)[0]
    answer = reranker(stub.url, top_n=2).rerank(row(0)["query"], CANDIDATES)
    assert 0 < first.pop("seconds") < 30
    assert first == {
        "id": "r0",
        "ranking": list(answer.results.indexes),
        "scores": list(answer.results.scores),
        "error": None,
        "message": None,
        "http_status": None,
        "attempts": 1,
        "cost": 0.001,
        "cost_estimated": answer.cost_estimated,
        "saved": 0.0,
        "cached": 0,
        "deployment": "cohere_compatible/m",
        "request_id": answer.request_id,
    }


def test_finished_job_sends_nothing(stub: StubServer, rows: Path, out: Path) -> None:
    first = run(rows, out, reranker(stub.url), chunk_rows=10)
    stub.requests.clear()
    again = run(rows, out, reranker(stub.url), chunk_rows=10)
    assert stub.requests == []
    assert (again.rows, again.cost, again.exit_code) == (first.rows, first.cost, 0)
    assert status(out) == again


async def test_run_works_in_a_running_event_loop(stub: StubServer, rows: Path, tmp_path: Path) -> None:
    assert run(rows, tmp_path / "a", reranker(stub.url)).exit_code == 0
    assert (await arun(rows, tmp_path / "b", reranker(stub.url))).exit_code == 0


async def test_cancelled_run_waits_for_what_is_in_flight(stub: StubServer, rows: Path, out: Path) -> None:
    running = asyncio.ensure_future(
        arun(rows, out, reranker(stub.url), in_flight=4, progress=lambda _: running.cancel())
    )
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 0 < status(out).rows == len(stub.requests) < 25
    assert (await arun(rows, out, reranker(stub.url))).complete
    assert set(sends(stub).values()) == {1}


def test_shards_count_their_own_journals_only(stub: StubServer, rows: Path, out: Path) -> None:
    def stop(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(rows, out, reranker(stub.url), chunk_rows=2, shard=(0, 2), in_flight=1, progress=stop)
    assert status(out).rows == len(stub.requests) == 1
    assert estimate(rows, out, reranker(stub.url), chunk_rows=2, shard=(1, 2)).rows == 13
    assert estimate(rows, out, reranker(stub.url), chunk_rows=2, shard=(0, 2)).rows == 12


def test_rows_have_several_forms(stub: StubServer, tmp_path: Path, out: Path) -> None:
    cohere = {"model": "rerank-v3.5", "query": "b", "documents": CANDIDATES, "top_n": 1}
    forms = [
        {"id": 1, "query": "a", "candidates": CANDIDATES},
        {"custom_id": "two", "method": "POST", "body": cohere},
        {"custom_id": "three", **cohere, "query": "c"},
        {"query": "d", "documents": [{"text": text} for text in CANDIDATES]},
    ]
    run(write_rows(tmp_path / "rows.jsonl", forms), out, reranker(stub.url))
    found = parts(out)
    assert [len(each["ranking"]) for each in found] == [3, 1, 3, 3]
    assert [each.get("id", each.get("custom_id")) for each in found] == [1, "two", "three", None]
    assert {request.json["model"] for request in stub.requests} == {"m"}


def test_bad_rows_are_error_rows_that_name_their_line(stub: StubServer, tmp_path: Path, out: Path) -> None:
    secret = "of the query"
    lines: list[Any] = [
        row(0),
        "",
        '{"id": "cut", "query": "' + secret,
        "[1]",
        {"id": "a", "query": None, "candidates": CANDIDATES},
        {"id": "b", "query": secret, "candidates": None},
        {"id": "c", "query": secret, "candidates": CANDIDATES[0]},
        {"id": "d", "query": secret, "candidates": [secret, 5]},
        {"id": "e", "query": " ", "candidates": CANDIDATES},
        {"id": "f", "query": secret},
        {"id": "g", "query": secret, "candidates": []},
        row(11),
    ]
    report = run(write_rows(tmp_path / "rows.jsonl", lines), out, reranker(stub.url))
    found = parts(out)
    assert (report.exit_code, report.rows, report.errors) == (3, 11, {"BadRequestError": 8})
    assert [each["message"].split(",")[0] for each in found[1:3]] == [
        "line 3 is not JSON",
        "line 4 must be a JSON object",
    ]
    assert all(f"line {line}" in found[line - 2]["message"] for line in (5, 6, 7, 10))
    assert found[9]["ranking"] == found[9]["scores"] == []
    assert len(stub.requests) == 2
    assert secret not in json.dumps([each["message"] for each in found])
    assert run(tmp_path / "rows.jsonl", out, reranker(stub.url)).exit_code == 3
    assert len(stub.requests) == 2


def test_odd_characters_and_equal_ids_are_kept(stub: StubServer, tmp_path: Path, out: Path) -> None:
    lines = [
        '\ufeff{"id": "\\ud800", "query": "half", "candidates": ["\\ud800 a", "b"]}',
        json.dumps(row(1)),
        json.dumps(row(1)),
    ]
    assert run(write_rows(tmp_path / "rows.jsonl", lines), out, reranker(stub.url)).exit_code == 0
    assert [each["id"] for each in parts(out)] == ["\ud800", "r1", "r1"]


def test_keep_copies_columns(stub: StubServer, rows: Path, out: Path) -> None:
    run(rows, out, reranker(stub.url), keep=["query", "absent"])
    assert (parts(out)[0]["query"], parts(out)[0]["absent"], "id" in parts(out)[0]) == (row(0)["query"], None, False)
    with pytest.raises(BadRequestError, match="scores"):
        run(rows, out, reranker(stub.url), keep=["scores"])


def test_shards_divide_the_rows(stub: StubServer, rows: Path, out: Path) -> None:
    for index in range(3):
        report = run(rows, out, reranker(stub.url), chunk_rows=2, shard=(index, 3), budget=1)
        assert report.complete
        assert status(out).complete == (index == 2)
    assert ids(out) == expected(25)
    assert set(sends(stub).values()) == {1}
    assert status(out).cost == pytest.approx(0.025)
    with pytest.raises(ConfigurationError, match="3 shards"):
        run(rows, out, reranker(stub.url), chunk_rows=2, shard=(0, 2))


def test_errors_are_asked_for_again_only_on_demand(stub: StubServer, rows: Path, out: Path) -> None:
    stub.handler = lambda exchange: (
        exchange.respond(422, {"message": "no"}) if "(7)" in query(exchange) else exchange.rank()
    )
    assert run(rows, out, reranker(stub.url), chunk_rows=10).errors == {"BadRequestError": 1}
    stub.handler = Exchange.rank
    stub.requests.clear()
    assert run(rows, out, reranker(stub.url), chunk_rows=10).exit_code == 3
    assert stub.requests == []
    report = run(rows, out, reranker(stub.url), chunk_rows=10, retry_errors=True)
    assert (report.exit_code, report.rows, report.attempts) == (0, 25, 26)
    assert list(sends(stub)) == [row(7)["query"]]
    assert ids(out) == expected(25)
    assert parts(out)[7]["attempts"] == 2


def query(exchange: Exchange) -> str:
    text: str = exchange.request.json["query"]
    return text


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"top_n": 2}, "top_n was None and is 2"),
        ({"max_tokens_per_doc": 9}, "options"),
        ({"rank_fields": ["a"]}, "rank_fields"),
    ],
)
def test_another_job_is_refused_in_the_same_folder(
    stub: StubServer, rows: Path, out: Path, change: dict[str, Any], names: str
) -> None:
    run(rows, out, reranker(stub.url))
    stub.requests.clear()
    with pytest.raises(ConfigurationError, match=names):
        run(rows, out, reranker(stub.url, **change))
    with pytest.raises(ConfigurationError, match="model was"):
        run(rows, out, Reranker("cohere_compatible/other", api_base=stub.url, api_key="k"))
    with pytest.raises(ConfigurationError, match="base URL"):
        run(rows, out, reranker("http://127.0.0.1:9"))
    with pytest.raises(ConfigurationError, match="chunk_rows"):
        run(rows, out, reranker(stub.url), chunk_rows=7)
    assert stub.requests == []


def test_another_key_is_the_same_job_and_no_key_is_on_disk(stub: StubServer, rows: Path, out: Path) -> None:
    for key in ("first-secret", "second-secret"):
        run(rows, out, Reranker("cohere_compatible/m", api_base=stub.url, api_key=key))
    assert len(stub.requests) == 25
    assert not any(b"secret" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_changed_input_is_refused(stub: StubServer, rows: Path, out: Path) -> None:
    run(rows, out, reranker(stub.url))
    rows.touch()
    assert run(rows, out, reranker(stub.url)).complete
    text = rows.read_text()
    rows.write_text(text.replace("(3)", "(4)"))
    with pytest.raises(ConfigurationError, match="has changed"):
        run(rows, out, reranker(stub.url))
    rows.write_text(text)
    more = write_rows(rows.with_name("more.jsonl"), map(row, range(25, 30)))
    assert run([rows, more], out, reranker(stub.url)).rows == 30
    with pytest.raises(ConfigurationError, match=r"more\.jsonl"):
        run(rows, out, reranker(stub.url))
    assert ids(out) == expected(30)
    assert len(stub.requests) == 30


def test_missing_columns_and_files_are_named_before_anything_is_sent(stub: StubServer, rows: Path, out: Path) -> None:
    for given, words in (
        ({"query": "question"}, "line 1 has no question; its fields: candidates, id, query"),
        ({"documents": "passages"}, "has no passages"),
    ):
        with pytest.raises(BadRequestError, match=words):
            run(rows, out, reranker(stub.url), **given)  # type: ignore[arg-type]
    for inputs, words in (
        (rows.with_name("no*.jsonl"), "no file matches"),
        (rows.parent / "out2", "no file"),
        ([], "no input"),
        ("s3://bucket/rows.jsonl", "is a URL.*copy the files"),
    ):
        with pytest.raises(BadRequestError, match=words):
            run(inputs, out, reranker(stub.url))
    with pytest.raises(BadRequestError, match="unknown format"):
        run(write_rows(rows.with_suffix(".txt"), []), out, reranker(stub.url))
    assert stub.requests == []
    assert not out.exists()


@pytest.mark.parametrize("url", ["s3://bucket/out", "gs:/bucket/out", "abfss://c@a.dfs.core.windows.net/out"])
def test_an_output_in_an_object_store_is_refused(
    stub: StubServer, rows: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows.parent)
    with pytest.raises(BadRequestError, match="is a URL"):
        run(rows, url, reranker(stub.url))
    assert stub.requests == []
    assert sorted(path.name for path in rows.parent.iterdir()) == [rows.name]


@pytest.mark.parametrize("inside", ["", "folder"])
def test_output_that_cannot_be_written_is_known_before_anything_is_sent(
    stub: StubServer, rows: Path, inside: str
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        run(rows, rows / inside, reranker(stub.url))
    assert stub.requests == []


def test_missing_key_stops_before_anything_is_written(rows: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COHERE_API_KEY", raising=False)
    with pytest.raises(Exception, match="COHERE_API_KEY"):
        run(rows, out, "cohere/rerank-v3.5")
    assert not out.exists()


def test_budget_refuses_to_start(stub: StubServer, rows: Path, out: Path) -> None:
    with pytest.raises(BudgetExceededError, match=r"\$0\.0250"):
        run(rows, out, reranker(stub.url), budget=0.024)
    with pytest.raises(UnknownPriceError, match=r"on the command line --option input_cost_per_query=0"):
        run(rows, out, Reranker("cohere_compatible/m", api_base=stub.url, api_key="k"), budget=1)
    assert stub.requests == []


def test_budget_stops_in_the_middle_and_counts_earlier_runs(stub: StubServer, tmp_path: Path, out: Path) -> None:
    few, many = ["x" * 1498], ["x"] * 300  # of the same size; one request in the sample, three later
    rows = [{**row(number), "candidates": few if number < 60 else many} for number in range(100)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    split = reranker(stub.url, batch_size=100)
    report = run(path, out, split, budget=0.12, in_flight=4, chunk_rows=10)
    assert report.exit_code == 4
    assert report.stopped is not None
    assert "BudgetExceededError" in report.stopped
    assert 0.11 < report.cost < 0.1201
    assert report.failed == 0
    with pytest.raises(BudgetExceededError, match="on top of"):
        run(path, out, split, budget=0.12, in_flight=4, chunk_rows=10)
    again = run(path, out, split, budget=0.145, in_flight=4, chunk_rows=10)  # the estimate is too low: 20 rows at 0.001
    assert again.exit_code == 4
    assert 0.13 < again.cost < 0.1451
    assert run(path, out, split, budget=10, in_flight=4, chunk_rows=10).exit_code == 0
    assert ids(out) == expected(100)
    assert set(sends(stub).values()) == {1, 3}


def test_second_runner_is_refused(stub: StubServer, rows: Path, out: Path) -> None:
    refused: list[BaseException] = []

    def second(progress: Progress) -> None:
        if not refused:
            with pytest.raises(ConfigurationError, match="another process") as caught:
                run(rows, out, reranker(stub.url))
            refused.append(caught.value)

    assert run(rows, out, reranker(stub.url), progress=second).complete
    assert len(refused) == 1
    assert len(stub.requests) == 25


def test_router_runs_a_batch(stub: StubServer, rows: Path, out: Path) -> None:
    parameters = {"model": "cohere_compatible/m", "api_base": stub.url, "api_key": "k"}
    router = Router([{"model_name": "rerank", "litellm_params": parameters}])
    assert run(rows, out, router).exit_code == 0
    assert ids(out) == expected(25)


def test_four_chunks_are_open_at_most(tmp_path: Path, out: Path) -> None:
    journals: list[int] = []
    with StubServer() as server:

        def hold_a_row_of_each_chunk(exchange: Exchange) -> None:
            if exchange.number in (0, 2, 4, 6):
                server.wait_for_requests(8)
            journals.append(len(list((out / "_anyrerank" / "journal").iterdir())))
            exchange.rank()

        server.handler = hold_a_row_of_each_chunk
        path = write_rows(tmp_path / "rows.jsonl", map(row, range(40)))
        assert run(path, out, reranker(server.url), chunk_rows=2, in_flight=16).complete
    assert max(journals) == 4
    assert ids(out) == expected(40)


def test_progress_counts_rows_of_earlier_runs(stub: StubServer, rows: Path, out: Path) -> None:
    seen: list[Progress] = []
    run(rows, out, reranker(stub.url), progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (25, 25)
    assert seen[-1].cost == pytest.approx(0.025)


def test_cached_scores_are_free_and_said(rows: Path, tmp_path: Path) -> None:
    from anyrerank import MemoryCache

    fake = fake_provider()
    cached = Reranker("fake/m", custom_llm_provider=fake, cache=MemoryCache(), input_cost_per_query=0.001)
    assert run(rows, tmp_path / "a", cached).cost == pytest.approx(0.025)
    again = run(rows, tmp_path / "b", cached)
    assert (len(fake.calls), again.cost, again.attempts) == (25, 0.0, 0)
    assert again.saved == pytest.approx(0.025, rel=0.01)
    assert parts(tmp_path / "b")[0]["cached"] == 3
