"""Virtual keys: how they are made, shown, changed and revoked, and what they may use."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.gateway import MASTER_KEY, entry
from tests.support.keys import ASK, Running, bearer, keyring_of, paid, serving

from anyrerank.testing import StubServer

MODELS = [entry("rerank"), entry("other"), entry("vendor/big"), entry("vendor/small")]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, MODELS) as found:
        yield found


def test_new_key_is_shown_once_and_only_its_hash_is_stored(gateway: Running, tmp_path: Path) -> None:
    answer = gateway.post("/key/generate", key_alias="rag", models=["rerank"], metadata={"team": "search"}, user_id="u")
    made = answer.json()
    key = made["key"]
    assert answer.headers["cache-control"] == "no-store"
    assert key.startswith("sk-")
    assert len(key) >= 3 + 128 / 6
    assert made["token"] == hashlib.sha256(key.encode()).hexdigest()
    assert made["key_name"] == f"sk-...{key[-4:]}"
    assert (made["key_alias"], made["models"], made["expires"], made["spend"]) == ("rag", ["rerank"], None, 0.0)
    assert made["metadata"] == {"team": "search", "user_id": "u"}

    assert gateway.rerank(key).status_code == 200
    info = gateway.get("/key/info", key).json()
    assert (info["key"], info["info"]["key_alias"]) == (made["token"], "rag")
    assert key not in str(info)
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_has_no_effect_is_said_in_the_answer(gateway: Running) -> None:
    assert "warnings" not in gateway.post("/key/generate", models=["rerank", "vendor/*", "*"]).json()
    made = gateway.post("/key/generate", models=["rerank", "gpt-4", "x/*"], user_id="u", soft_budget=1).json()
    user, soft, models = made["warnings"]
    assert (user.split()[0], soft.split()[0]) == ("user_id", "soft_budget")
    assert "no model gpt-4, x/* now" in models
    updated = gateway.post("/key/update", key=made["key"], models=["gpt-5"]).json()
    assert ["gpt-5" in each for each in updated["warnings"]] == [True]


def test_models_of_a_key_that_a_wildcard_stands_for_are_listed(tmp_path: Path) -> None:
    with StubServer() as vendor:
        wildcard = entry("cohere/*", "cohere/*", api_key="vendor-key", api_base=vendor.url)
        with serving(tmp_path, [entry("rerank"), wildcard]) as gateway:
            key = gateway.new_key(models=["rerank", "cohere/rerank-v3.5", "cohere/new-*", "voyage/rerank-2.5"])
            listed = [each["id"] for each in gateway.get("/v1/models", key).json()["data"]]
            described = [each["model_name"] for each in gateway.get("/model/info", key).json()["data"]]
            healthy = [each["model_name"] for each in gateway.get("/health", key).json()["healthy_endpoints"]]
            refused = gateway.rerank(key, model="cohere/other")
            assert gateway.rerank(key, model="cohere/rerank-v3.5").status_code == 200
    assert listed == ["rerank", "cohere/rerank-v3.5", "cohere/new-*"]
    assert described == healthy == ["rerank", "cohere/rerank-v3.5"]
    assert refused.status_code == 403
    assert "it may use rerank, cohere/rerank-v3.5, cohere/new-*" in refused.text


def test_models_that_a_key_with_a_budget_cannot_use_are_named_with_their_fallbacks(tmp_path: Path) -> None:
    models = [entry("rerank"), entry("spare", "cohere/new", api_key="k"), entry("other", "cohere/other", api_key="k")]
    with serving(tmp_path, models, router={"fallbacks": [{"rerank": ["spare"]}]}) as gateway:
        assert "warnings" not in gateway.post("/key/generate", models=["rerank"]).json()
        made = gateway.post("/key/generate", models=["rerank"], max_budget=1).json()
        (warning,) = made["warnings"]
        assert warning.startswith("spare (cohere/new) has no known price")
        updated = gateway.post("/key/update", key=made["key"], models=[]).json()
        assert [each.split()[0] for each in updated["warnings"]] == ["spare", "other"]
        assert "warnings" not in gateway.post("/key/update", key=made["key"], max_budget=None).json()


def test_two_keys_differ(gateway: Running) -> None:
    assert gateway.new_key() != gateway.new_key()


def test_stored_hash_is_no_key(gateway: Running) -> None:
    token = gateway.post("/key/generate").json()["token"]
    assert gateway.rerank(token).status_code == 401


def test_revoked_key_is_refused_at_once(gateway: Running) -> None:
    key = gateway.new_key()
    assert gateway.rerank(key).status_code == 200
    assert len(gateway.post("/key/delete", keys=[key]).json()["deleted_keys"]) == 1
    assert gateway.rerank(key).status_code == 401
    assert gateway.get("/key/info", key=key).status_code == 404
    assert gateway.post("/key/delete", keys=[key]).status_code == 404


def test_keys_are_deleted_by_alias_and_token(gateway: Running) -> None:
    first, second = gateway.post("/key/generate", key_alias="a").json(), gateway.post("/key/generate").json()
    gateway.post("/key/delete", key_aliases=["a"])
    gateway.post("/key/delete", keys=[second["token"]])
    assert [gateway.rerank(each["key"]).status_code for each in (first, second)] == [401, 401]


def test_blocked_key_is_refused_until_it_is_unblocked(gateway: Running) -> None:
    key = gateway.new_key()
    gateway.post("/key/block", key=key)
    assert gateway.rerank(key).status_code == 401
    gateway.post("/key/unblock", key=key)
    assert gateway.rerank(key).status_code == 200
    gateway.post("/key/update", key=key, blocked=True)
    assert gateway.rerank(key).status_code == 401


def test_expired_key_is_refused(tmp_path: Path) -> None:
    clock = Clock(1_793_534_400.0)
    with serving(tmp_path, clock=clock) as gateway:
        made = gateway.post("/key/generate", duration="30d").json()
        assert made["expires"] == "2026-12-01T12:00:00+00:00"
        clock.now += 30 * 86_400 - 1
        assert gateway.rerank(made["key"]).status_code == 200
        clock.now += 1
        assert gateway.rerank(made["key"]).status_code == 401
        gateway.post("/key/update", key=made["key"], duration="1h")
        assert gateway.rerank(made["key"]).status_code == 200
        gateway.post("/key/update", key=made["key"], duration="-1")
        clock.now += 1e9
        assert gateway.rerank(made["key"]).status_code == 200


def test_update_changes_what_it_names_and_nothing_else(gateway: Running) -> None:
    key = gateway.new_key(models=["rerank"], rpm_limit=5, metadata={"a": 1}, key_alias="rag")
    changed = gateway.post("/key/update", key=key, models=["other"], metadata={"b": 2}, rpm_limit=None).json()
    assert (changed["models"], changed["rpm_limit"], changed["metadata"]) == (["other"], None, {"a": 1, "b": 2})
    assert changed["key_alias"] == "rag"
    assert [gateway.rerank(key, model=name).status_code for name in ("rerank", "other")] == [403, 200]
    assert gateway.post("/key/update", key="sk-unknown", models=[]).status_code == 404
    assert gateway.post("/key/update", models=[]).status_code == 400


def test_keys_are_listed_in_pages(gateway: Running) -> None:
    tokens = [gateway.post("/key/generate", key_alias=f"k{n}").json()["token"] for n in range(3)]
    first, second = gateway.get("/key/list", size=2).json(), gateway.get("/key/list", size=2, page=2).json()
    assert first == {"keys": tokens[:2], "total_count": 3, "current_page": 1, "total_pages": 2}
    assert second["keys"] == tokens[2:]
    (full,) = gateway.get("/key/list", key_alias="k1", return_full_object="true").json()["keys"]
    assert (full["token"], full["key_alias"]) == (tokens[1], "k1")
    assert gateway.get("/key/list", page="0").status_code == 400


@pytest.mark.parametrize("name", ["/key/generate", "/key/update", "/key/delete", "/key/block", "/customer/new"])
def test_only_the_master_key_manages(gateway: Running, name: str) -> None:
    key = gateway.new_key()
    answer = gateway.post(name, key, key=key, keys=[key])
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    assert httpx.post(f"{gateway.url}{name}", json={}).status_code == 401
    assert gateway.rerank(key).status_code == 200


def test_key_sees_itself_and_no_other(gateway: Running) -> None:
    mine, other = gateway.new_key(key_alias="mine"), gateway.new_key()
    assert gateway.get("/key/info", mine).json()["info"]["key_alias"] == "mine"
    assert gateway.get("/key/info", mine, key=mine).status_code == 200
    assert gateway.get("/key/info", mine, key=other).status_code == 403
    assert gateway.get("/key/info", mine, key="sk-unknown").status_code == 403
    assert gateway.get("/key/list", mine).status_code == 403


@pytest.mark.parametrize(
    "fields",
    [
        {"model_max_budget": {"rerank": 1}},
        {"access_group_ids": ["beta"]},
        {"team_id": "t"},
        {"expires": "2020-01-01"},
        {"allowed_routes": ["/rerank"]},
        {"permissions": {"a": True}},
        {"model_rpm_limit": {"rerank": 1}},
        {"aliases": {"a": "b"}},
        {"key": "sk-mine"},
        {"some_new_limit": 3},
        {"max_budget": -1},
        {"max_budget": True},
        {"max_budget": "10"},
        {"rpm_limit": 1.5},
        {"budget_duration": "1y"},
        {"duration": "soon"},
        {"models": "rerank"},
        {"models": ["no-default-models"]},
        {"key_alias": ""},
        {"key_alias": "a\nb"},
        {"duration": "999999999999d"},
        {"budget_duration": "999999999999d"},
        {"metadata": {"end_user": 5}},
        {"metadata": {"end_user": ["ann"]}},
        {"metadata": {"end_user": "x" * 257}},
        {"key_type": "management"},
    ],
    ids=str,
)
def test_field_that_cannot_be_honoured_is_refused(gateway: Running, fields: dict[str, Any]) -> None:
    answer = gateway.post("/key/generate", **fields)
    (name,) = fields
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert gateway.get("/key/list").json()["total_count"] == 0


def test_misspelt_field_is_refused_with_the_right_one(gateway: Running) -> None:
    message = gateway.post("/key/generate", max_budgett=1).json()["error"]["message"]
    assert message.endswith("; did you mean max_budget?")


def test_empty_restriction_is_none(gateway: Running) -> None:
    made = gateway.post("/key/generate", team_id=None, guardrails=[], permissions={}, models=[], soft_budget=5.0).json()
    assert made["metadata"] == {"soft_budget": 5.0, "guardrails": [], "permissions": {}}
    assert gateway.rerank(made["key"]).status_code == 200


def test_alias_is_unique(gateway: Running) -> None:
    gateway.new_key(key_alias="rag")
    answer = gateway.post("/key/generate", key_alias="rag")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "key_alias")


@pytest.mark.parametrize(
    ("models", "allowed"),
    [
        ([], ["rerank", "other", "vendor/big"]),
        (["all-proxy-models"], ["rerank", "other", "vendor/big"]),
        (["*"], ["rerank", "other", "vendor/big"]),
        (["rerank"], ["rerank"]),
        (["vendor/*"], ["vendor/big"]),
        (["vendor/*g", "*ther", "r*r*k"], ["rerank", "other", "vendor/big"]),
        (["rera*rank", "ot**hers", "*vendor"], []),
        (["RERANK"], []),
        (["rer.nk", "[r]erank", "?erank"], []),
    ],
    ids=str,
)
def test_key_may_use_its_models_only(gateway: Running, models: list[str], allowed: list[str]) -> None:
    key = gateway.new_key(models=models)
    names = ["rerank", "other", "vendor/big"]
    assert [name for name in names if gateway.rerank(key, model=name).status_code == 200] == allowed
    refused = next((name for name in names if name not in allowed), None)
    if refused is not None:
        answer = gateway.rerank(key, model=refused)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize(
    "model", ["rerank ", " rerank", "rerank\u200b", "\uff52erank", "x/other", "vendor___big", "rerank\x00"]
)
def test_spelling_of_a_name_opens_no_other_model(gateway: Running, model: str) -> None:
    key = gateway.new_key(models=["rerank"])
    assert gateway.rerank(key, model=model).status_code in (400, 403)


def test_fallbacks_in_the_body_must_be_allowed(gateway: Running) -> None:
    key = gateway.new_key(models=["rerank"])
    assert gateway.rerank(key, fallbacks=["other"]).status_code == 403
    assert gateway.rerank(key, fallbacks=["x/other"]).status_code == 403
    assert gateway.rerank(key, fallbacks=["cohere/rerank-v3.5"]).status_code == 400
    assert gateway.rerank(key, fallbacks=["rerank"]).status_code == 200
    assert gateway.rerank(gateway.new_key(), fallbacks=["other"]).status_code == 200


def test_request_may_not_name_many_fallbacks(tmp_path: Path) -> None:
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url), paid(vendor.url, "spare")]) as gateway:
        vendor.fail(503)
        key = gateway.new_key()
        assert gateway.rerank(key, fallbacks=["spare"] * 6).status_code == 400
        gateway.rerank(key, fallbacks=["spare"] * 5)
        once = len(vendor.requests)
        assert once <= 2 * 3  # each with its retries


def test_alias_of_a_model_must_be_allowed(tmp_path: Path) -> None:
    with serving(tmp_path, MODELS, router={"model_group_alias": {"cheap": "other"}}) as gateway:
        key = gateway.new_key(models=["rerank"])
        assert gateway.rerank(key, model="cheap").status_code == 403
        assert gateway.rerank(gateway.new_key(models=["cheap"]), model="cheap").status_code == 200


def test_first_of_two_keys_counts(gateway: Running) -> None:
    key = gateway.new_key()
    lines = [("authorization", "Bearer sk-wrong"), ("authorization", f"Bearer {key}")]
    assert httpx.post(f"{gateway.url}/rerank", json=ASK, headers=lines).status_code == 401
    assert httpx.post(f"{gateway.url}/rerank", json=ASK, headers=lines[::-1]).status_code == 200


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-litellm-api-key"])
def test_key_is_read_from_each_header(gateway: Running, name: str) -> None:
    assert gateway.rerank(None, {name: gateway.new_key()}).status_code == 200
    assert gateway.rerank(None, {name: "sk-wrong"}).status_code == 401


def test_keys_survive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as gateway:
        key = gateway.new_key(rpm_limit=7)
    with serving(tmp_path) as gateway:
        assert gateway.rerank(key).headers["x-ratelimit-limit-requests"] == "7"


def test_change_by_another_process_is_seen(gateway: Running, tmp_path: Path) -> None:
    other = keyring_of(tmp_path)
    secret, key = other.store.create({"key_alias": "cli"}, 1.0)
    assert gateway.rerank(secret).status_code == 401
    gateway.keyring.refresh()
    assert gateway.rerank(secret).status_code == 200
    other.store.delete([key.token], [], 1.0)
    gateway.keyring.refresh()
    assert gateway.rerank(secret).status_code == 401


def test_database_out_of_reach_leaves_the_keys_in_memory(gateway: Running, tmp_path: Path) -> None:
    key = gateway.new_key()
    with closing(sqlite3.connect(tmp_path / "keys.db")) as connection, connection:
        connection.execute("DROP TABLE anyrerank_changes")
    answer = gateway.post("/key/generate")
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "unavailable")
    assert gateway.rerank(key).status_code == 200


def test_without_a_master_key_everybody_manages_and_keys_still_have_limits(tmp_path: Path) -> None:
    with serving(tmp_path, master_key=None) as gateway:
        key = gateway.new_key(models=["none"])
        assert gateway.rerank(None).status_code == 200
        assert gateway.rerank("sk-any").status_code == 200
        assert gateway.rerank(key).status_code == 403


# Networks.


def test_trusted_network_needs_no_key(tmp_path: Path) -> None:
    with serving(tmp_path, MODELS, networks={"127.0.0.0/8": "local"}) as gateway:
        assert gateway.rerank(None).status_code == 401
        gateway.new_key(key_alias="local", models=["rerank"])
        assert gateway.rerank(None).status_code == 200
        assert gateway.rerank(None, model="other").status_code == 403
        assert gateway.rerank("sk-wrong").status_code == 401
        assert gateway.rerank(None, {"authorization": "Bearer"}).status_code == 200
        assert httpx.post(f"{gateway.url}/key/generate", json={}).status_code == 403


def test_network_loses_its_key_with_the_key(tmp_path: Path) -> None:
    with serving(tmp_path, networks={"127.0.0.0/8": "local"}) as gateway:
        key = gateway.new_key(key_alias="local")
        assert gateway.rerank(None).status_code == 200
        gateway.post("/key/update", key=key, key_alias="renamed")
        assert gateway.rerank(None).status_code == 401
        gateway.post("/key/update", key=key, key_alias="local")
        gateway.post("/key/block", key=key)
        assert gateway.rerank(None).status_code == 401


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip", "client-ip", "true-client-ip"])
def test_header_does_not_bring_a_client_into_a_network(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, networks={"10.0.0.0/8": "local"}) as gateway:
        gateway.new_key(key_alias="local")
        for value in ("10.1.2.3", "for=10.1.2.3"):
            assert gateway.rerank(None, {name: value}).status_code == 401


def test_master_key_is_no_virtual_key(gateway: Running) -> None:
    assert gateway.get("/key/info", key=MASTER_KEY).status_code == 404
    assert httpx.post(f"{gateway.url}/rerank", json=ASK, headers=bearer(MASTER_KEY)).status_code == 200


def test_what_a_database_says_is_for_the_master_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as gateway:
        key = gateway.new_key()
        file = tmp_path / "keys.db"
        kept = file.read_bytes()
        file.write_bytes(b"no database" * 1_000)
        mine, masters = gateway.get("/spend/keys", key), gateway.get("/spend/keys")
        file.write_bytes(kept)
    assert (mine.status_code, masters.status_code) == (503, 503)
    assert "keys.db" not in mine.text
    assert "keys.db" in masters.text
