"""`guardrails` in a file of LiteLLM's, read by `Router.from_config`."""

from __future__ import annotations

import json
import pickle
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, Mode, leaks

from anyrerank import BadRequestError, ConfigurationError, GuardrailRaisedError, MissingExtraError, Router
from anyrerank._core.routing.guardrail_kinds import PREBUILT
from anyrerank.guardrails import KINDS

COHERE = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": KEY}}
presidio = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Presidio does not support Python 3.14 yet")


def entry(name: str = "g", **params: Any) -> dict[str, Any]:
    return {"guardrail_name": name, "litellm_params": {"mode": "pre_call", "default_on": True, **params}}


def content_filter(**params: Any) -> dict[str, Any]:
    return entry(guardrail="litellm_content_filter", **params)


def router(folder: Path, *guardrails: Any, model: Any = COHERE, **arguments: Any) -> Router:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": [model], "guardrails": guardrails}, indent=1), encoding="utf-8")
    return Router.from_config(path, **arguments)


def sent(folder: Path, query: str, *guardrails: Any) -> str:
    """The query that leaves the process."""
    wire = Wire()
    router(folder, *guardrails, http_client=wire.client(asynchronous=False)).rerank("r", query, DOCUMENTS)
    (request,) = wire.requests
    return str(json.loads(request.content)["query"])


def refusal(folder: Path, query: str, *guardrails: Any) -> GuardrailRaisedError:
    """The error for a query, of which nothing leaves the process."""
    wire = Wire()
    with pytest.raises(GuardrailRaisedError) as caught:
        router(folder, *guardrails, http_client=wire.client(asynchronous=False)).rerank("r", query, DOCUMENTS)
    assert wire.requests == []
    return caught.value


@presidio
def test_presidio_masks_and_blocks_the_kinds_that_are_listed(tmp_path: Path) -> None:
    pii = entry(guardrail="presidio", pii_entities_config={"EMAIL_ADDRESS": "MASK", "CREDIT_CARD": "BLOCK"})
    assert sent(tmp_path, "mail ann@example.com from 10.1.2.3", pii) == "mail <EMAIL_ADDRESS> from 10.1.2.3"
    error = refusal(tmp_path, "pay with 4111 1111 1111 1111", pii)
    assert "CREDIT_CARD" in error.message
    assert not leaks(error, ["4111"])


@presidio
def test_presidio_takes_one_threshold_for_all_kinds(tmp_path: Path) -> None:
    query, kinds = "call 202 555 0123", {"PHONE_NUMBER": "MASK"}
    for threshold, expected in ((0.3, "call <PHONE_NUMBER>"), (0.9, query)):
        pii = entry(guardrail="presidio", pii_entities_config=kinds, presidio_score_thresholds={"ALL": threshold})
        assert sent(tmp_path, query, pii) == expected


FOUND: dict[str, Sequence[str]] = {
    "amex": ["3782 822463 10005"],
    "aws_access_key": ["AKIAIOSFODNN7EXAMPLE"],
    "credit_card": ["4111-1111-1111-1111", "5500 0000 0000 0004", "378282246310005", "6011000990139424"],
    "discover": ["6011000990139424"],
    "email": ["ann.b+c@mail.example.com", "ANN@EXAMPLE.ORG"],
    "github_token": ["ghp_" + "a1B2" * 9],
    "iban": ["DE89370400440532013000"],
    "ipv4": ["192.168.10.254", "8.8.8.8", "010.001.1.1"],
    "mastercard": ["5500000000000004"],
    "us_phone": ["(202) 555-0123", "+1 202.555.0123", "2025550123"],
    "us_ssn": ["536-90-4399"],
    "visa": ["4111111111111111"],
}
NOT_FOUND = ["1.2.3", "12-34", "at example.com", "999.999.999.999", "room 4111", "2026-11-29", "ghp_short"]


def test_prebuilt_patterns_have_examples() -> None:
    assert FOUND.keys() == PREBUILT.keys()


@pytest.mark.parametrize("name", sorted(PREBUILT))
def test_prebuilt_pattern_masks_what_it_is_for_and_nothing_else(tmp_path: Path, name: str) -> None:
    rule = content_filter(patterns=[{"pattern_type": "prebuilt", "pattern_name": name, "action": "MASK"}])
    for text in FOUND[name]:
        assert sent(tmp_path, f"about {text}, please", rule) == f"about [{name.upper()}_REDACTED], please"
    for text in NOT_FOUND:
        assert sent(tmp_path, f"about {text}, please", rule) == f"about {text}, please"


