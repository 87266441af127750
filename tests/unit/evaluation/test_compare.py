"""A comparison asks what it says, for the price it says, and hides no failure."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Answer, Wire, in_turn, refusing, well
from tests.support.harness import KEY
from tests.support.loopback import Line, Loopback, ranking
from tests.support.loopback import well as well_

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
from anyrerank.evaluation import Dataset, agreement, collect, compare

# What a query wants is at the end of its documents: the wire scores by that number.
DATA = Dataset(
    name="small",
    queries={"q1": "one", "q2": "two", "q3": "three"},
    documents={"a": "a 0.9", "b": "b 0.5", "c": "c 0.1"},
    labels={"q1": {"a": 1, "b": 0}, "q2": {"c": 2, "a": 1}, "q3": {"b": 0}},
    candidates={"q1": ["c", "b", "a"], "q2": ["c", "b", "a"], "q3": ["a", "b", "c"]},
)


def served(wire: Wire, model: str = "cohere/rerank-v3.5", **options: Any) -> Reranker:
    client = httpx.Client(transport=httpx.MockTransport(wire))
    return Reranker(model, **{"api_key": KEY, "http_client": client, "max_retries": 0, **options})


def quiet(rerankers: Mapping[str, Any], data: Dataset = DATA, **options: Any) -> Any:
    return compare(rerankers, data, **{"cache": None, "announce": lambda line: None, **options})


def test_every_query_is_asked_once_and_the_rows_say_what_came_of_it() -> None:
    wire = Wire()
    report = quiet({"ours": served(wire)})
    assert sorted(body["query"] for body in wire.bodies) == ["one", "three", "two"]
    assert [body["documents"] for body in wire.bodies if body["query"] == "one"] == [["c 0.1", "b 0.5", "a 0.9"]]
    assert set(report.rows) == {"ours", "first_stage", "random", "oracle"}
    assert report.answered == ["q1", "q2"]
    assert report.scores["ours"]["RR@10"] == {"q1": 1.0, "q2": 1.0}
    assert report.scores["first_stage"]["RR@10"] == {"q1": pytest.approx(1 / 3), "q2": 1.0}
    assert report.scores["oracle"]["nDCG@10"] == {"q1": 1.0, "q2": 1.0}
    row = report.rows["ours"]
    assert row.dollars == pytest.approx(2.0)
    assert row.failures == {}
    assert row.p50 is not None
    assert row.p95 is not None
    assert row.p95 >= row.p50 > 0
    assert report.rows["first_stage"].judged == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)


def test_what_it_costs_is_said_before_anything_is_sent() -> None:
    said: list[tuple[str, int]] = []
    wire = Wire()
    compare(
        {"ours": served(wire), "words": "local/lexical", "new": served(wire, "cohere/unheard-of")},
        DATA,
        cache=None,
        announce=lambda line: said.append((line, len(wire.requests))),
    )
    whole = "9 calls, about $0.0060, and what is not known: "
    assert said == [(whole + "ours 3 ($0.0060), words 3 ($0.0000), new 3 (price not known)", 0)]


def test_it_is_printed_unless_somebody_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    compare({"words": "local/lexical"}, DATA, cache=None)
    assert capsys.readouterr().out == "3 calls, about $0.0000: words 3 ($0.0000)\n"


def test_a_budget_stops_it_before_anything_is_sent() -> None:
    wire = Wire()
    with pytest.raises(
        BudgetExceededError, match=r"would cost about \$0.0060, and budget_usd is \$0.0050; nothing was"
    ):
        quiet({"ours": served(wire)}, budget_usd=0.005)
    with pytest.raises(ConfigurationError, match="that of new is not known"):
        quiet({"new": served(wire, "cohere/unheard-of")}, budget_usd=1.0)
    with pytest.raises(ConfigurationError, match="above 0"):
        quiet({"ours": served(wire)}, budget_usd=0)
    assert wire.requests == []


def test_a_budget_stops_what_turns_out_dearer() -> None:
    def dear(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**well(request).json(), "meta": {"billed_units": {"search_units": 3}}})

    wire = Wire(dear)
    report = quiet({"ours": served(wire)}, budget_usd=0.009, max_concurrency=1)
    assert report.rows["ours"].failures == {"BudgetExceededError": 1}
    assert len(wire.requests) == 2


def test_a_failure_is_a_row_and_counts_as_the_first_stage() -> None:
    report = quiet({"ours": served(Wire(in_turn(well, refusing(500), well)))}, max_concurrency=1)
    assert report.rows["ours"].failures == {"InternalServerError": 1}
    assert list(report.outcomes["ours"]["q2"].ranking) == ["c", "b", "a"]
    assert report.scores["ours"]["RR@10"]["q2"] == report.scores["first_stage"]["RR@10"]["q2"]
    assert "ours: 1 x InternalServerError; these queries count in the order of the first stage." in str(report)


@pytest.mark.parametrize("score", ["NaN", "Infinity", '"high"', "null"])
def test_what_is_no_score_is_a_failure(score: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        rows = ",".join(f'{{"index": {place}, "relevance_score": {score}}}' for place in range(3))
        return httpx.Response(200, text=f'{{"results": [{rows}]}}')

    assert quiet({"ours": served(Wire(answer))}).rows["ours"].failures == {"APIResponseValidationError": 3}


def test_asking_again_is_free_and_says_the_same(tmp_path: Path) -> None:
    wire = Wire()
    for cache in (MemoryCache(), SQLiteCache(tmp_path / "kept.db")):
        wire.requests.clear()
        said: list[str] = []
        first, again = (compare({"ours": served(wire)}, DATA, cache=cache, announce=said.append) for _ in range(2))
        assert len(wire.requests) == 3
        assert said[1] == "0 calls, about $0.0000: ours 0 ($0.0000)"
        assert again.outcomes["ours"] == first.outcomes["ours"]
        assert again.rows == first.rows
        cache.close()


def test_failures_and_what_changed_are_asked_again() -> None:
    wire, cache = Wire(in_turn(refusing(500), well)), MemoryCache()
    for _ in range(2):
        quiet({"ours": served(wire)}, cache=cache, max_concurrency=1)
    assert len(wire.requests) == 4
    quiet({"ours": served(wire)}, cache=cache, max_concurrency=2)  # the latencies will be others
    assert len(wire.requests) == 7
    quiet({"ours": served(wire, guardrails=[str.upper])}, cache=cache, max_concurrency=1)
    assert wire.bodies[-1]["query"].isupper()
    quiet({"ours": served(wire, max_tokens_per_doc=64)}, cache=cache)
    quiet({"ours": served(wire)}, replace(DATA, queries={**DATA.queries, "q1": "uno"}), cache=cache)
    quiet({"ours": served(wire)}, cache=cache, shuffle=True)
    assert 16 < len(wire.requests) <= 19  # chance may leave an order as it is


def test_options_that_would_hide_something_do_not_count() -> None:
    wire = Wire()
    ours = served(wire, top_n=1, score_threshold=0.8, on_error="passthrough", cache=MemoryCache())
    report = quiet({"ours": ours})
    assert [len(outcome.ranking) for outcome in report.outcomes["ours"].values()] == [3, 3, 3]
    quiet({"ours": ours})
    assert len(wire.requests) == 6
    wire.answer = refusing(500)
    assert quiet({"ours": ours}).rows["ours"].failures == {"InternalServerError": 3}


def test_shuffled_candidates_are_the_same_ones() -> None:
    plain, mixed = Wire(), Wire()
    quiet({"ours": served(plain)})
    report = quiet({"ours": served(mixed)}, shuffle=True)
    assert [sorted(body["documents"]) for body in mixed.bodies] == [sorted(body["documents"]) for body in plain.bodies]
    assert [body["documents"] for body in mixed.bodies] != [body["documents"] for body in plain.bodies]
    assert list(report.outcomes["ours"]["q1"].ranking) == ["a", "b", "c"]
    assert list(report.outcomes["first_stage"]["q1"].ranking) == ["c", "b", "a"]


def test_equal_scores_stay_in_the_order_of_the_first_stage() -> None:
    def same(request: httpx.Request) -> httpx.Response:
        count = len(json.loads(request.content)["documents"])
        rows = [{"index": place, "relevance_score": 0.5} for place in reversed(range(count))]
        return httpx.Response(200, json={"results": rows})

    report = quiet({"ours": served(Wire(same))})
    assert {query: list(each.ranking) for query, each in report.outcomes["ours"].items()} == DATA.candidates


def test_a_router_is_a_reranker_too() -> None:
    wire = Wire()
    entry = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": KEY}}
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        report = quiet({"routed": Router([entry], http_client=client).named()})
    assert report.rows["routed"].failures == {}
    assert len(wire.requests) == 3


def test_candidates_may_be_given_or_found_by_words() -> None:
    wire = Wire()
    quiet({"ours": served(wire)}, candidates=2)
    assert [len(body["documents"]) for body in wire.bodies] == [2, 2, 2]
    report = quiet({"words": "local/lexical"}, candidates={query: ["a", "b"] for query in DATA.queries})
    assert list(report.outcomes["first_stage"]["q1"].ranking) == ["a", "b"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"baseline": "theirs"}, "baseline is one of first_stage, random, oracle, ours"),
        ({"k": 0}, "k is an integer of at least 1"),
        ({"k": 2.5}, "k is an integer of at least 1"),
        ({"k": 1001}, "k is an integer of at least 1, and at most 1000"),
        ({"data": replace(DATA, labels={})}, "no query has a label that says which document answers it"),
        ({"data": replace(DATA, labels={"q1": {"a": 0}})}, "no query has a label"),
        ({"data": replace(DATA, candidates={"q1": ["a"]})}, "2 of 3 queries have no candidates, for example q2"),
        ({"data": replace(DATA, candidates={**DATA.candidates, "q3": []})}, "1 of 3 queries have no candidates"),
        ({"candidates": {"q1": ["a", "a"]}}, "a document is there twice for the query q1"),
        ({"candidates": {"q1": ["x"]}}, "candidates of the query q1: there is no document x"),
        ({"rerankers": {}}, "there is no reranker"),
        ({"rerankers": {"oracle": "local/lexical"}}, "oracle: rows of every report"),
    ],
    ids=str,
)
def test_what_cannot_be_compared(changed: dict[str, Any], message: str) -> None:
    wire = Wire()
    given: dict[str, Any] = {"rerankers": {"ours": served(wire)}, "data": DATA, **changed}
    with pytest.raises(BadRequestError, match=message):
        quiet(given.pop("rerankers"), given.pop("data"), **given)
    assert wire.requests == []


class Full(MemoryCache):
    """A cache that is no help."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        raise OSError("no space left")


