"""What `read_config` gives to whoever serves a file, and what a file may refer to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import KEY

from anyrerank import ConfigurationError, Router
from anyrerank._core.routing import LeftOut, read_config

Written = Callable[..., Path]

LOCAL = {"model_name": "good", "litellm_params": {"model": "local/lexical"}}
COHERE = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": "os.environ/MY_KEY"}}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a file."""

    def write(name: str = "config.yaml", **sections: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(sections, indent=1), encoding="utf-8")
        return path

    return write


def test_settings_of_a_server_are_resolved_and_those_that_are_not_set_are_listed(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE", "sqlite://")
    config = read_config(
        written(
            model_list=[LOCAL],
            general_settings={"database_url": "os.environ/DATABASE", "master_key": "os.environ/NOT_SET"},
            anyrerank_settings={"max_in_flight": 4, "networks": ["os.environ/DATABASE", "os.environ/NOR_THIS"]},
            litellm_settings={"max_budget": 1, "max_ui_session_budget": 2},
        )
    )
    assert (config.general, config.own) == ({"database_url": "sqlite://"}, {"max_in_flight": 4})
    assert config.litellm == {"max_budget": 1, "max_ui_session_budget": 2}
    unset = {name: each.variable for name, each in config.unset.items()}
    assert unset == {"general_settings.master_key": "NOT_SET", "anyrerank_settings.networks": "NOR_THIS"}
    assert config.ignored == ("litellm_settings.max_ui_session_budget",)
    assert Router(**config.router).model_names == ("good",)


def test_what_is_left_out_is_listed_with_its_reason(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    chat = {"model_name": "gpt", "litellm_params": {"model": "openai/gpt", "api_key": "os.environ/NOT_SET"}}
    config = read_config(written(model_list=[COHERE, chat]))
    assert config.left_out == (
        LeftOut("r", "line 3", "the variable MY_KEY is not set, or is empty", "MY_KEY"),
        LeftOut("gpt", "line 10", "there is no reranker of openai"),
    )
    assert (config.router["model_list"], caplog.records) == ([], [])


def test_credentials_and_variables_of_the_file_are_filled_in(written: Written) -> None:
    params = {"model": "cohere/rerank-v3.5", "litellm_credential_name": "mine", "api_base": "http://own"}
    named = {"model_name": "n", "litellm_params": params}
    config = read_config(
        written(
            model_list=[COHERE, named],
            credential_list=[
                {
                    "credential_name": "mine",
                    "credential_values": {"api_key": "os.environ/MY_KEY", "api_base": "http://x"},
                }
            ],
            environment_variables={"MY_KEY": KEY},
        )
    )
    assert [each["litellm_params"] for each in config.router["model_list"]] == [
        {"model": "cohere/rerank-v3.5", "api_key": KEY},
        {"model": "cohere/rerank-v3.5", "api_key": KEY, "api_base": "http://own"},
    ]
    assert config.ignored == ()


def test_included_files_add_to_lists_and_replace_sections(written: Written) -> None:
    written("more.yaml", model_list=[{**LOCAL, "model_name": "more"}], general_settings={"master_key": "theirs"})
    path = written(model_list=[LOCAL], include=["more.yaml"], general_settings={"master_key": "ours", "a": 1})
    config = read_config(path)
    assert Router(**config.router).model_names == ("good", "more")
    assert config.general == {"master_key": "theirs"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"include": "more.yaml"}, "include must be a list"),
        ({"include": ["missing.yaml"]}, "missing.yaml cannot be read"),
        ({"credential_list": [{"credential_name": "a"}]}, "credential_list must be"),
        ({"credential_list": "a"}, "credential_list must be"),
        ({"environment_variables": ["a"]}, "environment_variables must be a mapping"),
        ({"general_settings": ["a"]}, "general_settings must be a mapping"),
        ({"anyrerank_settings": 5}, "anyrerank_settings must be a mapping"),
    ],
    ids=str,
)
def test_a_wrong_section_is_refused(written: Written, sections: dict[str, Any], message: str) -> None:
    path = written(model_list=[LOCAL], **sections)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_config(path)
    assert caught.value.message.startswith(str(path))


def test_a_credential_that_is_missing_is_refused_with_its_line(written: Written) -> None:
    params = {"model": "cohere/rerank-v3.5", "litellm_credential_name": "mine"}
    path = written(model_list=[{"model_name": "n", "litellm_params": params}])
    with pytest.raises(ConfigurationError, match="line 3: credential_list has no mine"):
        read_config(path)
