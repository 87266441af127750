"""Budgets of keys and end users: nothing is sent beyond them, whatever happens at the same time or in between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry
from tests.support.keys import ASK, EACH, Running, bearer, paid, serving

from anyrerank import Budget, MemoryCache
from anyrerank.gateway.dialects import Asked
from anyrerank.gateway.keys import restore
from anyrerank.testing import StubServer


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def gateway(tmp_path: Path, vendor: StubServer) -> Iterator[Running]:
    models = [paid(vendor.url), paid(vendor.url, "unpriced", "cohere/new"), entry("free")]
    with serving(tmp_path, models) as found:
        yield found


def test_call_beyond_the_budget_is_not_sent(gateway: Running, vendor: StubServer) -> None:
    key = gateway.new_key(max_budget=2 * EACH)
    first, second, third = (gateway.rerank(key) for _ in range(3))
    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert len(vendor.requests) == 2
    assert first.headers["x-litellm-key-spend"] == "0.002"
    assert second.headers["x-anyrerank-budget-remaining"] == "0"
    assert second.headers["x-litellm-key-max-budget"] == "0.004"
    assert third.json()["error"]["type"] == "budget_exceeded"
    assert "retry-after" not in third.headers
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
    asked = Asked(query="red planet", documents=["Venus", "Mars"])
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
    with serving(tmp_path, models) as gateway:
        for key in keys:
            assert gateway.get("/key/info", key).json()["info"]["spend"] == pytest.approx(EACH)
            assert [gateway.rerank(key).status_code for _ in range(3)] == [200, 200, 429]
        assert gateway.rerank(free).headers["x-litellm-key-spend"] == "0.004"


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


# Budgets of the configuration.


def test_budget_of_the_router_holds_beside_that_of_the_key(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)], router={"budget": Budget(2 * EACH)}) as gateway:
        rich = gateway.new_key(max_budget=100)
        assert [gateway.rerank(rich).status_code for _ in range(3)] == [200, 200, 429]
        assert gateway.rerank(MASTER_KEY).status_code == 429


# End users.


@pytest.fixture
def per_user(tmp_path: Path, vendor: StubServer) -> Iterator[Running]:
    with serving(tmp_path, [paid(vendor.url)], router={"user_budget": Budget(EACH)}) as found:
        yield found


@pytest.mark.parametrize("header", ["x-litellm-end-user-id", "x-litellm-customer-id", "X-OpenWebUI-User-Id"])
def test_each_end_user_has_a_budget(per_user: Running, header: str) -> None:
    key = per_user.new_key()
    assert [per_user.rerank(key, {header: "ann"}).status_code for _ in range(2)] == [200, 429]
    assert per_user.rerank(key, user="ann").status_code == 429
    assert per_user.rerank(key, {header: "ann"}, user="bob").status_code == 200
    assert per_user.rerank(key, {header: "bob"}).status_code == 429


def test_end_user_in_a_header_is_the_one_in_a_body(per_user: Running) -> None:
    key = per_user.new_key()
    assert per_user.rerank(key, user="Zoë").status_code == 200
    assert per_user.rerank(key, {"x-litellm-end-user-id": "Zoë"}).status_code == 429


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rerank", {"query": "q", "texts": ["a"]}),
        ("/rerank", {"query": "q", "passages": [{"text": "a"}]}),
        ("/rerank", {"query": "q", "input": ["a"]}),
        ("/rerank", {"input": {"query": "q", "documents": ["a"]}}),
        ("/rerank", {"text_1": "q", "text_2": ["a"]}),
        ("/voyage/v1/rerank", {"query": "q", "documents": ["a"]}),
        ("/infinity/rerank", {"query": "q", "documents": ["a"]}),
        ("/api/rerank", {"query": "q", "documents": ["a"]}),
    ],
)
def test_end_user_in_a_body_of_any_dialect_counts(per_user: Running, path: str, body: dict[str, Any]) -> None:
    asked = {**body, "model": "rerank", "user": "ann"}
    assert [per_user.post(path, MASTER_KEY, **asked).status_code for _ in range(2)] == [200, 429]


def test_pinned_end_user_cannot_be_renamed(per_user: Running) -> None:
    key = per_user.new_key(metadata={"end_user": "ann"})
    assert per_user.rerank(key, user="bob").status_code == 200
    assert per_user.rerank(key, {"x-litellm-end-user-id": "cid"}, user="dan").status_code == 429
    assert per_user.rerank(per_user.new_key(), user="bob").status_code == 200


NAMING: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "/rerank": ("user", lambda name: {**ASK, "user": name}),
    "/key/generate": ("metadata", lambda name: {"metadata": {"end_user": name}}),
    "/customer/new": ("user_id", lambda name: {"user_id": name}),
}
"""Where an end user is named: the field, and a body."""


@pytest.mark.parametrize("path", NAMING)
@pytest.mark.parametrize(
    ("name", "is_right"),
    [
        ("Zoë Müller", True),
        ("x" * 256, True),
        ("x" * 257, False),
        ("a\nb", False),
        ("a\0", False),
        ("a\u200b", False),
        ("\ud800", False),
    ],
    ids=ascii,
)
def test_name_of_an_end_user_has_one_rule(per_user: Running, path: str, name: str, is_right: bool) -> None:
    field, body = NAMING[path]
    answer = httpx.post(f"{per_user.url}{path}", content=json.dumps(body(name)), headers=bearer(MASTER_KEY))
    if is_right:
        assert answer.status_code == 200
    else:
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, field)
        assert "must be printable text of 1 to 256 characters" in error["message"]
        assert name not in answer.text


def test_end_user_in_a_header_must_be_printable(per_user: Running) -> None:
    answer = per_user.rerank(per_user.new_key(), {"x-litellm-end-user-id": "a\u200b"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "user")


def test_spend_of_the_router_survives_a_restart(tmp_path: Path, vendor: StubServer) -> None:
    price = {"input_cost_per_query": EACH, "max_budget": EACH}
    models = [paid(vendor.url), paid(vendor.url, "small"), paid(vendor.url, "any/*", "cohere/*")]
    for each in models[1:]:
        each["litellm_params"] |= price
    with serving(tmp_path, models) as gateway:
        assert gateway.rerank(MASTER_KEY, model="any/new").status_code == 200
        assert gateway.rerank(MASTER_KEY, user="ann").status_code == 200
        assert gateway.rerank(MASTER_KEY, model="small", user="bob").status_code == 200
    budgets = {"user_budget": Budget(2 * EACH), "budget": Budget(5 * EACH)}
    with serving(tmp_path, models, router=budgets) as gateway:
        restore(gateway.router, gateway.keyring.ledger)
        assert gateway.rerank(MASTER_KEY, model="small").status_code == 429
        assert gateway.rerank(MASTER_KEY, model="any/other").status_code == 429
        assert [gateway.rerank(MASTER_KEY, user="ann").status_code for _ in range(2)] == [200, 429]
        assert [gateway.rerank(MASTER_KEY).status_code for _ in range(2)] == [200, 429]


def test_customer_has_a_budget_of_its_own(tmp_path: Path, vendor: StubServer) -> None:
    router = {"user_budget": Budget(EACH)}
    with serving(tmp_path, [paid(vendor.url)], router=router) as gateway:
        made = gateway.post("/customer/new", user_id="ann", max_budget=2 * EACH).json()
        assert (made["user_id"], made["spend"]) == ("ann", 0.0)
        key = gateway.new_key()
        assert [gateway.rerank(key, user="ann").status_code for _ in range(3)] == [200, 200, 429]
        assert gateway.get("/customer/info", end_user_id="ann").json()["spend"] == pytest.approx(2 * EACH)
        gateway.post("/customer/update", user_id="ann", max_budget=3 * EACH)
        assert [gateway.rerank(key, user="ann").status_code for _ in range(2)] == [200, 429]
        gateway.post("/customer/update", user_id="ann", max_budget=None, blocked=True)
        assert gateway.rerank(key, user="ann").status_code == 403
        gateway.post("/customer/update", user_id="ann", max_budget=4 * EACH, blocked=False)
    with serving(tmp_path, [paid(vendor.url)], router=router) as gateway:
        assert [gateway.rerank(key, user="ann").status_code for _ in range(2)] == [200, 429]
        assert gateway.post("/customer/delete", user_ids=["ann"]).json() == {"deleted_customers": 1}
        assert gateway.get("/customer/info", end_user_id="ann").status_code == 404


# Spend.


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
    assert {(row["date"], row["key_alias"]) for row in report} == {(today, None), (today, "first"), (today, "second")}
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