def test_a_cache_that_fails_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    assert quiet({"ours": served(wire)}, cache=Full()).rows["ours"].failures == {}
    assert [record.getMessage() for record in caplog.records] == [
        "the cache Full failed with OSError: the call goes on without it; further failures are not reported"
    ]


def test_a_fallback_without_a_key_is_no_reason_to_refuse() -> None:
    report = quiet({"ours": Reranker("local/lexical", fallbacks=["cohere/rerank-v3.5"])}, cache=MemoryCache())
    assert report.rows["ours"].failures == {}


def test_a_budget_of_its_own_is_kept_to() -> None:
    own = Budget(0.005)
    report = quiet({"ours": served(Wire(), budget=own)}, budget_usd=1.0, max_concurrency=1)
    assert report.rows["ours"].failures == {"BudgetExceededError": 1}
    assert own.spent() == pytest.approx(0.004)


def test_how_many_calls_went_at_once_is_said() -> None:
    assert "Latencies with 8 calls at once" in str(quiet({"ours": served(Wire())}))
    assert "Latencies with one call at a time" in str(quiet({"ours": served(Wire())}, max_concurrency=1))
    assert "So few queries cannot tell much" in str(quiet({"ours": served(Wire())}))


def test_a_reranker_that_cannot_be_used_is_said_before_others_are_paid_for() -> None:
    wire = Wire()
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY"):
        quiet({"ours": served(wire), "theirs": "cohere/rerank-v3.5"})
    assert wire.requests == []


