"""What the access log says about requests that manage keys: who asked, for what, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY
from tests.support.keys import Running, bearer, serving

from anyrerank.gateway.keys import token_of


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, settings={"access_log": True}) as found:
        yield found


def tag(key: str) -> str:
    return f"key:{token_of(key)[:16]}"


def test_each_change_of_a_key_is_logged_with_who_made_it_and_what(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    made = gateway.post("/key/generate", key_alias="rag", max_budget=5, metadata={"note": "secret-note"}).json()
    key = made["key"]
    gateway.post("/key/update", key=key, rpm_limit=7)
    new = gateway.post(f"/key/{key}/regenerate").json()["key"]
    gateway.get("/key/info", new, key=new)
    gateway.post("/key/block", new, key=new)
    gateway.post("/key/delete", key_aliases=["rag"], keys=[key])
    gateway.post("/customer/new", user_id="ann", max_budget=1)
    text = capsys.readouterr().out
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

    assert [(each["route"], each["key"], each["status"]) for each in lines] == [
        ("/key/generate", "master", 200),
        ("/key/update", "master", 200),
        ("/key/{key}/regenerate", "master", 200),
        ("/key/info", "rag", 200),
        ("/key/block", "rag", 403),
        ("/key/delete", "master", 200),
        ("/customer/new", "master", 200),
    ]
    made_line, changed, regenerated, _, refused, deleted, customer = lines
    assert (made_line["about"], made_line["alias"]) == ([tag(key)], "rag")
    assert made_line["fields"] == {"key_alias": "rag", "max_budget": 5, "metadata": {}}
    assert (changed["about"], changed["fields"]) == ([tag(key)], {"rpm_limit": 7})
    assert (regenerated["about"], regenerated["alias"]) == ([tag(key)], "rag")  # its calls keep that tag in the ledger
    assert refused["error"] == "permission_error"
    assert (deleted["about"], deleted["aliases"]) == ([tag(key)], ["rag"])
    assert customer["fields"] == {"user_id": "ann", "max_budget": 1}
    for secret in (key, new, MASTER_KEY, "secret-note"):
        assert secret not in text


def test_guardrails_and_end_user_that_are_set_are_logged_with_their_values(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    key = gateway.new_key()
    gateway.post("/key/update", key=key, guardrails=[], end_user="ann")
    gateway.post("/key/update", key=key, metadata={"guardrails": ["pii"], "end_user": "bob", "note": "secret-note"})
    text = capsys.readouterr().out
    _, beside, inside = [json.loads(line).get("fields") for line in text.splitlines()]
    assert beside == {"guardrails": [], "end_user": "ann"}
    assert inside == {"metadata": {"guardrails": ["pii"], "end_user": "bob"}}
    assert "secret-note" not in text


def test_stranger_is_logged_without_the_key_that_was_tried(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = "sk-tried-4Fq8Zr1uXw"
    httpx.post(f"{gateway.url}/key/generate", json={tried: tried}, headers={**bearer(tried), "x-request-id": "mine"})
    line = capsys.readouterr().out
    assert json.loads(line).items() >= {"request_id": "mine", "status": 401, "error": "authentication_error"}.items()
    assert tried not in line


def test_without_an_access_log_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as gateway:
        gateway.new_key()
    assert capsys.readouterr().out == ""
