"""Metrics: what they count, and how many there may be."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily
from tests.gateway.operating import ASK, HEADERS, MODEL_ROUTES, at
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from tests.support.keys import EACH, paid, serving

from anyrerank import Budget, MemoryCache
from anyrerank.gateway.keys import restore
from anyrerank.gateway.operation import LIVENESS, READINESS
from anyrerank.gateway.operation.series import Names
from anyrerank.gateway.operation.worker_metrics import merged
from anyrerank.testing import StubServer


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def values(text: str, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels as they are written."""
    rows = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return {row.partition("{")[2].rpartition("}")[0]: float(row.rpartition(" ")[2]) for row in rows}


def test_metrics_count_calls_cost_and_refusals(vendor: StubServer) -> None:
    models = [at(vendor, input_cost_per_query=0.25), entry("spare")]
    with running(gateway_of(models, fallbacks=[{"rerank": ["spare"]}], num_retries=0)) as url:
        httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)
        vendor.fail(500, times=1)
        httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)
        httpx.post(f"{url}/rerank", json=ASK)
        httpx.post(f"{url}/tei/unknown/rerank", json={"query": "a", "texts": ["a"]}, headers=HEADERS)
        text = httpx.get(f"{url}/metrics").text

    assert values(text, "anyrerank_requests_total") == {
        'dialect="litellm",model="rerank",route="/rerank",status="200"': 2,
        'dialect="litellm",model="",route="/rerank",status="401"': 1,
        'dialect="tei",model="",route="/tei/{model}/rerank",status="404"': 1,
    }
    assert values(text, "anyrerank_cost_dollars_total") == {'key_alias="master",model="rerank"': 0.25}
    assert values(text, "anyrerank_search_units_total") == {'model="rerank"': 1}
    assert values(text, "anyrerank_documents_total") == {'model="rerank"': 4}
    assert values(text, "anyrerank_fallbacks_total") == {'model="rerank"': 1}
    assert values(text, "anyrerank_rejected_total") == {
        'key_alias="",owner="",reason="authentication_error"': 1,
        'key_alias="master",owner="",reason="unknown_model"': 1,
    }
    assert values(text, "anyrerank_attempts_total") == {
        'deployment="cohere/rerank-v3.5",error="",id="rerank-1"': 1,
        'deployment="cohere/rerank-v3.5",error="InternalServerError",id="rerank-1"': 1,
        'deployment="local/lexical",error="",id="spare-1"': 1,
    }
    assert values(text, "anyrerank_request_duration_seconds_count")['model="rerank",route="/rerank"'] == 2
    assert values(text, "anyrerank_in_flight") == {"": 0}


def test_metrics_count_cached_scores_and_answers_without_scores(vendor: StubServer) -> None:
    with running(gateway_of([at(vendor)], cache=MemoryCache(), on_error="passthrough", num_retries=0)) as url:
        for documents in (["Mars", "Venus"], ["Mars", "Venus", "Earth"]):
            httpx.post(f"{url}/rerank", json={**ASK, "documents": documents}, headers=HEADERS)
        vendor.fail(500)
        httpx.post(f"{url}/rerank", json={**ASK, "documents": ["Pluto"]}, headers=HEADERS)
        text = httpx.get(f"{url}/metrics").text

    pairs = values(text, "anyrerank_cache_pairs_total")
    assert pairs['model="rerank",result="hit"'] == 2
    assert values(text, "anyrerank_degraded_total") == {'model="rerank"': 1}


def test_metrics_count_the_cooldowns_of_each_deployment(vendor: StubServer) -> None:
    with StubServer() as other:
        models = [
            at(vendor) | {"model_info": {"id": "first"}},
            at(other) | {"model_info": {"id": "second"}},
            entry("spare"),
        ]
        with running(gateway_of(models, fallbacks=[{"rerank": ["spare"]}], num_retries=0)) as url:
            vendor.fail(401)
            other.fail(401)
            for _ in range(4):
                httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)
            cooldowns = values(httpx.get(f"{url}/metrics").text, "anyrerank_cooldowns_total")

    assert {labels.split('id="')[1].split('"')[0]: count for labels, count in cooldowns.items()} == {
        "first": 1,
        "second": 1,
        "spare-1": 0,
    }


def test_metrics_show_what_the_ledger_has_not_written_yet(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)]) as gateway:
        gateway.rerank(MASTER_KEY)
        waiting = values(httpx.get(f"{gateway.url}/metrics").text, "anyrerank_ledger_queue_bytes")
        gateway.keyring.ledger.flush()
        text = httpx.get(f"{gateway.url}/metrics").text

    assert waiting[""] > 100
    assert values(text, "anyrerank_ledger_queue_bytes") == {"": 0}
    assert values(text, "anyrerank_ledger_dropped_total") == {"": 0}


def test_spool_that_workers_share_is_shown_once() -> None:
    sizes = [GaugeMetricFamily("anyrerank_ledger_queue_bytes", "", value) for value in (700.0, 700.0)]
    (family,) = merged(sizes)
    assert [sample.value for sample in family.samples] == [700.0]


def test_metrics_count_every_route_and_unknown_paths_as_one(vendor: StubServer) -> None:
    paths = [*LIVENESS, *READINESS, "/health", *MODEL_ROUTES]
    with running(gateway_of([at(vendor)])) as url:
        for path in [*paths, "/metrics"]:
            httpx.get(url + path, headers=HEADERS)
        for number in range(5):
            httpx.get(f"{url}/unknown-{number}")
        httpx.get(f"{url}/rerank")
        requests = values(httpx.get(f"{url}/metrics").text, "anyrerank_requests_total")

    routes = {labels.split('route="')[1].split('"')[0] for labels in requests}
    assert routes == {*paths, "/metrics", "other"}
    assert requests['dialect="",model="",route="other",status="404"'] == 5


