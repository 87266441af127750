"""`compare`: every query is asked once, the cost is known beforehand, and no failure is hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Wire, refusing, well
from tests.support.harness import KEY
from tests.unit.evaluation.comparing import DATA, reranker_on, run

from anyrerank import (
    BadRequestError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    MemoryCache,
    Reranker,
    Router,
    SQLiteCache,
)
from anyrerank.evaluation import compare
from anyrerank.evaluation.pacing import Pacer


def numbers_in(text: str) -> list[int]:
    """A first stage that returns no ids."""
    return [len(text)]


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


def test_compare_with_another_price_computes_the_cost_of_cached_outcomes_anew() -> None:
    def billed(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**well(request).json(), "meta": {"billed_units": {"search_units": 3}}})

    wire, cache, free = Wire(billed), MemoryCache(), {"input_cost_per_query": 0.0}
    costs = [
        run({"ours": reranker_on(wire, model, **price)}, cache=cache).rows["ours"].usd_per_1000
        for model, price in (
            ("cohere/new", {}),
            ("cohere/new", free),
            ("cohere/new", {"input_cost_per_query": 0.5}),
            ("cohere/rerank-v3.5", {}),
            ("cohere/rerank-v3.5", free),
            ("cohere/rerank-v3.5", {}),
        )
    ]
    assert costs == [None, 0.0, 1500.0, pytest.approx(6.0), 0.0, pytest.approx(6.0)]
    assert len(wire.requests) == 6


@pytest.mark.parametrize(("options", "dollars"), [({}, 3 * 9 * 0.002), ({"max_tokens_per_doc": 500}, 3 * 0.002)])
def test_compare_estimates_long_documents_as_several(options: dict[str, Any], dollars: float) -> None:
    lines: list[str] = []
    documents = {f"d{number}": "word " * 5000 for number in range(100)}
    data = replace(
        DATA,
        documents=documents,
        labels={"q1": {"d0": 1}},
        candidates={query: list(documents) for query in DATA.queries},
    )
    compare({"ours": reranker_on(Wire(), **options)}, data, cache=None, announce=lines.append)
    assert lines == [f"3 calls, estimated cost ${dollars:.4f}: ours 3 (${dollars:.4f})"]


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


ROUTER = Router([{"model_name": "r", "litellm_params": {"model": "local/lexical"}}])


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
        ({"first_stage": lambda text: None}, "what first_stage returns must be a list of document ids.*NoneType"),
        ({"first_stage": lambda text: "d1"}, "what first_stage returns must be a list of document ids.*str"),
        ({"rpm": 0}, "rpm must be a positive number"),
        ({"max_concurrency": 0}, "max_concurrency must be a positive integer"),
        ({"data": {"q1": "a"}}, "data must be a Dataset, got dict"),
        ({"rerankers": {}}, "rerankers must not be empty"),
        ({"rerankers": ["local/lexical"]}, "rerankers must be a mapping such as .*, got list"),
        ({"rerankers": {"ours": None}}, "reranker ours must be a model string or a Reranker, got NoneType"),
        ({"rerankers": {"ours": ROUTER}}, "reranker ours is a Router: pass router.as_reranker"),
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


def test_compare_with_a_fallback_that_has_no_key_runs() -> None:
    report = run({"ours": Reranker("local/lexical", fallbacks=["cohere/rerank-v3.5"])}, cache=MemoryCache())
    assert report.rows["ours"].failures == {}


def test_report_states_how_many_calls_were_concurrent() -> None:
    assert "up to 8 concurrent calls" in str(run({"ours": reranker_on(Wire())}))
    assert "one call at a time" in str(run({"ours": reranker_on(Wire())}, max_concurrency=1))


def test_report_of_few_queries_warns_about_narrow_intervals() -> None:
    assert "fewer than 20 queries" in str(run({"ours": reranker_on(Wire())}))
