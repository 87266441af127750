"""`anyrerank check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import KEY
from tests.support.loopback import Loopback
from tests.unit.cli.running import error_of, run


def test_check_without_a_key_names_the_variables_and_exits_with_1() -> None:
    result = run("check", "cohere/rerank-v3.5", columns=200)
    assert result.exit_code == 1
    for part in ("COHERE_API_KEY or CO_API_KEY", "https://api.cohere.com", "$2.00 per 1,000 searches", "1,000", "60"):
        assert part in result.stdout
    assert "no API key" in result.stderr


def test_check_says_where_url_proxy_and_certificates_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    shown = run("check", "cohere/any", columns=200).stdout
    for part in ("https://api.cohere.com/v2/rerank (the default)", "proxy                  none", "those of certifi"):
        assert part in shown
    monkeypatch.setenv("COHERE_API_BASE", "https://rerank.internal")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{KEY}@proxy.internal:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    shown = run("check", "cohere/any", columns=200).stdout
    for part in (
        "https://rerank.internal/v2/rerank (from COHERE_API_BASE)",
        "proxy.internal:3128 (HTTPS_PROXY)",
        "/ca.pem (from SSL_CERT_FILE)",
    ):
        assert part in shown
    assert KEY not in shown
    shown = run(
        "check", "cohere/any", "--api-base", "https://other", "--option", "ssl_verify=false", columns=200
    ).stdout
    for part in ("https://other/v2/rerank (given)", "not checked (ssl_verify=False)"):
        assert part in shown
    assert "certificates" not in run("check", "cohere/any", "--api-base", "http://other", columns=200).stdout


def test_check_of_a_nim_without_an_address_prints_the_error_alone() -> None:
    result = run("check", "nvidia_nim/ranking/any", "--call", columns=200)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pass api_base=" in result.stderr


def test_check_of_a_nim_says_that_the_key_of_nvidias_service_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", KEY)
    shown = run("check", "nvidia_nim/ranking/any", "--api-base", "http://nim:8000", columns=200).stdout
    assert "none: that in NVIDIA_API_KEY is not sent to a server of your own" in shown
    assert "found in NVIDIA_API_KEY" in run("check", "nvidia_nim/any", columns=200).stdout


def test_check_with_a_key_says_where_it_was_found_and_sends_nothing(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_API_KEY", KEY)
    result = run("check", "cohere/any", "--api-base", f"{server.url}/v2/rerank?token={KEY}", columns=200)
    assert (result.exit_code, server.hits) == (0, [])
    assert "found in CO_API_KEY" in result.stdout
    assert f"{server.url}/v2/rerank" in result.stdout
    assert "price unknown" in result.stdout
    assert KEY not in result.output


def test_check_with_call_makes_one_call(server: Loopback) -> None:
    result = run("check", "cohere/rerank-v3.5", "--call", "--api-base", server.url, "--api-key", KEY, columns=200)
    assert result.exit_code == 0, result.output
    assert "call: answered in" in result.stdout
    assert len(server.hits) == 1


def test_check_with_a_call_that_fails_exits_with_1(server: Loopback) -> None:
    server.script = lambda line: line.answer(401, {"message": "no"})
    result = run("check", "cohere/any", "--call", "--api-base", server.url, "--api-key", KEY, columns=200)
    assert result.exit_code == 1
    assert "401" in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize("model", ["bedrock/cohere.rerank-v3-5:0", "elasticsearch/my-rerank"])
def test_check_without_a_setting_or_base_names_it(model: str) -> None:
    result = run("check", model, columns=200)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_check_with_an_option_of_the_provider_uses_it() -> None:
    result = run("check", "bedrock/cohere.rerank-v3-5:0", "--option", "aws_region_name=eu-central-1", columns=200)
    assert "eu-central-1" in result.stdout


def test_check_of_a_local_model_needs_nothing() -> None:
    result = run("check", "local/lexical", "--call")
    assert result.exit_code == 0
    assert "not needed" in result.stdout


def test_check_of_an_unknown_provider_suggests_one() -> None:
    assert "voyage" in error_of(run("check", "voyag/x"))


def file_of(folder: Path, *params: dict[str, Any]) -> str:
    """A configuration file with these models."""
    entries = [{"model_name": f"m{number}", "litellm_params": each} for number, each in enumerate(params)]
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": entries}), encoding="utf-8")
    return str(path)


def test_check_of_a_file_with_call_calls_each_deployment(server: Loopback, tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        {"model": "cohere/rerank-v3.5", "api_key": KEY, "api_base": server.url},
        {"model": "voyage/rerank-2.5", "api_key": KEY, "api_base": f"{server.url}/wrong"},
        {"model": "local/lexical"},
    )
    assert run("check", path).exit_code == 0
    assert server.hits == []
    result = run("check", "--config", path, "--call", columns=200)
    assert result.exit_code == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("call of")]
    assert [line.split()[2] for line in lines] == ["m0", "m1", "m2"]
    assert "answered in" in lines[0]
    assert "(voyage/rerank-2.5): error: " in lines[1]
    assert "answered in" in lines[2]
    assert len(server.hits) == 2
    assert KEY not in result.output


def test_check_of_a_file_lists_entries_that_stand_for_many_models(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    entry = {"model_name": "any/*", "litellm_params": {"model": "voyage/*", "api_key": KEY}}
    path.write_text(json.dumps({"model_list": [entry]}), encoding="utf-8")
    result = run("check", str(path), columns=200)
    assert result.exit_code == 0
    assert [word in result.stdout for word in ("any/*", "voyage/*", "given", KEY)] == [True, True, True, False]


def test_check_of_a_file_warns_of_a_fallback_without_a_price(tmp_path: Path) -> None:
    entries = [
        f"{{model_name: {name}, litellm_params: {{model: {model}, api_key: k}}, model_info: {{mode: rerank}}}}"
        for name, model in (("rerank", "cohere/new"), ("spare", "cohere/newer"))
    ]
    file = tmp_path / "config.yaml"
    file.write_text(f"model_list: [{', '.join(entries)}]\nlitellm_settings: {{fallbacks: [{{rerank: [spare]}}]}}\n")
    (warning,) = (line for line in run("check", "--config", str(file)).stdout.splitlines() if "no known price" in line)
    assert warning.startswith("warning: spare (cohere/newer) has no known price, so that calls with a budget")


def test_check_of_a_file_lists_its_guardrails(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    params = {"guardrail": "anyrerank.guardrails.DenyList", "mode": "pre_call", "terms": ["nightjar"]}
    guardrails = [
        {"guardrail_name": "always", "litellm_params": {**params, "default_on": True}},
        {"guardrail_name": "named", "litellm_params": params},
    ]
    models = [{"model_name": "m", "litellm_params": {"model": "local/lexical"}}]
    path.write_text(json.dumps({"model_list": models, "guardrails": guardrails}), encoding="utf-8")
    result = run("check", str(path), columns=200)
    assert result.exit_code == 0
    assert "guardrail always (anyrerank.guardrails.DenyList) checks every call\n" in result.stdout
    assert "guardrail named (anyrerank.guardrails.DenyList) checks calls that name it\n" in result.stdout
    assert "ignored" not in result.stdout


def test_check_of_a_file_shows_time_retries_and_the_terms_of_each_deployment(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    terms = {"rpm": 1000, "tpm": 2_000_000, "weight": 3, "order": 2, "timeout": 2.5, "num_retries": 9}
    entries = [
        {"model_name": "rerank", "litellm_params": {"model": "local/lexical", **given}}
        for given in (terms, {"order": 1})
    ]
    file = {
        "model_list": entries,
        "litellm_settings": {"request_timeout": 20, "num_retries": 5},
        "router_settings": {"timeout": 8, "num_retries": 1},
    }
    path.write_text(json.dumps(file), encoding="utf-8")
    lines = run("check", str(path), columns=200).stdout.splitlines()
    assert "each call: 8 seconds, and 1 retry for each name" in lines
    assert [line for line in lines if line.startswith("rerank-")] == [
        "rerank-1: weight 3, rpm 1,000, tpm 2,000,000, order 2, timeout 2.5"
    ]


def test_check_of_a_file_refuses_the_options_of_one_model(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"model": "local/lexical"})
    assert "api_key cannot be given with a file" in error_of(run("check", path, "--api-key", KEY))


@pytest.mark.parametrize(
    ("model", "library", "extra"),
    [
        ("fastembed/any", "fastembed", "fastembed"),
        ("sentence_transformers/any", "sentence_transformers", "sentence-transformers"),
        ("vertex_ai/semantic-ranker-default@latest", "google.auth", "vertex"),
        ("bedrock/cohere.rerank-v3-5:0", "botocore", "bedrock"),
    ],
)
def test_check_without_the_extra_of_the_model_names_it(
    model: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    result = run("check", model)
    assert result.exit_code == 1
    assert f"pip install 'anyrerank[cli,{extra}]'" in result.stderr
    result = run("check", "--config", file_of(tmp_path, {"model": model}), columns=200)
    assert result.exit_code == 1
    assert f"anyrerank[{extra}]" in result.stdout


def test_check_of_vertex_says_where_its_credentials_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    model = {"model": "vertex_ai/semantic-ranker-default@latest", "vertex_project": "p"}
    shown = run("check", "--config", file_of(tmp_path, model), columns=200)
    assert shown.exit_code == 0
    assert "from Google's default credentials" in shown.stdout
    given = file_of(tmp_path, {**model, "vertex_credentials": "/nowhere/key.json"})
    assert "given: vertex_credentials" in run("check", given, columns=200).stdout