def test_answers_of_names_that_a_wildcard_stands_for_are_no_fallbacks(vendor: StubServer) -> None:
    models = [entry("any/*", "cohere/*", api_key="vendor-key-3f9", api_base=vendor.url), entry("spare")]
    with running(gateway_of(models, fallbacks=[{"any/*": ["spare"]}], num_retries=0)) as url:
        answers = [httpx.post(f"{url}/rerank", json={**ASK, "model": f"any/{each}"}, headers=HEADERS) for each in "abc"]
        before = values(httpx.get(f"{url}/metrics").text, "anyrerank_fallbacks_total")
        vendor.fail(500)
        fallback = httpx.post(f"{url}/rerank", json={**ASK, "model": "any/d"}, headers=HEADERS)
        after = values(httpx.get(f"{url}/metrics").text, "anyrerank_fallbacks_total")

    assert [each.headers["x-litellm-attempted-fallbacks"] for each in answers] == ["0"] * 3
    assert fallback.headers["x-litellm-attempted-fallbacks"] == "1"
    assert (before, after) == ({}, {'model="any/d"': 1})


def test_failed_attempts_and_the_name_that_was_asked_are_in_the_headers_of_litellm(vendor: StubServer) -> None:
    with running(gateway_of([at(vendor)], num_retries=2, retry_after=0)) as url:
        vendor.fail(500, times=1)
        answer = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert answer.headers["x-litellm-attempted-retries"] == "1"
    assert answer.headers["x-litellm-attempted-fallbacks"] == "0"
    assert answer.headers["x-litellm-model-group"] == "rerank"


def test_metrics_do_not_grow_with_what_clients_send() -> None:
    with running(gateway_of()) as url, httpx.Client(base_url=url, headers=HEADERS) as client:
        for number in range(30):
            client.post("/rerank", json={**ASK, "model": f"made-up-{number}", "user": f"user-{number}"})
        requests = values(client.get("/metrics").text, "anyrerank_requests_total")

    assert len(requests) == 1


def test_metrics_do_not_grow_with_the_names_that_a_wildcard_stands_for(
    vendor: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyrerank.gateway.operation.metrics.Names", partial(Names, limit=2))
    models = [entry("any/*", "cohere/*", api_key="vendor-key-3f9", api_base=vendor.url)]
    with running(gateway_of(models)) as url, httpx.Client(base_url=url, headers=HEADERS) as client:
        for number in range(5):
            assert client.post("/rerank", json={**ASK, "model": f"any/{number}"}).status_code == 200
        attempts = values(client.get("/metrics").text, "anyrerank_attempts_total")

    assert list(attempts.values()) == [1, 1, 3]


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 200),
        ({}, {"x-forwarded-for": "203.0.113.7"}, 401),
        ({}, {"host": "evil.example.com"}, 401),
        ({}, {"x-forwarded-for": "203.0.113.7", **HEADERS}, 200),
        ({"metrics_public": True}, {"x-forwarded-for": "203.0.113.7"}, 200),
    ],
)
def test_metrics_are_open_on_this_machine_only(
    settings: dict[str, object], headers: dict[str, str], status: int
) -> None:
    with running(gateway_of(settings=settings)) as url:
        assert httpx.get(f"{url}/metrics", headers=headers).status_code == status


@pytest.mark.parametrize("owner", ["key", "end_user", "deployment", "gateway"])
def test_refusals_say_whose_budget_is_used_up(tmp_path: Path, vendor: StubServer, owner: str) -> None:
    model = paid(vendor.url)
    if owner == "deployment":
        model["litellm_params"] |= {"max_budget": EACH}
    budgets = {"gateway": {"budget": Budget(EACH)}, "end_user": {"user_budget": Budget(EACH)}}
    with serving(tmp_path, [model], router=budgets.get(owner)) as gateway:
        restore(gateway.router, None)
        key = gateway.new_key(key_alias="rag", max_budget=EACH if owner == "key" else None)
        statuses = [gateway.rerank(key, user="ann").status_code for _ in range(2)]
        text = httpx.get(f"{gateway.url}/metrics").text
    assert statuses == [200, 429]
    assert values(text, "anyrerank_rejected_total") == {f'key_alias="rag",owner="{owner}",reason="budget_exceeded"': 1}


def test_metrics_have_the_cost_and_the_budget_of_keys_by_their_alias(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)]) as gateway:
        key = gateway.new_key(max_budget=1, key_alias="search team")
        gateway.rerank(key)
        gateway.rerank("sk-unknown")
        text = httpx.get(f"{gateway.url}/metrics").text

    alias = 'key_alias="search team"'
    assert values(text, "anyrerank_budget_remaining_dollars") == {alias: pytest.approx(1 - EACH)}
    assert values(text, "anyrerank_budget_dollars") == {alias: 1}
    assert values(text, "anyrerank_cost_dollars_total") == {f'{alias},model="rerank"': pytest.approx(EACH)}
    assert values(text, "anyrerank_database_up") == {"": 1}
    assert key not in text


def test_documented_metrics_are_those_that_are_shown(tmp_path: Path) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "gateway.md").read_text(encoding="utf-8")
    with serving(tmp_path) as gateway:
        text = httpx.get(f"{gateway.url}/metrics").text

    shown = set(re.findall(r"^# TYPE (anyrerank_\w+) ", text, re.MULTILINE))
    shown |= {"anyrerank_redis_up", "anyrerank_redis_errors_total"}  # where there is a Redis
    assert set(re.findall(r"`(anyrerank_\w+)`", page.split("## Metrics")[1])) == shown
