"""Keys that are chosen, get another secret, and leave their name when they are deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway import MASTER_KEY
from tests.support.keys import EACH, Running, paid, serving

from anyrerank.testing import StubServer


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path) as found:
        yield found


CHOSEN = "sk-of-my-own-4Fq8Zr1uXw"


def test_key_may_be_chosen_such_as_one_that_clients_have_already(gateway: Running) -> None:
    made = gateway.post("/key/generate", key=CHOSEN, key_alias="old").json()
    assert (made["key"], made["key_name"]) == (CHOSEN, "sk-...1uXw")
    assert made["token"] == hashlib.sha256(CHOSEN.encode()).hexdigest()
    assert gateway.rerank(CHOSEN).status_code == 200


@pytest.mark.parametrize(
    "key",
    ["", "sk-short", "4Fq8Zr1uXw4Fq8Zr1uXw", "sk-" + "x" * 256, "sk-with a space 4Fq8Zr1uXw", "sk-ü" * 9, 7, ["a"]],
)
def test_key_that_cannot_be_one_is_refused_without_being_shown(gateway: Running, key: Any) -> None:
    answer = gateway.post("/key/generate", key=key)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "key")
    assert "must begin with sk-" in answer.json()["message"]
    assert not isinstance(key, str) or not key or key not in answer.text


def test_key_that_is_in_use_or_was_cannot_be_chosen(gateway: Running) -> None:
    assert "master key" in gateway.post("/key/generate", key=MASTER_KEY).json()["message"]
    gateway.post("/key/generate", key=CHOSEN)
    assert "such a key already" in gateway.post("/key/generate", key=CHOSEN).json()["message"]
    gateway.post("/key/delete", keys=[CHOSEN])
    assert "was revoked" in gateway.post("/key/generate", key=CHOSEN).json()["message"]
    assert gateway.rerank(CHOSEN).status_code == 401


@pytest.mark.parametrize("path", ["/key/regenerate", "/key/{key}/regenerate", "/key/{token}/regenerate"])
def test_regenerated_key_has_another_secret_and_the_same_limits_and_spend(tmp_path: Path, path: str) -> None:
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url)]) as gateway:
        made = gateway.post("/key/generate", key_alias="rag", max_budget=3 * EACH, rpm_limit=3).json()
        key = made["key"]
        assert gateway.rerank(key).status_code == 200
        named = {"key": key} if "{" not in path else {}
        answer = gateway.post(path.format(**made), **named, tpm_limit=10_000).json()
        new = answer["key"]
        assert (answer["key_alias"], answer["rpm_limit"], answer["tpm_limit"]) == ("rag", 3, 10_000)
        assert answer["spend"] == EACH
        assert answer["token"] == hashlib.sha256(new.encode()).hexdigest() != made["token"]
        assert [gateway.rerank(each).status_code for each in (key, new, new, new)] == [401, 200, 200, 429]
        assert gateway.rerank(new).json()["error"]["type"] == "rate_limit_exceeded"  # three requests with both secrets
        again = gateway.post("/key/regenerate", key=new, new_key=CHOSEN).json()
        assert (again["key"], again["spend"]) == (CHOSEN, 3 * EACH)
        assert "such a key already" in gateway.post("/key/generate", key=key).json()["message"]
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url)]) as gateway:
        assert gateway.rerank(CHOSEN).status_code == 429
        (row,) = gateway.get("/spend/keys").json()
        assert (row["key_alias"], row["spend"], row["token"]) == ("rag", pytest.approx(3 * EACH), again["token"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"key": "sk-unknown"}, "no such key"),
        ({}, "key is required"),
        ({"key": "sk-unknown", "new_key": "short"}, "must begin with sk-"),
        ({"key": "sk-unknown", "new_key": MASTER_KEY}, "must not be the master key"),
        ({"key": "sk-unknown", "grace_period": "1h"}, "refused at once"),
        ({"key": "sk-unknown", "new_master_key": "sk-another"}, "in the configuration"),
    ],
)
def test_key_is_regenerated_as_asked_or_not_at_all(gateway: Running, fields: dict[str, Any], says: str) -> None:
    answer = gateway.post("/key/regenerate", **fields)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["message"]


def test_deleted_key_keeps_its_alias_in_what_was_spent(tmp_path: Path) -> None:
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url)]) as gateway:
        gateway.rerank(gateway.new_key(key_alias="rag"))
        gateway.post("/key/delete", key_aliases=["rag"])
        (row,) = gateway.get("/spend/keys").json()
        assert (row["key_alias"], row["spend"]) == ("rag", EACH)
