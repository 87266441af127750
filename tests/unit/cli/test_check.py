"""`anyrerank check`."""

from __future__ import annotations

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
