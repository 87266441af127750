"""A configuration file of LiteLLM's as a router, and the one error for a file that cannot be one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, leaks

from anyrerank import ConfigurationError, Router
from anyrerank._core.routing import read_config

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
  set_verbose: os.environ/NOT_SET
general_settings: {master_key: os.environ/NOT_SET}
"""


def test_a_file_of_litellms_describes_a_router(
    written: Written, monkeypatch: pytest.MonkeyPatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("MY_TEAM", "blue")
    path, wire = written(FULL), Wire()
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        router = Router.from_config(path, http_client=client)
        response = router.rerank("alias", QUERY, DOCUMENTS, truncate="END")
    assert response.attempts[0].model_id == "first"
    assert router.model_names == ("rerank", "spare", "alias")
    assert repr(router) == "Router(rerank: 2, spare: 1)"
    assert [each.model_id for each in router.deployment_status()] == ["first", "rerank-2", "spare-1"]
    (request,) = wire.requests
    assert (request.url.host, request.headers["x-team"]) == ("first.test", "blue")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    options = router.as_reranker("rerank").options
    assert (options.max_retries, options.timeout, options.drop_params) == (1, 12, True)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        (
            f"{path}: left out of model_list: line 13 (gpt): there is no reranker of openai; "
            "line 15 (chat): its mode is chat (a reranker that is not recognised needs model_info: mode: rerank)"
        ),
        (
            f"{path}: ignored settings: router_settings.set_verbose, litellm_settings.callbacks, "
            "litellm_settings.content_policy_fallbacks"
        ),
        f"{path}: a router enforces nothing of general_settings: master_key",
    ]


