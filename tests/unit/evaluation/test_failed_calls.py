"""`compare` with calls that fail: each is counted, and a run that cannot go on stops."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.support.frameworks import Wire, in_turn, refusing, well
from tests.support.loopback import Line, Loopback, ranking
from tests.support.loopback import well as answer_well
from tests.unit.evaluation.comparing import DATA, reranker_on, run

from anyrerank import (
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    MemoryCache,
)
from anyrerank.evaluation.pacing import Pacer


def test_compare_with_a_failed_call_marks_and_counts_it() -> None:
    report = run({"ours": reranker_on(Wire(in_turn(well, refusing(500), well)))}, max_concurrency=1)
    text = str(report)
    (line,) = (line for line in text.splitlines() if line.startswith("ours"))
    assert re.search(r"^ours +0\.\d{3}\* .*1 of 3", line)
    assert "1 of 3 calls failed, 1 x InternalServerError" in text
    with pytest.raises(AssertionError, match="1 of 3 calls of ours failed"):
        report.assert_better("ours")


@pytest.mark.parametrize(("status", "calls"), [(401, 1), (403, 1), (404, 1), (400, 3), (500, 3)])
def test_compare_with_only_failures_reports_no_numbers_and_stops_where_no_call_can_pass(
    status: int, calls: int
) -> None:
    wire = Wire(refusing(status))
    report = run({"ours": reranker_on(wire), "lexical": "local/lexical"})
    assert len(wire.requests) == calls
    row = report.rows["ours"]
    assert (row.failed, row.means, row.difference, row.calls) == (True, {}, None, 3)
    assert list(report.rows)[-1] == "ours"
    (line,) = (line for line in str(report).splitlines() if re.match("ours +failed", line))
    assert not re.search(r"\d\.\d", line)
    assert str(status) in str(row.message)
    assert str(row.message) in str(report)
    for text in (report.to_html(), report._repr_html_()):
        assert "failed" in text
    (flat,) = (each for each in json.loads(report.to_json())["rows"] if each["name"] == "ours")
    assert (flat["nDCG@10"], flat["low"], flat["failures"]) == (None, None, 3)
    assert report.rows["lexical"].means
    with pytest.raises(BadRequestError, match="every call of ours failed"):
        report.difference("ours")


def test_compare_with_a_failed_baseline_reports_no_differences() -> None:
    rerankers = {"ours": reranker_on(Wire(refusing(401))), "lexical": "local/lexical"}
    assert run(rerankers, baseline="ours").rows["lexical"].difference is None


def test_compare_with_a_chain_whose_keys_are_all_refused_stops() -> None:
    wire = Wire(refusing(401))
    run({"ours": reranker_on(wire, fallbacks=[reranker_on(wire, "cohere/other")])})
    assert len(wire.requests) == 2


def test_compare_after_a_rate_limit_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacer, "wait", lambda pacer: None)
    wire = Wire(in_turn(well, refusing(429), well))
    report = run({"ours": reranker_on(wire)}, max_concurrency=1)
    assert (report.rows["ours"].failures, len(wire.requests)) == ({}, 4)


def test_compare_with_a_wait_of_a_day_stops_and_says_so() -> None:
    wire = Wire(lambda request: httpx.Response(429, headers={"retry-after": "86400"}, json={"message": "quota"}))
    row = run({"ours": reranker_on(wire)}).rows["ours"]
    assert (row.failures, len(wire.requests)) == ({"RateLimitError": 3}, 1)
    assert "given up: the provider asks to wait for 86400 s" in str(row.message)


def test_compare_with_a_server_that_refuses_everything_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def hold(pacer: Pacer) -> None:
        now[0] += 1.0

    create = Pacer.__init__
    monkeypatch.setattr(Pacer, "__init__", lambda pacer, rpm, sleep: create(pacer, rpm, sleep, lambda: now[0]))
    monkeypatch.setattr(Pacer, "wait", hold)
    wire = Wire(lambda request: httpx.Response(429, headers={"retry-after": "1"}, json={"message": "busy"}))
    row = run({"ours": reranker_on(wire), "lexical": "local/lexical"}).rows["ours"]
    assert row.failures == {"RateLimitError": 3}
    assert len(wire.requests) == 91
    assert "given up: no call succeeded for 90 s; try again later, or with a lower rpm: " in str(row.message)


def test_compare_with_many_failures_of_a_kind_logs_the_first(caplog: pytest.LogCaptureFixture) -> None:
    many = replace(
        DATA,
        queries={f"q{number}": "one" for number in range(40)},
        candidates={f"q{number}": ["a", "b"] for number in range(40)},
    )
    answer = in_turn(refusing(500), refusing(503), *[refusing(500)] * 38)
    run({"ours": reranker_on(Wire(answer)), "theirs": reranker_on(Wire(answer), "cohere/other")}, many)
    logged = [(record.anyrerank["model"], record.anyrerank["status"]) for record in caplog.records]  # type: ignore[attr-defined]
    assert sorted(logged) == [("other", 500), ("rerank-v3.5", 500), ("rerank-v3.5", 503)]
    caplog.clear()
    with pytest.raises(InternalServerError):
        reranker_on(Wire(refusing(500))).rerank("a query", ["a document"])
    assert len(caplog.records) == 1


def test_compare_with_a_failed_call_counts_the_order_of_the_first_stage() -> None:
    report = run({"ours": reranker_on(Wire(in_turn(well, refusing(500), well)))}, max_concurrency=1)
    assert report.rows["ours"].failures == {"InternalServerError": 1}
    assert list(report.outcomes["ours"]["q2"].ranking) == ["c", "b", "a"]
    assert report.scores["ours"]["RR@10"]["q2"] == report.scores["first_stage"]["RR@10"]["q2"]
    assert "1 x InternalServerError" in str(report)


@pytest.mark.parametrize("score", ["NaN", "Infinity", '"high"', "null"])
def test_compare_with_an_invalid_score_counts_a_failure(score: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        rows = ",".join(f'{{"index": {index}, "relevance_score": {score}}}' for index in range(3))
        return httpx.Response(200, text=f'{{"results": [{rows}]}}')

    assert run({"ours": reranker_on(Wire(answer))}).rows["ours"].failures == {"APIResponseValidationError": 3}


def test_compare_with_a_cached_failure_or_other_inputs_asks_again() -> None:
    wire, cache = Wire(in_turn(refusing(500), well)), MemoryCache()
    for _ in range(2):
        run({"ours": reranker_on(wire)}, cache=cache, max_concurrency=1)
    assert len(wire.requests) == 4
    run({"ours": reranker_on(wire)}, cache=cache, max_concurrency=2)  # latencies differ
    assert len(wire.requests) == 7
    run({"ours": reranker_on(wire, guardrails=[str.upper])}, cache=cache, max_concurrency=1)
    assert wire.bodies[-1]["query"].isupper()
    run({"ours": reranker_on(wire, max_tokens_per_doc=64)}, cache=cache)
    run({"ours": reranker_on(wire)}, replace(DATA, queries={**DATA.queries, "q1": "uno"}), cache=cache)
    run({"ours": reranker_on(wire)}, cache=cache, shuffle=True)
    assert 16 < len(wire.requests) <= 19  # a shuffle may leave an order unchanged


def test_compare_with_an_unusable_reranker_raises_before_another_is_paid_for() -> None:
    wire = Wire()
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY"):
        run({"ours": reranker_on(wire), "theirs": "cohere/rerank-v3.5"})
    assert wire.requests == []


class FullCache(MemoryCache):
    """A cache that cannot store anything."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        raise OSError("no space left")


