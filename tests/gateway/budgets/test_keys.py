"""Budgets of keys: nothing is sent beyond them, and what is spent is reported."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry
from tests.support.keys import ASK, EACH, Running, bearer, paid, serving

from anyrerank import Budget, MemoryCache
from anyrerank.gateway.dialects import ParsedRequest
from anyrerank.testing import StubServer


def test_call_beyond_the_budget_is_not_sent(gateway: Running, vendor: StubServer) -> None:
    key = gateway.new_key(max_budget=2 * EACH)
    first, second, third = (gateway.rerank(key) for _ in range(3))
    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert len(vendor.requests) == 2
    assert first.headers["x-litellm-key-spend"] == "0.002"
    assert second.headers["x-anyrerank-budget-remaining"] == "0"
    assert second.headers["x-litellm-key-max-budget"] == "0.004"
    assert third.json()["error"]["type"] == "budget_exceeded"
    assert "the key's budget of $0.004 would be exceeded: $0.004 spent" in third.json()["message"]
    assert "retry-after" not in third.headers
    assert third.headers["x-should-retry"] == "false"
    assert gateway.get("/key/info", key).json()["info"]["spend"] == pytest.approx(2 * EACH)


def test_budget_with_a_window_says_when_to_come_back(gateway: Running) -> None:
    key = gateway.new_key(max_budget=EACH, budget_duration="30d")
    assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
    answer = gateway.rerank(key)
    budget = next(each.budget for each in gateway.keyring.accounts())
    assert budget is not None
    assert budget.ends is not None
    starts = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(budget.ends))
    assert f"the next window starts on {starts}" in answer.json()["message"]
    assert not {"retry-after", "retry-after-ms"} & answer.headers.keys()  # clients would wait, and ask again in vain
    assert gateway.get("/key/info", key).json()["info"]["budget_reset_at"] is not None


def test_wait_that_a_client_can_keep_is_in_the_headers(gateway: Running) -> None:
    key = gateway.new_key(max_budget=EACH, budget_duration="59s")
    answer = next(each for each in (gateway.rerank(key) for _ in range(9)) if each.status_code == 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 59
    assert "x-should-retry" not in answer.headers
    assert "the next window starts in" in answer.json()["message"]


def test_call_above_the_whole_budget_is_not_asked_to_wait(gateway: Running) -> None:
    answer = gateway.rerank(gateway.new_key(max_budget=EACH / 2, budget_duration="30s"))
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers
    assert "next window" not in answer.json()["message"]
    assert "more than the whole budget" in answer.json()["message"]


def test_budget_of_nothing_and_no_budget(gateway: Running, vendor: StubServer) -> None:
    assert gateway.rerank(gateway.new_key(max_budget=0)).status_code == 429
    assert gateway.rerank(gateway.new_key(max_budget=0), model="free").status_code == 200
    assert len(vendor.requests) == 0
    assert gateway.rerank(gateway.new_key(max_budget=None)).status_code == 200


def test_unknown_price_is_refused_under_a_budget_only(gateway: Running, vendor: StubServer) -> None:
    answer = gateway.rerank(gateway.new_key(max_budget=1), model="unpriced")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "unknown_price")
    assert "a budget (that of the key) needs a price" in answer.json()["message"]
    assert len(vendor.requests) == 0
    assert gateway.rerank(gateway.new_key(), model="unpriced").status_code == 200


def test_unknown_price_takes_the_deployment_away_from_nobody(tmp_path: Path, vendor: StubServer) -> None:
    models = [paid(vendor.url, "unpriced", "cohere/new"), entry("spare")]
    with serving(tmp_path, models, router={"fallbacks": [{"unpriced": ["spare"]}]}) as gateway:
        poor, other = gateway.new_key(max_budget=1), gateway.new_key()
        for _ in range(2):
            refused = gateway.rerank(poor, model="unpriced")
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "unknown_price")
            answer = gateway.rerank(other, model="unpriced")
            assert answer.headers["x-anyrerank-deployment"] == "cohere/new"
        assert gateway.get("/health").json()["unhealthy_count"] == 0


async def test_200_calls_at_once_send_what_the_budget_allows(gateway: Running, vendor: StubServer) -> None:
    key = gateway.new_key(max_budget=10 * EACH)
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        answers = await asyncio.gather(
            *(client.post(f"{gateway.url}/rerank", json=ASK, headers=bearer(key)) for _ in range(200))
        )
    assert sorted(each.status_code for each in answers) == [200] * 10 + [429] * 190
    assert len(vendor.requests) == 10


def test_refused_call_is_refunded(gateway: Running, vendor: StubServer) -> None:
    key = gateway.new_key(max_budget=EACH)
    vendor.fail(400, times=1)
    assert gateway.rerank(key).status_code == 400
    assert gateway.rerank(key).status_code == 200


def test_fallbacks_are_paid_from_the_same_budget(tmp_path: Path, vendor: StubServer) -> None:
    models = [paid(vendor.url), paid(vendor.url, "spare")]
    with serving(tmp_path, models, router={"fallbacks": [{"rerank": ["spare"]}]}) as gateway:
        key = gateway.new_key(max_budget=EACH)
        assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
        assert gateway.rerank(key, fallbacks=["spare"]).status_code == 429
        assert gateway.rerank(key, model="spare", fallbacks=["rerank"]).status_code == 429
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"budget": 100},
        {"user_budget": None},
        {"options": {"budget": None}},
        {"metadata": {"tags": ["key:master"]}},
        {"hooks": []},
        {"model": "cohere/rerank-v3.5"},
        {"max_retries": 0},
        {"api_key": "mine"},
        {"user": "someone else"},
    ],
    ids=str,
)
def test_field_of_the_body_does_not_lift_a_budget(gateway: Running, vendor: StubServer, fields: dict[str, Any]) -> None:
    key = gateway.new_key(max_budget=0)
    assert gateway.rerank(key, **fields).status_code in (400, 429)
    assert len(vendor.requests) == 0


async def test_options_of_a_dialect_do_not_decide_who_pays(gateway: Running) -> None:
    key = gateway.new_key(max_budget=1)
    caller = gateway.keyring.caller({"type": "http", "headers": [(b"authorization", key.encode())]})
    asked = ParsedRequest(query="red planet", documents=["Venus", "Mars"])
    forged = {"budget": None, "metadata": {"tags": ["key:master"]}, "hooks": (), "top_n": 1}
    async with caller.admitted(asked, forged, gateway.router.options) as grant:
        token = gateway.get("/key/info", key).json()["key"]
        assert [each.dollars for each in grant.options["budget"]] == [1]
        assert grant.options["metadata"] == {"tags": [f"key:{token[:16]}"]}
        assert grant.options["hooks"] == (gateway.keyring.ledger,)
        assert grant.options["top_n"] == 1


@pytest.mark.parametrize(
    "path", ["/rerank", "/v1/rerank", "/v2/rerank", "/cohere/v1/rerank", "/cohere/v2/rerank", "/tei/rerank/rerank"]
)
def test_every_path_has_budgets_and_limits(gateway: Running, vendor: StubServer, path: str) -> None:
    body = {**ASK, "texts": ASK["documents"]} if "tei" in path else ASK
    for fields in ({"max_budget": 0}, {"rpm_limit": 0}, {"models": ["free"]}):
        key = gateway.new_key(**fields)
        answer = httpx.post(f"{gateway.url}{path}", json=body, headers=bearer(key))
        assert answer.status_code == (403 if "models" in fields else 429)
    assert len(vendor.requests) == 0


def test_changed_budget_keeps_what_was_spent(gateway: Running, vendor: StubServer) -> None:
    key = gateway.new_key(max_budget=EACH)
    assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
    gateway.post("/key/update", key=key, max_budget=2 * EACH)
    assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
    gateway.post("/key/update", key=key, budget_duration="365d")
    assert gateway.rerank(key).status_code == 429
    gateway.post("/key/update", key=key, max_budget=None)
    assert gateway.rerank(key).status_code == 200
    gateway.post("/key/update", key=key, max_budget=3 * EACH)
    assert gateway.rerank(key).status_code == 429
    assert len(vendor.requests) == 3


def test_spend_survives_a_restart(tmp_path: Path, vendor: StubServer) -> None:
    models = [paid(vendor.url)]
    with serving(tmp_path, models) as gateway:
        keys = [gateway.new_key(max_budget=3 * EACH, budget_duration=each) for each in (None, "365d", "700d")]
        for key in keys:
            assert gateway.rerank(key).status_code == 200
        free = gateway.new_key()
        gateway.rerank(free)
        gateway.rerank(MASTER_KEY)
    with serving(tmp_path, models) as gateway:
        for key in keys:
            assert gateway.get("/key/info", key).json()["info"]["spend"] == pytest.approx(EACH)
            assert [gateway.rerank(key).status_code for _ in range(3)] == [200, 200, 429]
        assert [gateway.rerank(each).headers["x-litellm-key-spend"] for each in (free, MASTER_KEY)] == ["0.004"] * 2


def test_spend_of_one_key_is_not_that_of_another(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)]) as gateway:
        mine, other = (gateway.new_key(max_budget=2 * EACH) for _ in range(2))
        gateway.rerank(mine, metadata={"tags": [f"key:{gateway.get('/key/info', other).json()['key'][:16]}"]})
    with serving(tmp_path, [paid(vendor.url)]) as gateway:
        spends = [gateway.get("/key/info", key).json()["info"]["spend"] for key in (mine, other)]
    assert spends == [pytest.approx(EACH), 0.0]


def test_cached_answer_is_free(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)], router={"cache": MemoryCache()}) as gateway:
        key = gateway.new_key(max_budget=EACH, rpm_limit=3)
        assert [gateway.rerank(key).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert gateway.get("/key/info", key).json()["info"]["spend"] == pytest.approx(EACH)
    assert len(vendor.requests) == 1


def test_budget_of_the_router_holds_beside_that_of_the_key(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)], router={"budget": Budget(2 * EACH)}) as gateway:
        rich = gateway.new_key(max_budget=100)
        assert [gateway.rerank(rich).status_code for _ in range(3)] == [200, 200, 429]
        assert gateway.rerank(MASTER_KEY).status_code == 429


def test_spend_is_reported_by_key_user_and_day(gateway: Running) -> None:
    first, second = gateway.new_key(key_alias="first"), gateway.new_key(key_alias="second")
    gateway.rerank(first, user="ann")
    gateway.rerank(first, user="bob")
    gateway.rerank(second, user="bob")
    gateway.rerank(MASTER_KEY, model="free")
    today = time.strftime("%Y-%m-%d", time.gmtime())

    keys = {row["key_alias"] or row["tag"]: row["spend"] for row in gateway.get("/spend/keys").json()}
    assert keys == {"first": pytest.approx(2 * EACH), "second": pytest.approx(EACH), "key:master": 0.0}
    users = {row["user"]: row["spend"] for row in gateway.get("/spend/users").json()}
    assert users == {"bob": pytest.approx(2 * EACH), "ann": pytest.approx(EACH), None: 0.0}
    logs = gateway.get("/spend/logs", start_date=today, end_date=today, api_key=first).json()
    assert [(row["date"], row["model"], row["user"], row["calls"]) for row in logs] == [
        (today, "rerank", "ann", 1),
        (today, "rerank", "bob", 1),
    ]
    report = gateway.get("/global/spend/report", group_by="api_key").json()
    assert gateway.get("/global/spend/report", group_by="key").json() == report
    assert {(row["date"], row["key_alias"]) for row in report} == {(today, None), (today, "first"), (today, "second")}
    both = gateway.get("/global/spend/report", group_by="api_key,model", api_key=first).json()
    assert {(row["key_alias"], row["model"]) for row in both} == {("first", "rerank")}
    for path in ("/spend/logs", "/spend/keys", "/spend/users", "/global/spend/report"):
        unknown = gateway.get(path, request_id="abc")
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "request_id")
        assert "start_date, end_date, api_key" in unknown.json()["message"]
    assert gateway.get("/global/spend/report", group_by="team").status_code == 400
    assert gateway.get("/spend/logs", start_date="yesterday").status_code == 400
    assert gateway.get("/spend/logs", start_date="2000-01-01", end_date="2000-01-02").json() == []


def test_key_sees_its_own_spend_only(gateway: Running) -> None:
    mine, other = gateway.new_key(), gateway.new_key()
    gateway.rerank(mine, user="ann")
    gateway.rerank(other, user="bob")
    assert [row["user"] for row in gateway.get("/spend/users", mine).json()] == ["ann"]
    assert len(gateway.get("/spend/keys", mine).json()) == 1
    assert [row["user"] for row in gateway.get("/spend/logs", mine).json()] == ["ann"]
    assert gateway.get("/spend/logs", mine, user_id="bob").json() == []
    assert gateway.get("/spend/logs", mine, api_key=other).status_code == 403
    assert gateway.get("/global/spend/report", mine).status_code == 403


def test_nothing_that_a_client_wrote_is_stored(gateway: Running, tmp_path: Path) -> None:
    gateway.rerank(gateway.new_key(), query="a very secret question", documents=["a very secret text"])
    gateway.keyring.ledger.flush()
    found = [path for path in tmp_path.rglob("*") if path.is_file() and b"very secret" in path.read_bytes()]
    assert found == []