def test_arguments_override_the_file(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("MY_TEAM", "blue")
    router = Router.from_config(str(written(FULL)), num_retries=5, fallbacks=None, top_n=1)
    options = router.as_reranker("rerank").options
    assert (options.max_retries, options.top_n, options.timeout) == (5, 1, 12)


LOCAL = """model_list:
  - model_name: r
    litellm_params: {model: local/lexical}
"""


def test_a_file_needs_only_a_model_list(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    response = Router.from_config(written(LOCAL + "router_settings:\nlitellm_settings: {}\n")).rerank("r", "a", ["a"])
    assert (response.model_group, caplog.records) == ("r", [])


def test_models_that_are_left_out_are_left_out_of_fallbacks_and_aliases(written: Written) -> None:
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
    found = read_config(written(text)).router
    assert found["fallbacks"] == [{}, {"r": ["spare"]}, {}]
    assert found["default_fallbacks"] == ["both"]
    assert Router(**found).model_names == ("r", "spare", "both", "rerank")


def test_a_misspelt_entry_next_to_a_good_one_is_logged(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    more = (
        "  - model_name: typo\n    litellm_params: {model: coheer/x}\n"
        "  - model_name: case\n    litellm_params: {model: cohere/x}\n    model_info: {mode: Rerank}\n"
        "  - litellm_params: {model: openai/gpt}\n"
    )
    path = written(LOCAL + more)
    assert Router.from_config(path).model_names == ("r",)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{path}: left out of model_list: line 4 (typo): there is no reranker of coheer (did you mean cohere?); "
        "line 6 (case): its mode is Rerank; line 9 (None): there is no reranker of openai "
        "(a reranker that is not recognised needs model_info: mode: rerank)"
    )


def test_a_model_may_be_named_by_a_variable(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LOCAL.replace("local/lexical", "os.environ/MODEL")
    assert refused(written(text)) == "config.yaml: line 2 (r): the environment variable MODEL is not set, or is empty"
    monkeypatch.setenv("MODEL", "local/lexical")
    assert Router.from_config(written(text)).rerank("r", "a", ["a"]).model == "lexical"


def test_a_model_whose_variable_is_not_set_is_left_out_next_to_a_good_one(written: Written) -> None:
    chat = "  - model_name: chat\n    litellm_params: {model: os.environ/CHAT}\n"
    assert Router.from_config(written(f"{LOCAL}{chat}")).model_names == ("r",)


def test_numbers_of_settings_may_come_from_variables(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIES", "4")
    monkeypatch.setenv("SECONDS", "2.5")
    settings = "{num_retries: os.environ/TRIES, timeout: os.environ/SECONDS}"
    router = Router.from_config(written(f"{LOCAL}router_settings: {settings}\n"))
    options = router.as_reranker().options
    assert (options.max_retries, options.timeout) == (4, 2.5)


@pytest.mark.parametrize("path", [None, 5, b"config.yaml"], ids=str)
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="path "):
        Router.from_config(path)


def test_a_merged_model_list_keeps_its_lines(written: Written) -> None:
    text = "base: &base\n  model_list:\n  - model_name: x\n    litellm_params: {model: local/x, weight: -1}\n"
    message = refused(written(f"{text}<<: *base\n<<: *base\n"))
    assert message.startswith("config.yaml, line 3 (x): weight must be a number of at least 0")
    assert Router.from_config(written(f"{text}<<: *base\n{LOCAL}")).model_names == ("r",)


def test_anchors_and_merges_are_resolved(written: Written) -> None:
    text = (
        "base: &base {model: local/lexical}\nmodel_list:\n- model_name: r\n  litellm_params: {<<: *base, weight: 2}\n"
    )
    (found,) = read_config(written(text)).router["model_list"]
    assert found["litellm_params"] == {"model": "local/lexical", "weight": 2}


def test_an_own_name_may_repeat_a_merged_one(written: Written) -> None:
    text = (
        "deep: {base: &base {<<: &other {model: cohere/x}, model: local/lexical}}\n"
        "model_list:\n- model_name: r\n  litellm_params: {<<: *base}\n"
    )
    (found,) = read_config(written(text)).router["model_list"]
    assert found["litellm_params"] == {"model": "local/lexical"}


WRONG: dict[str, tuple[str, str]] = {
    "a negative weight": (
        LOCAL + "  - model_name: x\n    litellm_params:\n      model: local/lexical\n      weight: -2\n",
        "config.yaml, line 4 (x): weight must be a number of at least 0",
    ),
    "an unknown parameter": (
        LOCAL.replace("lexical", "lexical, wieght: 2"),
        "config.yaml, line 2 (r): litellm_params has no wieght; did you mean weight?",
    ),
    "the same id twice": (
        "model_list:\n" + "- {model_name: r, litellm_params: {model: local/lexical}, model_info: {id: i}}\n" * 2,
        "config.yaml, line 3 (r): the id i ",
    ),
    "a missing variable": (
        LOCAL.replace("local/lexical", "cohere/x, api_key: os.environ/NOT_SET"),
        "config.yaml: line 2 (r): the environment variable NOT_SET is not set, or is empty",
    ),
    "a missing variable of a setting": (
        LOCAL + "router_settings:\n  num_retries: 1\n  timeout: os.environ/NOT_SET",
        "config.yaml, line 6, router_settings.timeout: the environment variable NOT_SET is not set, or is empty; ",
    ),
    "no params": ("model_list:\n- model_name: r\n", "config.yaml: no entry of model_list is for reranking"),
    "no mapping": ("model_list:\n- r\n", "config.yaml: model_list[0] must be a mapping with a model_name"),
    "a number": ("model_list: [5]\n", "config.yaml: model_list[0] must be a mapping with a model_name"),
    "info that is a string": (
        "model_list:\n- {model_name: r, model_info: rerank, litellm_params: {model: local/lexical}}\n",
        "config.yaml, line 2 must be a mapping with a model_name",
    ),
    "no list": ("model_list: {a: b}\n", "config.yaml must be a mapping with a model_list"),
    "an empty list": ("model_list: []\n", "config.yaml must be a mapping with a model_list"),
    "no models": ("router_settings: {}\n", "config.yaml must be a mapping with a model_list"),
    "nothing": ("", "config.yaml must be a mapping with a model_list"),
    "a list": ("- a\n", "config.yaml must be a mapping with a model_list"),
    "two lists": (LOCAL * 2, "config.yaml, line 4: model_list is given twice"),
    "params twice": (
        LOCAL + "    model_info: {}\n    litellm_params: {model: local/x}\n",
        "config.yaml, line 5: litellm_params is given twice",
    ),
    "two documents": (
        LOCAL + "---\na: 1\n",
        "config.yaml, line 4: not valid YAML: expected a single document in the stream, but found another document",
    ),
    "a list in itself": ("model_list: &a\n- *a\n", "config.yaml: model_list[0] must be a mapping"),
    "not YAML": (
        LOCAL + "a: [\n",
        "config.yaml, line 5: not valid YAML: expected the node content, but found '<stream end>'",
    ),
    "a tab": (
        LOCAL + "\ta: 1\n",
        "config.yaml, line 4: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "a value that has a value": (
        LOCAL + f"a: {KEY}: b\n",
        "config.yaml, line 4: not valid YAML: mapping values are not allowed here",
    ),
    "a name without a value": (
        LOCAL + f"{KEY}\nb: 1\n",
        "config.yaml, line 5: not valid YAML: could not find expected ':'",
    ),
    "a quotation without an end": (
        LOCAL + f'a: "{KEY}\n',
        "config.yaml, line 5: not valid YAML: found unexpected end of stream",
    ),
    "no date": (LOCAL + "a: 2024-13-45\n", "config.yaml, line 4: not a valid date or number"),
    "a huge number": (LOCAL + f"a: {'1' * 5000}\n", "config.yaml, line 4: not a valid date or number"),
    "a tag": (LOCAL + "a: !!python/object:os.system {}\n", "config.yaml, line 4: not valid YAML"),
    "a key that YAML takes for a tag": (
        LOCAL + f"a: !{KEY}\n",
        "config.yaml, line 4: not valid YAML: could not determine a constructor for the tag ...",
    ),
    "a key that YAML takes for an alias": (
        LOCAL + f"a: *{KEY}\n",
        "config.yaml, line 4: not valid YAML: found undefined alias ...",
    ),
    "a character": (LOCAL + "a: \x07\n", "config.yaml, line 4: not valid YAML: special characters are not allowed"),
    "no reranking": (
        "model_list:\n- {model_name: gpt, litellm_params: {model: openai/gpt}}\n",
        "config.yaml: no entry of model_list is for reranking",
    ),
    "settings that are a list": (LOCAL + "router_settings: [a]\n", "config.yaml: router_settings must be a mapping"),
    "other settings": (LOCAL + "litellm_settings: text\n", "config.yaml: litellm_settings must be a mapping"),
    "an unknown strategy": (
        LOCAL + "router_settings: {routing_strategy: least-bussy}\n",
        "config.yaml: routing_strategy must be one of",
    ),
    "a name without a deployment": (
        LOCAL + "router_settings: {fallbacks: [{r: [spare]}]}\n",
        "config.yaml: fallbacks: there is no model named 'spare'; there are r",
    ),
    "a circle": (LOCAL + "router_settings: {fallbacks: [{r: [r]}]}\n", "config.yaml: fallbacks must not form a circle"),
    "an option": (LOCAL + "router_settings: {num_retries: -1}\n", "config.yaml: num_retries must be an integer"),
    "an option that is a string": (
        LOCAL + "litellm_settings: {num_retries: x}\n",
        "config.yaml: num_retries must be an integer",
    ),
    "a header that is a number": (
        LOCAL.replace("lexical", "lexical, headers: {x: 5}"),
        "config.yaml, line 2 (r): headers must be",
    ),
    "a base that is malformed": (
        LOCAL.replace("lexical", "lexical, api_base: 'http://ann:secret@[bad'"),
        "config.yaml, line 2 (r): api_base must be an http(s) URL",
    ),
    "a duration without a budget": (
        LOCAL.replace("lexical", "lexical, budget_duration: 1d"),
        "config.yaml, line 2 (r): budget_duration needs a max_budget",
    ),
}


@pytest.mark.parametrize(("text", "message"), list(WRONG.values()), ids=list(WRONG))
def test_a_wrong_file_is_refused_with_its_line(
    written: Written, caplog: pytest.LogCaptureFixture, text: str, message: str
) -> None:
    assert refused(written(text)).startswith(message)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "config.yaml") == "config.yaml cannot be read: FileNotFoundError"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: " in refused(tmp_path)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"model_list: \xff\xfe")
    assert refused(path) == "config.yaml cannot be read: UnicodeDecodeError"


def test_no_error_shows_a_key_of_the_file(written: Written) -> None:
    text = LOCAL.replace("local/lexical", f"cohere/rerank, api_key: {KEY}, api_base: [{KEY}], nonsense: {KEY}")
    assert "litellm_params has no nonsense" in refused(written(text))
    assert "api_base must be a string" in refused(written(text.replace("nonsense", "order")))


def test_a_missing_pyyaml_raises_the_install_command(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[config\]'"):
        Router.from_config(written(LOCAL))
