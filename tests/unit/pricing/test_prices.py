"""What calls cost: list prices, what the provider reports, the caller's prices, and prices that are not known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.frameworks import FACES, Face, Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering

from anyrerank import BadRequestError, ConfigurationError, Reranker, RerankResponse
from anyrerank._core.pricing import AttemptCost, Price, attempt_cost, list_price, read_prices, total_cost
from anyrerank._core.types import Attempt, BilledUnits, Meta
from anyrerank.hooks import CallEvent
from anyrerank.providers import names

ROWS = [{"index": index, "relevance_score": 0.5} for index in range(3)]
COHERE = {"results": ROWS, "meta": {"billed_units": {"search_units": 3}}}
JINA = {"results": ROWS, "usage": {"total_tokens": 2_000_000}}
GARBAGE = {"response": {"status": 200, "json": {"results": "none"}}}
DOWN = {"response": {"status": 500, "json": {}}}


def ok(body: Any) -> dict[str, Any]:
    return {"response": {"status": 200, "json": body}}


def ask(mode: Mode, model: str, body: Any, **options: Any) -> RerankResponse:
    client = answering(body, headers=options.pop("sent_headers", None)).client(mode)
    return mode.rerank(mode.reranker(model, http_client=client, **options), QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    ("model", "body", "cost", "estimated"),
    [
        ("cohere/rerank-v3.5", COHERE, 0.006, False),
        ("cohere/RERANK-v4.0-pro", COHERE, 0.0075, False),
        ("cohere/rerank-v3.5", {"results": ROWS}, 0.002, True),
        ("cohere/rerank-of-tomorrow", COHERE, None, False),
        ("jina_ai/jina-reranker-v2-base-multilingual", JINA, 0.1, False),
        ("jina_ai/jina-reranker-v2-base-multilingual", {"results": ROWS}, None, False),
        ("jina_ai/jina-reranker-m0", JINA, 0.1, False),
        ("jina_ai/jina-reranker-v3.5", JINA, None, False),
        ("cohere/rerank-v5.0-pro", {"results": ROWS, "meta": {"billed_units": {"input_tokens": 2e6}}}, 0.1, False),
        ("cohere/rerank-v5.0-fast", {"results": ROWS, "meta": {"billed_units": {"total_tokens": 2e6}}}, 0.04, False),
        ("cohere/rerank-v5.0-fast", COHERE, None, False),
        ("fireworks_ai/qwen3-reranker-8b", {"data": ROWS, "usage": {"total_tokens": 1_000_000}}, 0.2, False),
        ("openrouter/cohere/rerank-v3.5", {"results": ROWS, "usage": {"cost": 0.0015}}, 0.0015, False),
        ("openrouter/cohere/rerank-v3.5", {"results": ROWS, "usage": {"cost": 0}}, None, False),
        ("deepinfra/any/model", {"scores": [1, 2, 3], "inference_status": {"cost": 0.0004}}, 0.0004, False),
        ("deepinfra/any/model", {"scores": [1, 2, 3], "inference_status": {"cost": "much"}}, None, False),
        ("local/lexical", {}, 0.0, False),
    ],
)
def test_the_cost_of_a_call_follows_price_and_usage(
    model: str, body: Any, cost: float | None, estimated: bool, mode: Mode
) -> None:
    response = ask(mode, model, body)
    assert response.cost == pytest.approx(cost)
    assert response.cost_estimated is estimated
    assert [attempt.cost for attempt in response.attempts] == [response.cost]


@pytest.mark.parametrize(("reported", "cost"), [("0.0042", 0.0042), ("0.0", None), ("", None), ("free", None)])
def test_the_cost_that_a_proxy_reports_is_used(reported: str, cost: float | None, mode: Mode) -> None:
    headers = {"x-litellm-response-cost": reported}
    response = ask(mode, "litellm_proxy/any", COHERE, api_base="http://proxy.example", sent_headers=headers)
    assert response.cost == cost


@pytest.mark.parametrize(
    ("options", "cost"),
    [
        ({"input_cost_per_query": 0.5}, 1.5),
        ({"input_cost_per_query": 0}, 0.0),
        ({"input_cost_per_token": 0.5}, None),
        ({"prices": {"cohere/rerank-v3.5": {"input_cost_per_query": 0.25}}}, 0.75),
        ({"prices": {"rerank-v3.5": {"input_cost_per_query": 0.25, "litellm_provider": "cohere"}}}, 0.75),
        ({"prices": {"rerank-v3.5": {"input_cost_per_query": 0.25, "litellm_provider": "azure_ai"}}}, 0.006),
        ({"prices": {"cohere/rerank-v3.5": {"max_tokens": 4096}}}, 0.006),
        ({"prices": {"cohere/rerank-v3.5": {"input_cost_per_query": 0.25}}, "input_cost_per_query": 1}, 3.0),
    ],
)
def test_the_callers_prices_override_the_list(options: dict[str, Any], cost: float | None, mode: Mode) -> None:
    assert ask(mode, "cohere/rerank-v3.5", COHERE, **options).cost == cost


def test_the_callers_prices_override_the_reported_cost(mode: Mode) -> None:
    body = {"results": ROWS, "usage": {"cost": 0.0015, "total_tokens": 100}}
    assert ask(mode, "openrouter/x/y", body, input_cost_per_token=0.01).cost == 1.0


def test_a_self_hosted_model_can_have_a_price_per_query(mode: Mode) -> None:
    response = ask(mode, "hosted_vllm/x", JINA, api_base="http://vllm.example", input_cost_per_query=0.001)
    assert (response.cost, response.cost_estimated) == (0.001, True)


def test_a_free_model_can_have_a_price(mode: Mode) -> None:
    assert ask(mode, "local/lexical", {}, input_cost_per_query=0.5).cost == 0.5


def test_a_timeout_makes_the_cost_an_estimate(mode: Mode) -> None:
    replay = Replay([{"response": {"failure": "read_timeout"}}, ok(COHERE)])
    reranker = mode.reranker(http_client=replay.client(mode), fallbacks=["cohere/rerank-v4.0-fast"])
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert (response.cost, response.cost_estimated) == (0.006, True)


def test_a_changed_price_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    for number, price in enumerate((0.1, 0.2), start=1):
        file.write_text(json.dumps({"a/b": {"input_cost_per_query": price}}))
        os.utime(file, ns=(number, number))
        assert read_prices(file) == {"a/b": Price(per_query=price)}


def test_the_costs_of_batches_are_added(mode: Mode) -> None:
    bodies = [{"results": ROWS[:count], "meta": {"billed_units": {"search_units": 1}}} for count in (2, 1)]
    replay = Replay(map(ok, bodies))
    reranker = mode.reranker(http_client=replay.client(mode), batch_size=2, max_concurrency=1)
    assert mode.rerank(reranker, QUERY, DOCUMENTS).cost == 0.004


@pytest.mark.parametrize(
    ("first", "exchange", "cost", "estimated"),
    [
        ("cohere/rerank-v4.0-pro", GARBAGE, 0.0025 + 0.006, True),
        ("cohere/rerank-v4.0-pro", DOWN, 0.006, False),
        ("jina_ai/jina-reranker-v2-base-multilingual", GARBAGE, None, False),
        ("jina_ai/jina-reranker-v2-base-multilingual", DOWN, 0.006, False),
    ],
)
def test_an_unusable_answer_that_was_billed_counts(
    first: str, exchange: dict[str, Any], cost: float | None, estimated: bool, mode: Mode
) -> None:
    client = Replay([exchange, ok(COHERE)]).client(mode)
    second = mode.reranker("cohere/rerank-v3.5", http_client=client)
    response = mode.rerank(mode.reranker(first, http_client=client, fallbacks=[second]), QUERY, DOCUMENTS)
    assert response.cost == pytest.approx(cost)
    assert response.cost_estimated is estimated
    assert [attempt.billed for attempt in response.attempts] == [exchange is GARBAGE, True]


def test_a_fallback_uses_the_price_file_but_not_the_prices_of_the_first_model(mode: Mode) -> None:
    client = Replay([DOWN, ok(COHERE)]).client(mode)
    reranker = mode.reranker(
        "cohere/rerank-v4.0-pro",
        http_client=client,
        input_cost_per_query=9,
        prices={"cohere/other": {"input_cost_per_query": 0.1}},
        fallbacks=["cohere/other"],
    )
    assert mode.rerank(reranker, QUERY, DOCUMENTS).cost == pytest.approx(0.3)


def test_a_call_without_a_request_is_free(mode: Mode) -> None:
    response = mode.rerank(mode.reranker(), QUERY, [])
    assert (response.cost, response.attempts) == (0.0, ())


@pytest.mark.parametrize("face", FACES, ids=str)
def test_an_adapter_passes_prices_on(face: Face) -> None:
    adapter = face.make(Wire(), input_cost_per_query=0.5, prices={"a/b": {"input_cost_per_token": 1.0}})
    events: list[CallEvent] = []
    priced = face.make(Wire(), prices={"cohere/rerank-v3.5": {"input_cost_per_query": 0.25}}, hooks=[events.append])
    face.rerank(priced, ["a 0.5", "b 0.9"])
    assert events[0].response is not None
    assert events[0].response.cost == 0.25
    assert adapter.model_dump()["input_cost_per_query"] == 0.5


# Tables and files.


def test_every_listed_price_belongs_to_a_known_provider() -> None:
    path = Path(read_prices.__code__.co_filename).parent / "data" / "prices.json"
    models = json.loads(path.read_text(encoding="utf-8"))["models"]
    assert {name.partition("/")[0] for name in models} <= set(names())
    for name, entry in models.items():
        assert entry.keys() <= {"usd_per_search_unit", "usd_per_million_tokens", "source", "read"}
        assert len(entry.keys() - {"source", "read"}) == 1
        assert list_price([name.upper()]) is not None
    assert list_price(["unknown/model"]) is None


def test_a_price_file_in_litellms_format_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    entries: dict[str, dict[str, Any]] = {
        "sample_spec": {"max_tokens": "set to max output tokens"},
        "cohere/rerank-x": {
            "input_cost_per_query": 0.002,
            "input_cost_per_token": 0.0,
            "output_cost_per_token": 0.0,
            "litellm_provider": "cohere",
            "mode": "rerank",
        },
        "nvidia_nim/z": {"input_cost_per_query": 0.0, "input_cost_per_token": 0.0, "litellm_provider": "nvidia_nim"},
        "voyage/y": {"input_cost_per_token": 5e-08, "litellm_provider": "voyage", "mode": "rerank"},
        "bare": {"input_cost_per_query": 0.5, "litellm_provider": "jina_ai"},
    }
    file.write_text(json.dumps(entries))
    expected = {
        "cohere/rerank-x": Price(per_query=0.002),
        "voyage/y": Price(per_token=5e-08),
        "jina_ai/bare": Price(per_query=0.5),
    }
    assert read_prices(file) == read_prices(str(file)) == read_prices(entries) == expected
    assert Reranker("cohere/rerank-x", api_key=KEY, prices=str(file)).price() == Price(per_query=0.002)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "prices.json cannot be read: FileNotFoundError"),
        (b"\xff\xfe", "prices.json cannot be read: UnicodeDecodeError"),
        (b'{\n"a": {\n"b" 3}}', "prices.json is not JSON: line 3"),
        (b"[]", "prices.json must be a JSON object of models"),
        (b'{"a/b": {"input_cost_per_query": "free"}}', "prices.json, a/b: input_cost_per_query must be a number"),
        (b'{"a/b": {"input_cost_per_token": -1}}', "prices.json, a/b: input_cost_per_token must be a number"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Reranker("cohere/rerank-v3.5", prices=file)
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["input_cost_per_query", "input_cost_per_token"])
@pytest.mark.parametrize("value", [-0.1, "0.1", True, float("nan"), float("inf")])
def test_a_wrong_price_is_refused(name: str, value: Any, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match=f"{name} must be a number of US dollars"):
        mode.reranker(**{name: value})
    with pytest.raises(BadRequestError, match=f"{name} cannot be set in a call"):
        mode.rerank(mode.reranker(), QUERY, DOCUMENTS, **{name: value})


# Rules.

counts = st.none() | st.integers(0, 10**6)
dollars = st.none() | st.floats(0, 10, allow_nan=False)


@given(dollars, dollars, counts, counts, st.integers(1, 5000))
def test_a_cost_is_known_if_price_and_usage_are(
    per_query: float | None, per_token: float | None, units: int | None, tokens: int | None, documents: int
) -> None:
    meta = Meta(billed_units=BilledUnits(search_units=units, total_tokens=tokens))
    found = attempt_cost(Price(per_query=per_query, per_token=per_token), meta, documents)
    if (per_query, per_token) == (None, None) or (per_token and tokens is None):
        assert found == AttemptCost(None)
        return
    if not (per_query or per_token):
        assert found == AttemptCost(0.0)
        return
    guessed = -(-documents // 100) if units is None else units
    assert found.dollars == pytest.approx((per_query or 0) * guessed + (per_token or 0) * (tokens or 0))
    assert found.estimated == (per_query is not None and units is None)


@given(st.lists(st.tuples(st.sampled_from([None, 200, 204, 429, 500]), st.booleans(), dollars)))
def test_the_total_is_that_of_the_billed_attempts(tries: list[tuple[int | None, bool, float | None]]) -> None:
    attempts = [
        Attempt(deployment="a/b", status=status, error="X" if failed else None, seconds=0.1, cost=cost)
        for status, failed, cost in tries
    ]
    billed = [cost for status, failed, cost in tries if (not failed if status is None else status < 300)]
    expected = None if None in billed else sum(cost or 0 for cost in billed)
    assert total_cost(attempts) == pytest.approx(expected)


def test_an_attempt_that_may_have_been_billed_is_not_free(mode: Mode) -> None:
    replay = Replay([{"response": {"failure": "read_timeout"}}])
    reranker = mode.reranker(http_client=replay.client(mode), on_error="passthrough")
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert (response.degraded, response.cost) == (True, None)