def test_compare_with_a_failing_cache_warns_once_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    assert run({"ours": reranker_on(wire)}, cache=FullCache()).rows["ours"].failures == {}
    (record,) = caplog.records
    assert "FullCache failed with OSError" in record.getMessage()


_LONG_COMPARISON = """
import signal
import sys
from anyrerank import Reranker, SQLiteCache
from anyrerank.evaluation import Dataset, compare
from anyrerank.evaluation.pacing import Pacer

data = Dataset(
    queries={f"q{n}": f"query {n}" for n in range(500)},
    documents={"a": "text 1", "b": "text 2"},
    labels={f"q{n}": {"a": 1} for n in range(500)},
    candidates={f"q{n}": ["a", "b"] for n in range(500)},
)
reranker = Reranker("cohere/m", api_key="k", api_base=sys.argv[1], max_retries=0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it
try:
    compare({"x": reranker}, data, cache=SQLiteCache(sys.argv[2]), max_concurrency=4, announce=print)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child process")
def test_compare_when_interrupted_stops_and_caches_what_was_answered(
    serve: Callable[..., Loopback], tmp_path: Path
) -> None:
    """The stop button of a notebook interrupts in the same way."""
    running: list[subprocess.Popen[str]] = []

    def answer(line: Line) -> None:
        if line.number == 150:
            running[0].send_signal(signal.SIGINT)
        line.answer(body=ranking(line.hit.documents))

    server, cache = serve(answer), str(tmp_path / "outcomes.db")
    command = [sys.executable, "-c", _LONG_COMPARISON, server.url, cache]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        running.append(process)
        output, _ = process.communicate(timeout=60)
    assert output.splitlines()[-1] == "interrupted"
    assert 150 < len(server.hits) < 250
    server.script = answer_well
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert again.stdout.startswith("371 calls")  # without the first call and two batches of 64