# Without labels


def reversing(answer: Answer) -> Answer:
    def reversed_(request: httpx.Request) -> httpx.Response:
        body = answer(request).json()
        rows = [{**row, "relevance_score": -row["relevance_score"]} for row in body["results"]]
        return httpx.Response(200, json={**body, "results": rows})

    return reversed_


def test_rerankers_agree_or_do_not() -> None:
    unlabelled = replace(DATA, labels={})
    rerankers = {"one": served(Wire()), "two": served(Wire()), "three": served(Wire(reversing(well)))}
    outcomes = collect(rerankers, unlabelled, cache=None, announce=lambda line: None)
    found = {(pair.one, pair.other): (pair.overlap, pair.tau) for pair in agreement(outcomes, k=1).pairs}
    assert found[("one", "two")] == (1.0, 1.0)
    assert found[("one", "three")] == (0.0, -1.0)
    assert len(found) == 3
    assert "one / two" in str(agreement(outcomes))
    assert "one / two" in agreement(outcomes)._repr_html_()


# Interrupted

_LONG = """
import sys
from anyrerank import Reranker, SQLiteCache
from anyrerank.evaluation import Dataset, compare

data = Dataset(
    queries={f"q{n}": f"query {n}" for n in range(500)},
    documents={"a": "text 1", "b": "text 2"},
    labels={f"q{n}": {"a": 1} for n in range(500)},
    candidates={f"q{n}": ["a", "b"] for n in range(500)},
)
reranker = Reranker("cohere/m", api_key="k", api_base=sys.argv[1], max_retries=0)
try:
    compare({"x": reranker}, data, cache=SQLiteCache(sys.argv[2]), max_concurrency=4, announce=print)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_interrupting_it_stops_the_requests_and_keeps_what_was_answered(
    serve: Callable[..., Loopback], tmp_path: Path
) -> None:
    """As the stop button of a notebook does."""
    running: list[subprocess.Popen[str]] = []

    def answer(line: Line) -> None:
        if line.number == 150:
            running[0].send_signal(signal.SIGINT)
        line.answer(body=ranking(line.hit.documents))

    server, kept = serve(answer), str(tmp_path / "kept.db")
    command = [sys.executable, "-c", _LONG, server.url, kept]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        running.append(process)
        said, _ = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "interrupted"
    assert 150 < len(server.hits) < 250
    server.script = well_
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert again.stdout.startswith("372 calls")
