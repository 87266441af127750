"""Budgets of end users, and how a request names one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY
from tests.support.keys import ASK, EACH, Running, bearer, paid, serving

from anyrerank import Budget
from anyrerank.gateway.keys import restore
from anyrerank.testing import StubServer


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


def test_end_user_in_metadata_is_the_one_of_litellm(per_user: Running) -> None:
    key = per_user.new_key()
    assert [per_user.rerank(key, metadata={"user_id": "ann"}).status_code for _ in range(2)] == [200, 429]
    assert per_user.rerank(key, user="ann", metadata={"user_id": "bob"}).status_code == 429
    assert per_user.rerank(key, metadata={"tags": ["a"]}).headers["x-anyrerank-ignored"] == "metadata"
    assert per_user.rerank(key, metadata={"user_id": 7}).status_code == 400


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


def test_end_user_without_a_budget_of_its_own_is_shown_with_that_of_all(per_user: Running) -> None:
    assert per_user.get("/customer/info", end_user_id="ann").status_code == 404
    assert per_user.rerank(MASTER_KEY, user="ann").status_code == 200
    shown = per_user.get("/customer/info", end_user_id="ann").json()
    assert (shown["user_id"], shown["spend"], shown["max_budget"], shown["blocked"]) == ("ann", EACH, EACH, False)


def test_unknown_price_says_that_the_budget_of_the_end_user_needs_it(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url, model="cohere/new")], router={"user_budget": Budget(1)}) as gateway:
        assert gateway.rerank(MASTER_KEY).status_code == 200
        answer = gateway.rerank(MASTER_KEY, user="ann")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "unknown_price")
    assert "a budget (that of the end user) needs a price" in answer.json()["message"]


def test_customer_has_a_budget_of_its_own(tmp_path: Path, vendor: StubServer) -> None:
    router = {"user_budget": Budget(EACH)}
    with serving(tmp_path, [paid(vendor.url)], router=router) as gateway:
        made = gateway.post("/customer/new", user_id="ann", max_budget=2 * EACH).json()
        assert (made["user_id"], made["spend"]) == ("ann", 0.0)
        key = gateway.new_key()
        answers = [gateway.rerank(key, user="ann") for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert "the end user's budget of $0.004 would be exceeded" in answers[-1].json()["message"]
        assert gateway.get("/customer/info", end_user_id="ann").json()["spend"] == pytest.approx(2 * EACH)
        gateway.post("/customer/update", user_id="ann", max_budget=3 * EACH)
        assert [gateway.rerank(key, user="ann").status_code for _ in range(2)] == [200, 429]
        gateway.post("/customer/update", user_id="ann", max_budget=None, blocked=True)
        assert gateway.rerank(key, user="ann").status_code == 403
        gateway.post("/customer/update", user_id="ann", max_budget=4 * EACH, blocked=False)
    with serving(tmp_path, [paid(vendor.url)], router=router) as gateway:
        assert [gateway.rerank(key, user="ann").status_code for _ in range(2)] == [200, 429]
        assert gateway.post("/customer/delete", user_ids=["ann"]).json() == {"deleted_customers": 1}
        assert gateway.get("/customer/info", end_user_id="ann").json()["max_budget"] == EACH
        assert gateway.get("/customer/info", end_user_id="bob").status_code == 404
