"""`anyrerank rerank`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY
from tests.support.loopback import Loopback
from tests.unit.cli.running import LINES, RERANK, error_of, run

import anyrerank

JSON_LINES = "\n".join(json.dumps({"text": text, "number": number}) for number, text in enumerate(DOCUMENTS))


def test_rerank_prints_the_table_of_the_response() -> None:
    result = run(*RERANK, "--top-n", "2", stdin=LINES)
    assert result.exit_code == 0
    headline, *table = result.stdout.splitlines()
    assert headline.startswith("local/lexical · 2 results")
    response = anyrerank.rerank("local/lexical", QUERY, DOCUMENTS, top_n=2)
    assert table == str(response).splitlines()[1:]
    assert table[1].endswith(DOCUMENTS[1])


def test_rerank_with_json_prints_the_format_of_cohere() -> None:
    answer = json.loads(run(*RERANK, "--json", "--top-n", "2", stdin=LINES).stdout)
    expected = anyrerank.rerank("local/lexical", QUERY, DOCUMENTS, top_n=2).to_cohere()
    assert {**answer, "id": None} == {**expected, "id": None}


def test_rerank_of_json_lines_keeps_their_fields() -> None:
    answer = json.loads(run(*RERANK, "--json", stdin=JSON_LINES).stdout)
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[1], "number": 1}
    assert all(row["document"]["number"] == row["index"] for row in answer["results"])


@pytest.mark.parametrize("content", [LINES, JSON_LINES])
def test_rerank_of_a_file_equals_standard_input(tmp_path: Path, content: str) -> None:
    file = tmp_path / "documents"
    file.write_text(content, encoding="utf-8")
    from_file = json.loads(run(*RERANK, "--json", str(file)).stdout)
    from_stdin = json.loads(run(*RERANK, "--json", "-", stdin=content).stdout)
    assert from_file["results"] == from_stdin["results"]


def test_rerank_of_text_beyond_ascii_keeps_it() -> None:
    result = run("rerank", "--model", "local/lexical", "--query", "été", "--json", stdin="l'été 🌞\n")
    assert json.loads(result.stdout)["results"][0]["document"]["text"] == "l'été 🌞"


def test_rerank_of_nothing_prints_no_results() -> None:
    assert json.loads(run(*RERANK, "--json", stdin="").stdout)["results"] == []


def test_rerank_of_a_missing_file_prints_one_line(tmp_path: Path) -> None:
    assert "cannot be read" in error_of(run(*RERANK, str(tmp_path / "missing")))


@pytest.mark.parametrize(
    ("model", "query", "keyword"),
    [
        ("local/lexical", " ", "blank"),
        ("lexical", QUERY, "provider"),
        ("nobody/model", QUERY, "provider"),
        ("local/other", QUERY, "local/lexical"),
        ("cohere/rerank-v3.5", QUERY, "COHERE_API_KEY"),
        ("nvidia_nim/any", QUERY, "NVIDIA_NIM_API_KEY"),
    ],
)
def test_rerank_with_invalid_arguments_prints_one_line(model: str, query: str, keyword: str) -> None:
    assert keyword in error_of(run("rerank", "--model", model, "--query", query, stdin=LINES))


def test_rerank_with_top_n_0_is_a_usage_error() -> None:
    assert run(*RERANK, "--top-n", "0", stdin=LINES).exit_code == 2


def test_rerank_takes_the_key_from_the_environment(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    documents = ["number 7", "number 2", "number 4"]
    result = run("rerank", "--model", "cohere/any", "--query", QUERY, "--json", stdin="\n".join(documents))
    assert [row["index"] for row in json.loads(result.stdout)["results"]] == [1, 2, 0]
    (hit,) = server.hits
    assert hit.headers["authorization"] == f"Bearer {KEY}"
    assert hit.documents == documents


def test_rerank_with_connection_options_uses_them(server: Loopback) -> None:
    connection = ["--api-base", server.url, "--api-key", KEY, "--timeout", "5", "--option", "max_tokens_per_doc=64"]
    options = ["--option", "max_retries=0", "--option", "user=ann", "-k", "1"]
    result = run("rerank", "--model", "cohere/any", "--query", QUERY, "--json", *connection, *options, stdin="a 1\na 2")
    assert [row["index"] for row in json.loads(result.stdout)["results"]] == [0]
    (hit,) = server.hits
    assert hit.headers["authorization"] == f"Bearer {KEY}"
    assert (hit.json["max_tokens_per_doc"], hit.json["top_n"]) == (64, 1)


@pytest.mark.parametrize(
    ("option", "keyword"),
    [
        ("truncate", "NAME=VALUE"),
        ("=END", "NAME=VALUE"),
        ("no_such=1", "no_such"),
        ("timeout=soon", "timeout must be"),
    ],
)
def test_rerank_with_a_wrong_option_prints_one_line(option: str, keyword: str) -> None:
    assert keyword in error_of(run(*RERANK, "--option", option, stdin=LINES))


def test_rerank_with_a_refused_key_prints_one_line_without_the_key(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    server.script = lambda line: line.answer(401, {"message": "no"})
    error = error_of(run("rerank", "--model", "cohere/any", "--query", QUERY, stdin=LINES))
    assert "401" in error
    assert KEY not in error


def test_rerank_replaces_control_characters() -> None:
    evil = "evil \x1b]0;x\x07\x1b[2J \x9b2J \x7f document\nsecond"
    result = run(*RERANK, stdin=evil)
    assert "evil \ufffd]0;x\ufffd\ufffd[2J \ufffd2J \ufffd document" in result.stdout
    assert len(result.stdout.splitlines()) == 4
    assert "\ufffdevil" in error_of(run("rerank", "--model", "\x07evil", "--query", QUERY, stdin=LINES))
