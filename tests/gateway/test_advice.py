"""What the gateway advises: variables and its file, not arguments of a Python call."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.support.gateway import entry, gateway_of, running
from tests.support.keys import paid, serving
from typer.testing import CliRunner

from anyrerank.cli.app import app
from anyrerank.gateway.advice import for_operator

ASK = {"query": "red planet", "documents": ["Venus", "Mars"]}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COHERE_API_KEY", "CO_API_KEY", "LITELLM_MASTER_KEY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "no key: pass api_key=, or set A or B",
            "no key: set A or B in the gateway's environment, or api_key: os.environ/A in litellm_params",
        ),
        (
            "no key: pass api_key=, token= or zen_api_key=, or set A or B",
            "no key: set A or B in the gateway's environment, or api_key, token or zen_api_key in litellm_params",
        ),
        (
            "no key: pass api_key= or set A_KEY; or pass azure_ad_token=, or b= and c=",
            "no key: set api_key or set A_KEY; or set azure_ad_token, or b and c in litellm_params",
        ),
        (
            "not known: pass a= or b= (0 if it is free), or prices=",
            "not known: set a or b (0 if it is free) in litellm_params",
        ),
        ("no base: pass api_base='https://a/b'", "no base: set api_base='https://a/b' in litellm_params"),
        ("run pip install x", "run pip install x"),
        ("pass one of them", "pass one of them"),
    ],
)
def test_arguments_become_settings(message: str, expected: str) -> None:
    assert for_operator(message) == expected


def test_missing_key_is_explained_to_the_operator() -> None:
    with running(gateway_of([entry("rerank", "cohere/rerank-v3.5")], master_key=None)) as url:
        message = httpx.post(f"{url}/rerank", json=ASK).json()["message"]
    assert "api_key=" not in message
    assert "COHERE_API_KEY or CO_API_KEY in the gateway's environment, or api_key: os.environ/COHERE_API_KEY" in message


def test_unknown_price_is_explained_to_the_operator(tmp_path: Path) -> None:
    with serving(tmp_path, [paid("http://127.0.0.1:9", "rerank", "cohere/new")]) as gateway:
        message = gateway.rerank(gateway.new_key(max_budget=1)).json()["message"]
    assert message.endswith("set input_cost_per_query or input_cost_per_token (0 if it is free) in litellm_params")


def test_check_of_a_file_explains_to_the_operator(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    text = "model_list:\n  - {model_name: r, litellm_params: {model: cohere/rerank-v3.5}}\n"
    file.write_text(text)
    missing = CliRunner().invoke(app, ["check", "--config", str(file)], env={"COLUMNS": "400"})
    assert "in the gateway's environment" in " ".join(missing.output.split())
    file.write_text(text.replace("rerank-v3.5", "new, max_budget: 1, api_key: k"))
    unpriced = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert "prices=" not in unpriced.output
    assert "in litellm_params" in " ".join(unpriced.output.split())
