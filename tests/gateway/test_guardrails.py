"""Guardrails of the configuration file: what they check, what they block, and who may name them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.test_every_document import ASKS
from tests.support.gateway import MASTER_KEY, running
from tests.support.keys import EACH, bearer, keyring_of, paid

from anyrerank.gateway import Gateway
from anyrerank.gateway.configuration import config_of_file, service_of
from anyrerank.gateway.keys import Keyring
from anyrerank.testing import StubServer

ASK: dict[str, Any] = {
    "model": "rerank",
    "query": "Which planet is red?",
    "documents": ["Venus", "Mars is the red planet"],
}


def content_filter(name: str, *, default_on: bool = False, **words: str) -> dict[str, Any]:
    """A guardrail that does with each word what its value says."""
    blocked_words = [{"keyword": word, "action": action} for word, action in words.items()]
    params = {"guardrail": "litellm_content_filter", "mode": "pre_call", "blocked_words": blocked_words}
    return {"guardrail_name": name, "litellm_params": {**params, "default_on": default_on}}


ALWAYS = content_filter("always", default_on=True, nightjar="BLOCK", owl="MASK")
NAMED = content_filter("named", heron="BLOCK", stork="MASK")


@dataclass
class Guarded:
    """A gateway that reads a file, in front of a vendor."""

    url: str
    file: Path
    keyring: Keyring
    vendor: StubServer

    def post(self, path: str, /, key: str = MASTER_KEY, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        return httpx.post(f"{self.url}{path}", json=body, headers={**bearer(key), **(headers or {})}, timeout=30)

    def rerank(self, key: str = MASTER_KEY, **fields: Any) -> httpx.Response:
        answer: httpx.Response = self.post("/rerank", key, **{**ASK, **fields})
        return answer

    def new_key(self, **fields: Any) -> str:
        answer = self.post("/key/generate", **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["key"])

    @property
    def sent(self) -> list[str]:
        """The queries that the vendor got."""
        return [each.json["query"] for each in self.vendor.requests]


@contextmanager
def guarded(folder: Path, *guardrails: Any, **sections: Any) -> Iterator[Guarded]:
    with StubServer() as vendor:
        file = folder / "config.yaml"
        general = {"master_key": MASTER_KEY}
        models = [paid(vendor.url)]
        document = {"model_list": models, "general_settings": general, "guardrails": guardrails, **sections}
        file.write_text(json.dumps(document))
        keyring = keyring_of(folder)
        serving = Gateway(
            service_of(config_of_file(file), keyring),
            reread=lambda: service_of(config_of_file(file), keyring, serving.service),
        )
        try:
            with running(serving) as url:
                yield Guarded(url, file, keyring, vendor)
        finally:
            keyring.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path, ALWAYS, NAMED) as found:
        yield found


def test_guardrail_that_is_on_by_default_checks_calls_that_name_none(gateway: Guarded) -> None:
    masked = gateway.rerank(query="an owl")
    blocked = gateway.rerank(query="a nightjar")
    assert (masked.status_code, masked.headers["x-litellm-applied-guardrails"]) == (200, "always")
    assert (blocked.status_code, blocked.json()["error"]["type"]) == (400, "guardrail_raised")
    assert gateway.sent == ["an [KEYWORD_REDACTED]"]


def test_other_guardrail_checks_calls_that_name_it(gateway: Guarded) -> None:
    assert gateway.rerank(query="a stork").headers["x-litellm-applied-guardrails"] == "always"
    named = gateway.rerank(query="a stork and an owl", guardrails=["named"])
    assert named.headers["x-litellm-applied-guardrails"] == "always,named"
    assert "x-anyrerank-ignored" not in named.headers
    assert gateway.sent == ["a stork", "a [KEYWORD_REDACTED] and an [KEYWORD_REDACTED]"]


@pytest.mark.parametrize(
    "fields",
    [
        {"guardrails": ["named"]},
        {"guardrails": ["always", "named", "named"]},
        {"guardrails": [{"named": {"extra_body": {"a": 1}}}]},
        {"metadata": {"guardrails": ["named"]}},
        {"litellm_metadata": {"guardrails": ["named"]}},
        {"guardrails": ["always"], "metadata": {"guardrails": ["named"], "user_id": "ann"}},
    ],
    ids=str,
)
def test_forms_in_which_a_request_names_a_guardrail(gateway: Guarded, fields: dict[str, Any]) -> None:
    assert gateway.rerank(query="a heron", **fields).status_code == 400
    fine = gateway.rerank(**fields)
    assert (fine.status_code, fine.headers["x-litellm-applied-guardrails"]) == (200, "always,named")
    assert gateway.sent == [ASK["query"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"guardrails": ["unknown"]},
        {"guardrails": ["named", "unknown"]},
        {"guardrails": [{"unknown": {}}]},
        {"metadata": {"guardrails": ["unknown"]}},
        {"guardrails": "named"},
        {"guardrails": {"named": True}},
        {"guardrails": [5]},
        {"guardrails": [["named"]]},
    ],
    ids=str,
)
def test_guardrail_that_is_not_known_is_never_left_out(gateway: Guarded, fields: dict[str, Any]) -> None:
    answer = gateway.rerank(**fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "guardrails")
    assert gateway.sent == []


@pytest.mark.parametrize("dialect", sorted(ASKS))
def test_every_dialect_is_guarded_and_may_name_guardrails(tmp_path: Path, dialect: str) -> None:
    path, ask = ASKS[dialect]
    which = content_filter("which", which="MASK")
    with guarded(tmp_path, which, content_filter("planet", default_on=True, planet="MASK")) as gateway:
        fine = gateway.post(path, **ask(["planet"]))
        named = gateway.post(path, **ask(["which"]), guardrails=["which"])
        unknown = gateway.post(path, **ask(["which"]), guardrails=["unknown"])
        statuses = [each.status_code for each in (fine, named)]
        sent, documents = gateway.sent, [each.json["documents"] for each in gateway.vendor.requests]

    tag = "[KEYWORD_REDACTED]"
    assert statuses == [200, 200]
    assert unknown.status_code in {400, 422}
    assert sent == [f"Which {tag} is red?", f"{tag} {tag} is red?"]
    assert documents == [["planet"], ["which"]]


@pytest.mark.parametrize("dialect", sorted(ASKS))
def test_refusal_is_in_the_words_of_the_dialect(tmp_path: Path, dialect: str) -> None:
    path, ask = ASKS[dialect]
    with guarded(tmp_path, content_filter("red", default_on=True, red="BLOCK")) as gateway:
        answer = gateway.post(path, **ask(["d"]))
        assert gateway.sent == []

    assert answer.status_code == 400
    assert "must not have a blocked word; nothing was sent" in answer.text
    assert "planet" not in answer.text


def test_call_that_is_blocked_costs_nothing(tmp_path: Path) -> None:
    with guarded(tmp_path, ALWAYS, litellm_settings={"max_budget": EACH}) as gateway:
        key = gateway.new_key(max_budget=EACH)
        blocked = [gateway.rerank(key, query="a nightjar") for _ in range(3)]
        assert [each.status_code for each in blocked] == [400, 400, 400]
        assert blocked[-1].headers["x-anyrerank-budget-remaining"] == "0.002"
        assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]  # the budget was whole
        assert gateway.sent == [ASK["query"]]
        gateway.keyring.ledger.flush()
        (row,) = httpx.get(f"{gateway.url}/spend/keys", headers=bearer(MASTER_KEY)).json()
        assert (row["calls"], row["requests"], row["spend"], row["calls_of_unknown_cost"]) == (1, 1, EACH, 0)


def test_key_that_names_a_guardrail_gets_it_in_every_call(gateway: Guarded) -> None:
    for fields in ({"guardrails": ["named"]}, {"metadata": {"guardrails": ["named"]}}):
        key = gateway.new_key(**fields)
        assert gateway.rerank(key, query="a heron").status_code == 400
        assert gateway.rerank(key).headers["x-litellm-applied-guardrails"] == "always,named"
    assert gateway.rerank(gateway.new_key(guardrails=["unknown"])).status_code == 400
    assert gateway.rerank(query="a heron").status_code == 200


@pytest.mark.parametrize("given", ["named", {"named": True}, [5]])
@pytest.mark.parametrize("place", ["field", "metadata"])
def test_guardrails_of_a_key_must_be_names(gateway: Guarded, given: Any, place: str) -> None:
    fields = {"guardrails": given} if place == "field" else {"metadata": {"guardrails": given}}
    answer = gateway.post("/key/generate", **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "guardrails")


def test_reload_applies_changed_guardrails(gateway: Guarded) -> None:
    assert gateway.rerank(query="a heron").status_code == 200
    document = json.loads(gateway.file.read_text())
    changed = [content_filter("named", default_on=True, heron="BLOCK")]
    gateway.file.write_text(json.dumps({**document, "guardrails": changed}))
    assert gateway.post("/config/reload").status_code == 200
    assert gateway.rerank(query="a heron").status_code == 400
    assert gateway.rerank(query="a nightjar").status_code == 200

    wrong = {"guardrail_name": "g", "litellm_params": {"guardrail": "lakera", "mode": "pre_call"}}
    gateway.file.write_text(json.dumps({**document, "guardrails": [wrong]}))
    refused = gateway.post("/config/reload")
    assert refused.status_code == 400
    assert "the guardrail lakera is not supported" in refused.text
    assert gateway.rerank(query="a heron").status_code == 400


def test_instruction_is_checked(gateway: Guarded) -> None:
    assert gateway.rerank(instruction="prefer the nightjar").status_code == 400
    assert gateway.rerank(instruction="prefer Mars").status_code == 200


FAILS = """
def fails(query):
    raise RuntimeError("it was " + query)
