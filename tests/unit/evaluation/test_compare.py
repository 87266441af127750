"""`compare`: every query is asked once, the cost is known beforehand, and no failure is hidden."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Wire, in_turn, refusing, well
from tests.support.harness import KEY
from tests.support.loopback import Line, Loopback, ranking
from tests.support.loopback import well as answer_well

from anyrerank import (
    AuthenticationError,
    BadRequestError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    MemoryCache,
    Reranker,
    Router,
    SQLiteCache,
)
from anyrerank.evaluation import Dataset, compare
from anyrerank.evaluation.pacing import Pacer

# The wire scores a document by the number at its end.
DATA = Dataset(
    name="small",
    queries={"q1": "one", "q2": "two", "q3": "three"},
    documents={"a": "a 0.9", "b": "b 0.5", "c": "c 0.1"},
    labels={"q1": {"a": 1, "b": 0}, "q2": {"c": 2, "a": 1}, "q3": {"b": 0}},
    candidates={"q1": ["c", "b", "a"], "q2": ["c", "b", "a"], "q3": ["a", "b", "c"]},
)


def reranker_on(wire: Wire, model: str = "cohere/rerank-v3.5", **options: Any) -> Reranker:
    client = httpx.Client(transport=httpx.MockTransport(wire))
    return Reranker(model, **{"api_key": KEY, "http_client": client, "max_retries": 0, **options})


def numbers_in(text: str) -> list[int]:
    """A first stage that returns no ids."""
    return [len(text)]


def run(rerankers: Mapping[str, Any], data: Dataset = DATA, **options: Any) -> Any:
    return compare(rerankers, data, **{"cache": None, "announce": lambda line: None, **options})


def test_compare_asks_every_query_once_and_reports_a_row() -> None:
    wire = Wire()
    report = run({"ours": reranker_on(wire)})
    assert sorted(body["query"] for body in wire.bodies) == ["one", "three", "two"]
    assert [body["documents"] for body in wire.bodies if body["query"] == "one"] == [["c 0.1", "b 0.5", "a 0.9"]]
    assert set(report.rows) == {"ours", "first_stage", "random", "oracle"}
    assert report.evaluated_queries == ["q1", "q2"]
    assert report.scores["ours"]["RR@10"] == {"q1": 1.0, "q2": 1.0}
    assert report.scores["first_stage"]["RR@10"] == {"q1": pytest.approx(1 / 3), "q2": 1.0}
    assert report.scores["oracle"]["nDCG@10"] == {"q1": 1.0, "q2": 1.0}
    row = report.rows["ours"]
    assert row.usd_per_1000 == pytest.approx(2.0)
    assert row.failures == {}
    assert row.p50 is not None
    assert row.p95 is not None
    assert row.p95 >= row.p50 > 0
    assert report.rows["first_stage"].judged == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)


def test_compare_before_the_first_call_reports_the_estimate() -> None:
    estimates: list[tuple[str, int]] = []
    wire = Wire()
    compare(
        {"ours": reranker_on(wire), "lexical": "local/lexical", "new": reranker_on(wire, "cohere/unheard-of")},
        DATA,
        cache=None,
        announce=lambda line: estimates.append((line, len(wire.requests))),
    )
    total = "9 calls, estimated cost $0.0060 plus unknown prices: "
    assert estimates == [(total + "ours 3 ($0.0060), lexical 3 ($0.0000), new 3 (price unknown)", 0)]


def test_compare_without_announce_prints_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    compare({"lexical": "local/lexical"}, DATA, cache=None)
    assert capsys.readouterr().out == "3 calls, estimated cost $0.0000: lexical 3 ($0.0000)\n"


@pytest.mark.parametrize(
    ("model", "budget", "error", "message"),
    [
        ("cohere/rerank-v3.5", 0.005, BudgetExceededError, r"\$0.0060 exceeds budget_usd \(\$0.0050\)"),
        ("cohere/unheard-of", 1.0, ConfigurationError, "ours has none"),
        ("cohere/rerank-v3.5", 0, BudgetExceededError, r"\$0.0060 exceeds budget_usd \(\$0.0000\)"),
        ("cohere/rerank-v3.5", -1, ConfigurationError, "-1"),
    ],
)
def test_compare_over_budget_sends_nothing(model: str, budget: float, error: type[Exception], message: str) -> None:
    wire = Wire()
    with pytest.raises(error, match=message):
        run({"ours": reranker_on(wire, model)}, budget_usd=budget)
    assert wire.requests == []


def test_compare_with_calls_above_the_estimate_stops_at_the_budget() -> None:
    def expensive(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**well(request).json(), "meta": {"billed_units": {"search_units": 3}}})

    wire = Wire(expensive)
    report = run({"ours": reranker_on(wire)}, budget_usd=0.009, max_concurrency=1)
    assert report.rows["ours"].failures == {"BudgetExceededError": 1}
    assert len(wire.requests) == 2


def test_compare_with_a_reranker_budget_keeps_that_budget() -> None:
    own = Budget(0.005)
    report = run({"ours": reranker_on(Wire(), budget=own)}, budget_usd=1.0, max_concurrency=1)
    assert report.rows["ours"].failures == {"BudgetExceededError": 1}
    assert own.spent() == pytest.approx(0.004)


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
    assert "86400" in str(row.message)


def test_compare_with_rpm_spaces_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float | None] = []
    create = Pacer.__init__

    def recording(pacer: Pacer, rpm: float | None, *others: Any) -> None:
        made.append(rpm)
        create(pacer, None, *others)

    monkeypatch.setattr(Pacer, "__init__", recording)
    run({"ours": reranker_on(Wire())}, rpm=7)
    assert made == [7]


def test_compare_with_candidates_of_its_own_says_where_they_came_from() -> None:
    assert "not your retriever: pass first_stage=" in str(run({"ours": reranker_on(Wire())}, candidates=2))
    assert "first_stage=" not in str(run({"ours": reranker_on(Wire())}))


def test_compare_with_a_first_stage_uses_its_documents(tmp_path: Path) -> None:
    path = tmp_path / "bm25.run"
    path.write_text(
        "".join(
            f"{query} Q0 {each} {rank} {-rank} x\n" for query in DATA.queries for rank, each in ((1, "b"), (2, "c"))
        )
    )
    mapping = {query: ["b", "c", "b"] for query in DATA.queries}
    for first_stage in (path, str(path), mapping, lambda text: ["b", "c"]):
        report = run({"ours": reranker_on(Wire())}, first_stage=first_stage)
        assert list(report.outcomes["first_stage"]["q1"].ranking) == ["b", "c"]
        assert "not your retriever" not in str(report)
    report = run({"ours": reranker_on(Wire())}, first_stage=mapping, candidates=1)
    assert list(report.outcomes["first_stage"]["q1"].ranking) == ["b"]


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


def test_compare_when_repeated_is_free_and_gives_the_same_rows(tmp_path: Path) -> None:
    wire = Wire()
    for cache in (MemoryCache(), SQLiteCache(tmp_path / "outcomes.db")):
        wire.requests.clear()
        estimates: list[str] = []
        first, again = (
            compare({"ours": reranker_on(wire)}, DATA, cache=cache, announce=estimates.append) for _ in range(2)
        )
        assert len(wire.requests) == 3
        assert estimates[1] == "0 calls, estimated cost $0.0000: ours 0 ($0.0000)"
        assert again.outcomes["ours"] == first.outcomes["ours"]
        assert again.rows == first.rows
        cache.close()


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


def test_compare_with_options_that_hide_results_ignores_them() -> None:
    wire = Wire()
    ours = reranker_on(wire, top_n=1, score_threshold=0.8, on_error="passthrough", cache=MemoryCache())
    report = run({"ours": ours})
    assert [len(outcome.ranking) for outcome in report.outcomes["ours"].values()] == [3, 3, 3]
    run({"ours": ours})
    assert len(wire.requests) == 6
    wire.answer = refusing(500)
    assert run({"ours": ours}).rows["ours"].failures == {"InternalServerError": 3}


def test_compare_with_shuffle_sends_the_same_candidates_in_another_order() -> None:
    plain, shuffled = Wire(), Wire()
    run({"ours": reranker_on(plain)})
    report = run({"ours": reranker_on(shuffled)}, shuffle=True)
    sent, reordered = ([body["documents"] for body in wire.bodies] for wire in (plain, shuffled))
    assert list(map(sorted, reordered)) == list(map(sorted, sent))
    assert reordered != sent
    assert list(report.outcomes["ours"]["q1"].ranking) == ["a", "b", "c"]
    assert list(report.outcomes["first_stage"]["q1"].ranking) == ["c", "b", "a"]


def test_compare_with_equal_scores_keeps_the_order_of_the_first_stage() -> None:
    def equal_scores(request: httpx.Request) -> httpx.Response:
        count = len(json.loads(request.content)["documents"])
        rows = [{"index": index, "relevance_score": 0.5} for index in reversed(range(count))]
        return httpx.Response(200, json={"results": rows})

    report = run({"ours": reranker_on(Wire(equal_scores))})
    assert {query: list(each.ranking) for query, each in report.outcomes["ours"].items()} == DATA.candidates


def test_compare_with_a_router_reports_it_like_a_reranker() -> None:
    wire = Wire()
    entry = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": KEY}}
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        report = run({"routed": Router([entry], http_client=client).as_reranker()})
    assert report.rows["routed"].failures == {}
    assert len(wire.requests) == 3


def test_compare_with_a_number_of_candidates_searches_for_them() -> None:
    wire = Wire()
    run({"ours": reranker_on(wire)}, candidates=2)
    assert [len(body["documents"]) for body in wire.bodies] == [2, 2, 2]


def test_compare_with_given_candidates_uses_them() -> None:
    report = run({"lexical": "local/lexical"}, candidates={query: ["a", "b"] for query in DATA.queries})
    assert list(report.outcomes["first_stage"]["q1"].ranking) == ["a", "b"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"baseline": "theirs"}, "baseline must be one of first_stage, random, oracle, ours"),
        ({"k": 0}, "k must be"),
        ({"k": 2.5}, "k must be"),
        ({"k": 1001}, "k must be an integer from 1 to 1000"),
        ({"data": replace(DATA, labels={})}, "no query has a relevant document"),
        ({"data": replace(DATA, labels={"q1": {"a": 0}})}, "no query has a relevant document"),
        ({"data": replace(DATA, candidates={"q1": ["a"]})}, "2 of 3 queries have no candidates, for example q2"),
        ({"data": replace(DATA, candidates={**DATA.candidates, "q3": []})}, "1 of 3 queries have no candidates"),
        ({"candidates": {"q1": ["x"]}}, "no candidate refers to a known query and document"),
        ({"candidates": {"q1": ["a"]}, "first_stage": {"q1": ["a"]}}, "candidates must be a number"),
        ({"first_stage": numbers_in}, "must return the ids of documents"),
        ({"rpm": 0}, "rpm must be a positive number"),
        ({"rerankers": {}}, "rerankers must not be empty"),
        ({"rerankers": {"oracle": "local/lexical"}}, "oracle: reserved"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_compare_with_invalid_arguments_raises_and_sends_nothing(changed: dict[str, Any], message: str) -> None:
    wire = Wire()
    arguments: dict[str, Any] = {"rerankers": {"ours": reranker_on(wire)}, "data": DATA, **changed}
    with pytest.raises(BadRequestError, match=message):
        run(arguments.pop("rerankers"), arguments.pop("data"), **arguments)
    assert wire.requests == []


def test_compare_with_an_unusable_reranker_raises_before_another_is_paid_for() -> None:
    wire = Wire()
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY"):
        run({"ours": reranker_on(wire), "theirs": "cohere/rerank-v3.5"})
    assert wire.requests == []


def test_compare_with_a_fallback_that_has_no_key_runs() -> None:
    report = run({"ours": Reranker("local/lexical", fallbacks=["cohere/rerank-v3.5"])}, cache=MemoryCache())
    assert report.rows["ours"].failures == {}


class FullCache(MemoryCache):
    """A cache that cannot store anything."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        raise OSError("no space left")


def test_compare_with_a_failing_cache_warns_once_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    assert run({"ours": reranker_on(wire)}, cache=FullCache()).rows["ours"].failures == {}
    (record,) = caplog.records
    assert "FullCache failed with OSError" in record.getMessage()


def test_report_states_how_many_calls_were_concurrent() -> None:
    assert "up to 8 concurrent calls" in str(run({"ours": reranker_on(Wire())}))
    assert "one call at a time" in str(run({"ours": reranker_on(Wire())}, max_concurrency=1))


def test_report_of_few_queries_warns_about_narrow_intervals() -> None:
    assert "fewer than 20 queries" in str(run({"ours": reranker_on(Wire())}))


# Interrupted

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
