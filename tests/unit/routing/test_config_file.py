"""A configuration file of LiteLLM's as a router, and one clear error for what cannot be one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, leaks

from anyrerank import ConfigurationError, Router

Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes the file."""

    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path: Path, **arguments: Any) -> str:
    """The message of a file that cannot be a router, without its folder."""
    with pytest.raises(ConfigurationError) as caught:
        Router.from_config(path, **arguments)
    assert not leaks(caught.value, [KEY])
    assert caught.value.message.startswith(str(path))
    assert caught.value.message.count(path.name) == 1
    return caught.value.message.removeprefix(f"{path.parent}").lstrip("/\\")


FULL = """
model_list:
  - model_name: rerank
    litellm_params:
      model: cohere/rerank-v3.5
      api_key: os.environ/MY_KEY
      api_base: http://first.test
      weight: 3
      extra_headers: {x-team: os.environ/MY_TEAM}
    model_info: {id: first, mode: rerank}
  - model_name: rerank
    litellm_params: {model: cohere/rerank-v3.5, api_key: os.environ/MY_KEY, api_base: http://second.test}
  - model_name: gpt
    litellm_params: {model: openai/gpt, api_key: os.environ/NOT_SET}
  - model_name: chat
    litellm_params: {model: cohere/command-r}
    model_info: {mode: chat}
  - model_name: spare
    litellm_params: {model: local/lexical}
litellm_settings:
  num_retries: 7
  request_timeout: 12
  drop_params: true
  callbacks: [prometheus]
  content_policy_fallbacks: [{rerank: [spare]}]
router_settings:
  num_retries: 1
  routing_strategy: least-busy
  fallbacks: [{rerank: [spare]}]
  model_group_alias: {alias: rerank}
  redis_host: os.environ/NOT_SET
general_settings: {master_key: os.environ/NOT_SET}
"""


def test_litellms_file(written: Written, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("MY_TEAM", "blue")
    path, wire = written(FULL), Wire()
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        router = Router.from_config(path, http_client=client, chance=lambda: 0.0)
        response = router.rerank("alias", QUERY, DOCUMENTS, truncate="END")
    assert response.attempts[0].model_id == "first"
    assert router.model_names == ("rerank", "spare", "alias")
    assert repr(router) == "Router(rerank: 2, spare: 1)"
    assert [each.model_id for each in router.standings()] == ["first", "rerank-2", "spare-1"]
    (request,) = wire.requests
    assert (request.url.host, request.headers["x-team"]) == ("first.test", "blue")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (router._options.max_retries, router._options.timeout, router._options.drop_params) == (1, 12, True)
    assert router._chains == {"rerank": ("spare",), "spare": ()}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{path}: models that are not for reranking are left out: line 13 (gpt), line 15 (chat)",
        f"{path}: content_policy_fallbacks, redis_host in its settings means nothing here",
    ]