"""


def test_guardrail_that_fails_blocks_and_says_nothing_of_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "failing_guards.py").write_text(FAILS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    params = {"guardrail": "failing_guards.fails", "mode": "pre_call", "default_on": True}
    with (
        caplog.at_level(logging.DEBUG),
        guarded(tmp_path, {"guardrail_name": "g", "litellm_params": params}) as gateway,
    ):
        answer = gateway.rerank(query="a nightjar")
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "guardrail_raised")
        assert gateway.sent == []
    assert "guardrail g failed with RuntimeError" in answer.text
    assert "nightjar" not in answer.text + caplog.text


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Presidio does not support Python 3.14 yet")
def test_presidio_masks_what_is_sent(tmp_path: Path) -> None:
    params = {"guardrail": "presidio", "mode": "pre_call", "pii_entities_config": {"EMAIL_ADDRESS": "MASK"}}
    with guarded(tmp_path, {"guardrail_name": "pii", "litellm_params": params}) as gateway:
        gateway.rerank(query="mail ann@example.com", guardrails=["pii"])
        assert gateway.sent == ["mail <EMAIL_ADDRESS>"]


def test_dry_run_runs_no_guardrail_and_names_none(gateway: Guarded) -> None:
    headers = {"x-anyrerank-dry-run": "true"}
    answer = gateway.post("/rerank", headers=headers, **{**ASK, "query": "a nightjar"})
    assert answer.status_code == 200
    assert "x-litellm-applied-guardrails" not in answer.headers
    assert gateway.post("/rerank", headers=headers, **ASK, guardrails=["unknown"]).status_code == 400


def test_deep_health_check_is_not_guarded(tmp_path: Path) -> None:
    with guarded(tmp_path, content_filter("strict", default_on=True, France="BLOCK")) as gateway:
        answer = httpx.get(f"{gateway.url}/health", params={"deep": "true"}, headers=bearer(MASTER_KEY))
    assert (answer.json()["healthy_count"], answer.json()["unhealthy_count"]) == (1, 0)


def test_guardrail_of_a_key_that_the_gateway_lacks_is_warned_of(gateway: Guarded) -> None:
    (warning,) = gateway.post("/key/generate", guardrails=["named", "nmaed"]).json()["warnings"]
    assert "no guardrail nmaed" in warning
    (warning,) = gateway.post("/key/generate", metadata={"guardrails": ["pii"]}).json()["warnings"]
    assert "no guardrail pii" in warning
    assert "warnings" not in gateway.post("/key/generate", guardrails=["named", "always"]).json()