@pytest.mark.parametrize("piece", ["a", "a.", "a@", "a@a.", "1", "1 ", "1.", "sk-", "gh", "de89"])
@pytest.mark.parametrize("name", sorted(PREBUILT))
def test_time_of_a_prebuilt_pattern_does_not_grow_with_the_square_of_the_query(name: str, piece: str) -> None:
    pattern = re.compile(f"(?i){PREBUILT[name]}")
    query = piece * (200_000 // len(piece))
    began = time.process_time()
    pattern.sub("", query)
    assert time.process_time() - began < 2  # of a square, many minutes


def test_pattern_and_word_of_the_content_filter(tmp_path: Path) -> None:
    rules = content_filter(
        patterns=[
            {"pattern_type": "regex", "pattern": r"\bACC-\d+", "name": "account", "action": "MASK"},
            {"pattern_type": "regex", "pattern": "forbidden", "action": "BLOCK"},
        ],
        blocked_words=[{"keyword": "Nightjar", "action": "MASK"}, {"keyword": "project x", "action": "BLOCK"}],
    )
    masked = sent(tmp_path, "is acc-17 of the nightjars?", rules)
    assert masked == "is [ACCOUNT_REDACTED] of the [KEYWORD_REDACTED]s?"
    assert "custom_regex" in refusal(tmp_path, "a FORBIDDEN thing", rules).message
    error = refusal(tmp_path, "of Project X2", rules)
    assert not leaks(error, ["project x", "Project X"])


def test_what_is_blocked_is_found_before_it_is_masked(tmp_path: Path) -> None:
    rules = [
        {"pattern_type": "regex", "pattern": r"\d", "action": "MASK"},
        {"pattern_type": "prebuilt", "pattern_name": "us_ssn", "action": "BLOCK"},
    ]
    assert "us_ssn" in refusal(tmp_path, "of 536-90-4399", content_filter(patterns=rules)).message


def test_redaction_is_written_as_the_file_says(tmp_path: Path) -> None:
    rules = content_filter(
        patterns=[{"pattern_type": "prebuilt", "pattern_name": "us_ssn", "action": "MASK"}],
        blocked_words=[{"keyword": "nightjar", "action": "MASK"}],
        pattern_redaction_format="<{pattern_name}>",
        keyword_redaction_tag=r"\1",
    )
    assert sent(tmp_path, "nightjar 536-90-4399", rules) == r"\1 <US_SSN>"


OWN = """
calls = []

def shout(query):
    calls.append(query)
    return query.upper()

async def later(query):
    return query + "!"

def broken(query):
    raise RuntimeError(query)

class Prefix:
    def __init__(self, text="", model=""):
        self.text = text

    def __call__(self, query):
        return self.text + query

class OfLiteLLM:
    async def async_pre_call_hook(self):
        pass

number = 7
"""


@pytest.fixture
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "own_guards.py").write_text(OWN, encoding="utf-8")
    (folder / "broken_guards.py").write_text("raise RuntimeError('nightjar')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.usefixtures("_own")
def test_function_and_class_of_an_installed_module(tmp_path: Path) -> None:
    prefix = entry("p", guardrail="own_guards.Prefix", text="to ", model="m")
    assert sent(tmp_path, "red", entry(guardrail="own_guards.shout"), prefix) == "to RED"
    of_ours = entry("d", guardrail="anyrerank.guardrails.DenyList", terms=["nightjar"])
    assert "deny list" in refusal(tmp_path, "a nightjar", of_ours).message


@pytest.mark.usefixtures("_own")
async def test_async_function_of_an_installed_module(tmp_path: Path) -> None:
    wire = Wire()
    guarded = router(tmp_path, entry(guardrail="own_guards.later"), http_client=wire.client(asynchronous=True))
    await guarded.arerank("r", "red", DOCUMENTS)
    assert json.loads(wire.requests[0].content)["query"] == "red!"


@pytest.mark.usefixtures("_own")
def test_guardrail_that_fails_blocks_and_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a nightjar", entry("mine", guardrail="own_guards.broken"))
    assert error.message == "guardrail mine failed with RuntimeError; nothing was sent"


@pytest.mark.usefixtures("_own")
def test_instruction_is_checked_and_documents_are_not(tmp_path: Path, mode: Mode) -> None:
    wire = Wire()
    model = {"model_name": "r", "litellm_params": {"model": "hosted_vllm/m", "api_base": "http://vllm.test"}}
    rules = content_filter(
        blocked_words=[{"keyword": "nightjar", "action": "MASK"}, {"keyword": "project x", "action": "BLOCK"}]
    )
    guarded = router(tmp_path, rules, model=model, http_client=wire.client(asynchronous=mode.asynchronous))
    mode.rerank(guarded.as_reranker("r"), "q", ["nightjar", "project x"], instruction="find the nightjar")
    (request,) = wire.requests
    body = json.loads(request.content)
    assert body["instruction"] == "find the [KEYWORD_REDACTED]"
    assert body["documents"] == ["nightjar", "project x"]
    with pytest.raises(GuardrailRaisedError):
        mode.rerank(guarded.as_reranker("r"), "q", ["d"], instruction="Project X")
    assert len(wire.requests) == 1


def test_guardrail_without_default_on_is_for_a_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rules = content_filter(default_on=False, blocked_words=[{"keyword": "nightjar", "action": "BLOCK"}])
    assert sent(tmp_path, "a nightjar", rules) == "a nightjar"
    assert "a router applies no guardrail without default_on: g" in caplog.text


def test_guardrails_of_an_argument_replace_those_of_the_file(tmp_path: Path) -> None:
    rules = content_filter(blocked_words=[{"keyword": "nightjar", "action": "BLOCK"}])
    wire = Wire()
    router(tmp_path, rules, guardrails=[str.upper], http_client=wire.client(asynchronous=False)).rerank(
        "r", "nightjar", DOCUMENTS
    )
    assert json.loads(wire.requests[0].content)["query"] == "NIGHTJAR"


def test_router_with_guardrails_can_be_pickled(tmp_path: Path) -> None:
    rules = content_filter(blocked_words=[{"keyword": "nightjar", "action": "BLOCK"}])
    copy = pickle.loads(pickle.dumps(router(tmp_path, rules)))  # noqa: S301
    with pytest.raises(GuardrailRaisedError):
        copy.rerank("r", "nightjar", DOCUMENTS)


def test_query_that_is_masked_to_nothing_is_not_sent(tmp_path: Path) -> None:
    rules = entry(guardrail="anyrerank.guardrails.Mask", patterns={".": " "})
    with pytest.raises(BadRequestError):
        sent(tmp_path, "nightjar", rules)


REFUSED: dict[str, tuple[Any, str]] = {
    "another kind": (entry(guardrail="lakera_v2"), "the guardrail lakera_v2 is not supported; those that work are"),
    "another kind that is off": (entry(guardrail="hide-secrets", default_on=False), "litellm_content_filter, presidio"),
    "a kind with a slash": (entry(guardrail="azure/prompt_shield"), "the path module.name of a Python function"),
    "another kind with a key": (entry(guardrail="aim", api_key="os.environ/NOT_SET"), "the guardrail aim is not"),
    "no kind": (entry(), "the guardrail None is not supported"),
    "during the call": (content_filter(mode="during_call"), "mode must be pre_call"),
    "after the call": (content_filter(mode=["post_call", "logging_only"]), "mode must be pre_call"),
    "by tags": (content_filter(mode={"tags": {"a": "pre_call"}}), "mode must be pre_call"),
    "no mode": (content_filter(mode=None), "mode must be pre_call"),
    "no name": ({"litellm_params": {}}, "must be a mapping with guardrail_name and litellm_params"),
    "no parameters": ({"guardrail_name": "g"}, "must be a mapping with guardrail_name and litellm_params"),
    "a string": ("presidio", "must be a mapping with guardrail_name and litellm_params"),
    "a misspelt name": ({"guardrails_name": "g", "guardrail_name": "g", "litellm_params": {}}, "did you mean"),
    "default_on that is a string": (content_filter(default_on="yes"), "default_on must be true or false"),
    "a kind that is not set": (entry(guardrail="os.environ/NOT_SET"), "variable NOT_SET is not set"),
    "a parameter that is not set": (content_filter(patterns=["os.environ/NOT_SET"]), "variable NOT_SET is not set"),
    "Presidio without kinds": (
        entry(guardrail="presidio"),
        f"got none; those that work are {', '.join(sorted(KINDS))}",
    ),
    "a kind that is not found": (
        entry(guardrail="presidio", pii_entities_config={"PERSON": "MASK", "CREDIT_CARD": "MASK"}),
        "got PERSON; those that work are",
    ),
    "an action of Presidio": (
        entry(guardrail="presidio", pii_entities_config={"CREDIT_CARD": "HIDE"}),
        "pii_entities_config must be BLOCK or MASK, got HIDE",
    ),
    "Presidio for answers": (
        entry(guardrail="presidio", pii_entities_config={"CREDIT_CARD": "MASK"}, presidio_filter_scope="output"),
        "presidio_filter_scope must be input or both",
    ),
    "thresholds of kinds": (
        entry(
            guardrail="presidio",
            pii_entities_config={"CREDIT_CARD": "MASK"},
            presidio_score_thresholds={"CREDIT_CARD": 0.5},
        ),
        "presidio_score_thresholds must be one number for all kinds",
    ),
    "recognizers": (
        entry(
            guardrail="presidio",
            pii_entities_config={"CREDIT_CARD": "MASK"},
            presidio_ad_hoc_recognizers="recognizers.json",
        ),
        "presidio_ad_hoc_recognizers is not supported",
    ),
    "no rules": (content_filter(), "must have patterns or blocked_words"),
    "categories": (
        content_filter(categories=[{"category": "bias_gender", "enabled": True, "action": "BLOCK"}]),
        "categories is not supported",
    ),
    "a file of words": (content_filter(blocked_words_file="words.yaml"), "blocked_words_file is not supported"),
    "a prebuilt pattern": (
        content_filter(patterns=[{"pattern_type": "prebuilt", "pattern_name": "passport_uk", "action": "MASK"}]),
        f"there is no prebuilt pattern passport_uk; those that work are {', '.join(sorted(PREBUILT))}",
    ),
    "a pattern that cannot be compiled": (
        content_filter(patterns=[{"pattern_type": "regex", "pattern": "(", "action": "MASK"}]),
        "not a regular expression",
    ),
    "a pattern without its text": (
        content_filter(patterns=[{"pattern_type": "regex", "action": "MASK"}]),
        "a pattern must have pattern_type: regex with a pattern",
    ),
    "a pattern without an action": (
        content_filter(patterns=[{"pattern_type": "regex", "pattern": "a"}]),
        "action must be BLOCK or MASK, got None",
    ),
    "a list of strings": (content_filter(blocked_words=["nightjar"]), "blocked_words must be a list of mappings"),
    "a word without its text": (content_filter(blocked_words=[{"action": "BLOCK"}]), "must have a keyword"),
    "a module that is not installed": (entry(guardrail="no_such_guards.f"), "install its module, or put its folder"),
    "a module that fails": (entry(guardrail="broken_guards.f"), "broken_guards.f cannot be imported: RuntimeError"),
    "no such function": (entry(guardrail="own_guards.missing"), "own_guards.missing cannot be imported: AttributeErr"),
    "a guardrail of LiteLLM's": (entry(guardrail="own_guards.OfLiteLLM"), "is a guardrail for LiteLLM"),
    "a number": (entry(guardrail="own_guards.number"), "own_guards.number must be a function"),
    "a function with parameters": (entry(guardrail="own_guards.shout", text="a"), "is not a class, and takes no text"),
    "a class with others": (entry(guardrail="own_guards.Prefix", nonsense=1), "with these litellm_params: TypeError"),
    "a class that refuses them": (
        entry(guardrail="anyrerank.guardrails.DenyList", terms="nightjar"),
        "anyrerank.guardrails.DenyList: terms must be a list of strings",
    ),
}


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(("guardrail", "message"), list(REFUSED.values()), ids=list(REFUSED))
def test_wrong_guardrail_is_one_error_with_its_line(tmp_path: Path, guardrail: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        router(tmp_path, guardrail)
    assert message in caught.value.message
    assert caught.value.message.startswith(
        f"{tmp_path / 'config.yaml'}{', line ' if guardrail != 'presidio' else ': '}"
    )
    assert not leaks(caught.value, ["nightjar", "recognizers.json"])


def test_name_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    rules = content_filter(blocked_words=[{"keyword": "nightjar", "action": "BLOCK"}])
    with pytest.raises(ConfigurationError, match="the guardrail g is given twice"):
        router(tmp_path, rules, rules)


def test_section_that_is_no_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"model_list": [COHERE], "guardrails": {"pii": {}}}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="guardrails must be a list"):
        Router.from_config(path)


def test_file_next_to_the_configuration_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("open('ran', 'w')", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="a file next to this one is not loaded"):
        router(tmp_path, entry(guardrail="beside_it.check"))
    assert not Path("ran").exists()


def test_presidio_that_is_not_installed_is_named_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anyrerank\[guardrails\]'"):
        router(tmp_path, entry(guardrail="presidio", pii_entities_config={"CREDIT_CARD": "MASK"}))
