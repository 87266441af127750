"""Models of the configuration file that cannot be served, and who answers in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import running

from anyrerank.cli.serve import _notes
from anyrerank.gateway import Gateway
from anyrerank.gateway.configuration import GatewayConfig, config_of_file, config_of_models, service_of
from anyrerank.gateway.keys import Keyring

ASK: dict[str, Any] = {"query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
MODELS = """
model_list:
  - {model_name: rerank, litellm_params: {model: cohere/rerank-v3.5, api_key: os.environ/NOT_SET_HERE}}
  - {model_name: chat, litellm_params: {model: openai/gpt-4o}}
  - {model_name: spare, litellm_params: {model: local/lexical}}
  - {model_name: second, litellm_params: {model: cohere/rerank-v3.5, api_key: os.environ/NOT_SET_EITHER}}
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOT_SET_HERE", "NOT_SET_EITHER", "LITELLM_MASTER_KEY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def read(folder: Path, more: str = "") -> GatewayConfig:
    file = folder / "config.yaml"
    file.write_text(f"{MODELS}{more}")
    return config_of_file(file)


@contextmanager
def served(config: GatewayConfig, keyring: Keyring | None = None) -> Iterator[str]:
    with running(Gateway(service_of(config, keyring))) as url:
        yield url


def ask(url: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/rerank", json={**ASK, **fields})


@pytest.mark.parametrize(
    "fallbacks",
    [
        'fallbacks: [{"rerank": ["spare"]}]',
        'fallbacks: [{"rerank": ["second"]}, {"second": ["spare"]}]',
        'default_fallbacks: ["spare"]',
        'fallbacks: [{"*": ["second", "spare"]}]',
    ],
)
def test_fallback_answers_for_a_model_whose_variable_is_not_set(tmp_path: Path, fallbacks: str) -> None:
    config = read(tmp_path, f"litellm_settings: {{{fallbacks}}}\n")
    with served(config) as url:
        for answer in (ask(url, model="rerank"), ask(url)):
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-anyrerank-deployment"] == "local/lexical"
        assert "rerank" in [each["id"] for each in httpx.get(f"{url}/v1/models").json()["data"]]
        assert httpx.get(f"{url}/model_group/info").status_code == 200
    assert "rerank has no deployment left, and its fallbacks answer: spare" in _notes(config)


def test_fallback_behind_a_model_that_is_left_out_is_still_asked(tmp_path: Path) -> None:
    fallbacks = '[{"spare": ["second"]}, {"second": ["other"]}]'
    more = "  - {model_name: other, litellm_params: {model: local/lexical}}\n"
    config = read(tmp_path, f"{more}litellm_settings: {{fallbacks: {fallbacks}}}\n")
    assert list(config.router["fallbacks"]) == [{"spare": ["other"]}]


def test_fallbacks_of_a_request_answer_too(tmp_path: Path) -> None:
    with served(read(tmp_path)) as url:
        assert ask(url, model="rerank", fallbacks=["spare"]).status_code == 200
        assert ask(url, model="spare", fallbacks=["rerank"]).status_code == 503
        assert ask(url, model="rerank", fallbacks=["second"]).status_code == 503


def test_without_a_fallback_the_reason_is_told_and_no_other_model_answers(tmp_path: Path) -> None:
    with served(read(tmp_path)) as url:
        for answer in (ask(url, model="rerank"), ask(url)):
            assert (answer.status_code, "NOT_SET_HERE" in answer.text) == (503, True)
        assert ask(url, model="spare").status_code == 200


def test_default_model_that_is_left_out_is_not_replaced(tmp_path: Path) -> None:
    with served(read(tmp_path, "anyrerank_settings: {default_model: second}\n")) as url:
        assert "NOT_SET_EITHER" in ask(url).text


def test_model_that_was_left_out_is_told_with_the_reason(tmp_path: Path) -> None:
    with served(read(tmp_path)) as url:
        message = ask(url, model="chat").json()["message"]
        unknown = ask(url, model="unknown").json()["message"]
    assert message.startswith("the gateway left out the model 'chat': ")
    assert "openai" in message
    assert "left out" not in unknown
    assert "--model" not in unknown


def test_gateway_without_a_file_says_how_to_serve_a_model() -> None:
    with served(config_of_models(["local/lexical"])) as url:
        message = ask(url, model="cohere/rerank-v3.5").json()["message"]
        other = ask(url, model="rerank").json()["message"]
    assert message.endswith("; or start it with --model cohere/rerank-v3.5")
    assert "--model" not in other