def test_arguments_win_over_the_file(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("MY_TEAM", "blue")
    router = Router.from_config(str(written(FULL)), num_retries=5, fallbacks=None, top_n=1)
    assert (router._options.max_retries, router._options.top_n, router._options.timeout) == (5, 1, 12)
    assert router._chains["rerank"] == ()


LOCAL = """model_list:
  - model_name: r
    litellm_params: {model: local/lexical}
"""


def test_a_small_file(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    response = Router.from_config(written(LOCAL + "router_settings:\nlitellm_settings: {}\n")).rerank("r", "a", ["a"])
    assert (response.model_group, caplog.records) == ("r", [])


def test_names_that_are_left_out_are_left_out_everywhere(written: Written) -> None:
    text = """
model_list:
  - {model_name: r, litellm_params: {model: local/lexical}}
  - {model_name: spare, litellm_params: {model: local/lexical}}
  - {model_name: both, litellm_params: {model: local/lexical}}
  - {model_name: both, litellm_params: {model: openai/gpt}}
  - {model_name: gpt, litellm_params: {model: openai/gpt}}
  - {model_name: claude, litellm_params: {model: anthropic/claude}}
litellm_settings:
  default_fallbacks: [gpt, both]
router_settings:
  fallbacks: [{gpt: [claude]}, {r: [gpt, spare]}, {claude: [r]}]
  model_group_alias: {gpt-4: gpt, rerank: r}
"""
    router = Router.from_config(written(text))
    assert router._chains == {"r": ("spare",), "spare": ("both",), "both": ()}
    assert router.model_names == ("r", "spare", "both", "rerank")


def test_what_is_misspelt_beside_a_good_entry_is_named(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    more = (
        "  - model_name: typo\n    litellm_params: {model: coheer/x}\n"
        "  - model_name: case\n    litellm_params: {model: cohere/x}\n    model_info: {mode: Rerank}\n"
        "  - litellm_params: {model: openai/gpt}\n"
    )
    path = written(LOCAL + more)
    assert Router.from_config(path).model_names == ("r",)
    (record,) = caplog.records
    left_out = "line 4 (typo), line 6 (case), line 9 (None)"
    assert record.getMessage() == f"{path}: models that are not for reranking are left out: {left_out}"


def test_the_environment_may_name_a_model(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LOCAL.replace("local/lexical", "os.environ/MODEL")
    assert refused(written(text)) == "config.yaml, line 2: the environment variable MODEL is not set"
    monkeypatch.setenv("MODEL", "local/lexical")
    assert Router.from_config(written(text)).rerank("r", "a", ["a"]).model == "lexical"


def test_a_chat_model_that_no_variable_names_is_left_out(written: Written) -> None:
    chat = "  - model_name: chat\n    litellm_params: {model: os.environ/CHAT}\n"
    assert Router.from_config(written(f"{LOCAL}{chat}")).model_names == ("r",)


def test_the_environment_may_hold_the_numbers_of_settings(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIES", "4")
    monkeypatch.setenv("SECONDS", "2.5")
    settings = "{num_retries: os.environ/TRIES, timeout: os.environ/SECONDS}"
    router = Router.from_config(written(f"{LOCAL}router_settings: {settings}\n"))
    assert (router._options.max_retries, router._options.timeout) == (4, 2.5)


@pytest.mark.parametrize("path", [None, 5, b"config.yaml"], ids=str)
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"configuration file is a string, not {type(path).__name__}"):
        Router.from_config(path)


def test_a_list_may_be_merged_from_elsewhere_with_its_lines(written: Written) -> None:
    text = "base: &base\n  model_list:\n  - model_name: x\n    litellm_params: {model: local/x, weight: -1}\n"
    assert refused(written(f"{text}<<: *base\n<<: *base\n")) == (
        "config.yaml, line 3 (x): weight is a number of at least 0"
    )
    assert Router.from_config(written(f"{text}<<: *base\n{LOCAL}")).model_names == ("r",)


def test_anchors_and_merges_are_yaml_too(written: Written) -> None:
    text = (
        "base: &base {model: local/lexical}\nmodel_list:\n- model_name: r\n  litellm_params: {<<: *base, weight: 2}\n"
    )
    assert Router.from_config(written(text))._groups["r"][0].terms.weight == 2


WRONG: dict[str, tuple[str, str]] = {
    "a negative weight": (
        LOCAL + "  - model_name: x\n    litellm_params:\n      model: local/lexical\n      weight: -2\n",
        "config.yaml, line 4 (x): weight is a number of at least 0",
    ),
    "an unknown parameter": (
        LOCAL.replace("lexical", "lexical, wieght: 2"),
        "config.yaml, line 2 (r): litellm_params has no wieght; did you mean weight?",
    ),
    "the same id twice": (
        "model_list:\n" + "- {model_name: r, litellm_params: {model: local/lexical}, model_info: {id: i}}\n" * 2,
        "config.yaml, line 3 (r): the id i is taken",
    ),
    "a missing variable": (
        LOCAL.replace("local/lexical", "cohere/x, api_key: os.environ/NOT_SET"),
        "config.yaml, line 2: the environment variable NOT_SET is not set",
    ),
    "a missing variable of a setting": (
        LOCAL + "router_settings: {timeout: os.environ/NOT_SET}",
        "config.yaml, timeout: the environment variable NOT_SET is not set",
    ),
    "no params": (
        "model_list:\n- model_name: r\n",
        "config.yaml, line 2 is not a mapping with a model_name and litellm_params",
    ),
    "no mapping": (
        "model_list:\n- r\n",
        "config.yaml, line 2 is not a mapping with a model_name and litellm_params",
    ),
    "a number": (
        "model_list: [5]\n",
        "config.yaml, line 1 is not a mapping with a model_name and litellm_params",
    ),
    "info that is a text": (
        "model_list:\n- {model_name: r, model_info: rerank, litellm_params: {model: local/lexical}}\n",
        "config.yaml, line 2 is not a mapping with a model_name and litellm_params",
    ),
    "no list": ("model_list: {a: b}\n", "config.yaml: there is no model_list"),
    "an empty list": ("model_list: []\n", "config.yaml: there is no model_list"),
    "no models": ("router_settings: {}\n", "config.yaml: there is no model_list"),
    "nothing": ("", "config.yaml is no mapping with a model_list"),
    "a list": ("- a\n", "config.yaml is no mapping with a model_list"),
    "two lists": (LOCAL * 2, "config.yaml, line 4: model_list is here for the second time"),
    "params twice": (
        LOCAL + "    model_info: {}\n    litellm_params: {model: local/x}\n",
        "config.yaml, line 5: litellm_params is here for the second time",
    ),
    "two documents": (LOCAL + "---\na: 1\n", "config.yaml, line 4: a second YAML document begins"),
    "a circle of anchors": (
        "model_list: &a\n- *a\n",
        "config.yaml is nested too deeply, or its anchors go in a circle",
    ),
    "a circle in an entry": (
        LOCAL.replace("{model: local/lexical}", "&p {model: local/lexical, extra_body: {x: *p}}"),
        "config.yaml is nested too deeply, or its anchors go in a circle",
    ),
    "3,000 levels": ("model_list: " + "[" * 3000, "config.yaml is nested too deeply, or its anchors go in a circle"),
    "200 levels": (
        LOCAL + "a: " + "[" * 200 + "]" * 200 + "\n",
        "config.yaml is nested too deeply, or its anchors go in a circle",
    ),
    "aliases of aliases": (
        "a0: &a0 [x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 7))
        + LOCAL.replace("lexical", "lexical, extra_body: {x: *a6}"),
        "config.yaml: its aliases stand for more than a file can hold",
    ),
    "not YAML": (LOCAL + "a: [\n", "config.yaml, line 5: this is not YAML"),
    "no date": (LOCAL + "a: 2024-13-45\n", "config.yaml, line 4: there is no such date or number"),
    "a huge number": (LOCAL + f"a: {'1' * 5000}\n", "config.yaml, line 4: there is no such date or number"),
    "a tag": (LOCAL + "a: !!python/object:os.system {}\n", "config.yaml, line 4: this is not YAML"),
    "a character": (LOCAL + "a: \x07\n", "config.yaml, line 4: this is not YAML"),
    "no reranking": (
        "model_list:\n- {model_name: gpt, litellm_params: {model: openai/gpt}}\n",
        "config.yaml: no model of its model_list is for reranking (model_info: mode: rerank)",
    ),
    "settings that are a list": (LOCAL + "router_settings: [a]\n", "config.yaml: router_settings is not a mapping"),
    "other settings": (LOCAL + "litellm_settings: text\n", "config.yaml: litellm_settings is not a mapping"),
    "an unknown strategy": (
        LOCAL + "router_settings: {routing_strategy: least-bussy}\n",
        "config.yaml: routing_strategy: there is no 'least-bussy'; did you mean least-busy?",
    ),
    "a name without a deployment": (
        LOCAL + "router_settings: {fallbacks: [{r: [spare]}]}\n",
        "config.yaml: fallbacks: no deployment has the name spare; there are r",
    ),
    "a circle": (
        LOCAL + "router_settings: {fallbacks: [{r: [r]}]}\n",
        "config.yaml: fallbacks go in a circle: r -> r",
    ),
    "an option": (
        LOCAL + "router_settings: {num_retries: -1}\n",
        "config.yaml: num_retries is an integer of at least 0",
    ),
    "an option that is a text": (
        LOCAL + "litellm_settings: {num_retries: x}\n",
        "config.yaml: num_retries is an integer of at least 0",
    ),
    "a header that is a number": (
        LOCAL.replace("lexical", "lexical, headers: {x: 5}"),
        "config.yaml, line 2 (r): headers maps names to strings",
    ),
    "a base that is no address": (
        LOCAL.replace("lexical", "lexical, api_base: 'http://ann:secret@[bad'"),
        "config.yaml, line 2 (r): api_base is not an http(s) address such as https://host/v1",
    ),
    "a duration without a budget": (
        LOCAL.replace("lexical", "lexical, budget_duration: 1d"),
        "config.yaml, line 2 (r): budget_duration says how long max_budget is for",
    ),
}


@pytest.mark.parametrize(("text", "message"), list(WRONG.values()), ids=list(WRONG))
def test_a_file_that_cannot_be_a_router(
    written: Written, caplog: pytest.LogCaptureFixture, text: str, message: str
) -> None:
    assert refused(written(text)).startswith(message)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "config.yaml") == "config.yaml cannot be read: FileNotFoundError"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read: " in refused(tmp_path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"model_list: \xff\xfe")
    assert refused(path) == "config.yaml cannot be read: UnicodeDecodeError"


def test_a_key_in_the_file_is_in_no_error(written: Written) -> None:
    text = LOCAL.replace("local/lexical", f"cohere/x, api_key: {KEY}, api_base: [{KEY}], nonsense: {KEY}")
    assert "litellm_params has no nonsense" in refused(written(text))
    assert "api_base is a string" in refused(written(text.replace("nonsense", "order")))


def test_without_pyyaml_it_says_what_to_install(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[config\]'"):
        Router.from_config(written(LOCAL))
