"""`anyrerank compare`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import KEY
from tests.support.loopback import Loopback
from tests.unit.cli.running import run

from anyrerank import SQLiteCache
from anyrerank.evaluation import compare, demo_set


def run_compare(*arguments: str) -> Any:
    return run("compare", *arguments, columns=200)


def test_compare_prints_the_estimate_and_the_table_and_writes_a_page(tmp_path: Path) -> None:
    page, cache = tmp_path / "report.html", tmp_path / "outcomes.db"
    for calls in (60, 0):
        done = run_compare("lexical=local/lexical", "--html", str(page), "--cache", str(cache), "-n", "10")
        assert done.exit_code == 0, done.output
        assert f"{calls} calls, estimated cost $0.0000: lexical {calls} ($0.0000)" in done.stderr
        assert done.stdout.splitlines()[1].startswith("oracle")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_compare_shares_its_cache_with_python(tmp_path: Path) -> None:
    cache = tmp_path / "outcomes.db"
    assert run_compare("lexical=local/lexical", "--cache", str(cache), "-n", "10").exit_code == 0
    estimates: list[str] = []
    with SQLiteCache(cache, ttl=None) as opened:
        compare({"lexical": "local/lexical"}, demo_set(candidates=10), cache=opened, announce=estimates.append)
    assert estimates == ["0 calls, estimated cost $0.0000: lexical 0 ($0.0000)"]


@pytest.mark.parametrize("page", ["missing/report.html", "."])
def test_compare_with_an_unwritable_page_fails_before_anything_is_sent(
    tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    done = run_compare("cohere/any", "--html", str(tmp_path / page))
    assert (done.exit_code, done.stdout, server.hits) == (1, "", [])
    assert done.stderr.startswith(f"error: {tmp_path / page} cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_compare_with_a_failing_page_prints_the_table_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run_compare("local/lexical", "--html", str(tmp_path / "report.html"))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith("oracle")
    assert "matplotlib.figure" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_compare_with_only_failures_prints_no_numbers_and_exits_with_1(server: Loopback) -> None:
    server.script = lambda line: line.answer(401, {"message": "this key has expired"})
    done = run_compare("cohere/any", "local/lexical", "--api-base", server.url, "--api-key", KEY)
    assert done.exit_code == 1
    (line,) = (line for line in done.stdout.splitlines() if re.match("cohere/any +failed", line))
    assert not re.search(r"\d\.\d", line)
    assert "this key has expired" in done.stdout
    assert KEY not in done.output
    assert len(server.hits) == 1


def test_compare_with_one_key_for_several_providers_sends_nothing(server: Loopback) -> None:
    done = run_compare("cohere/any", "jina_ai/any", "--api-base", server.url, "--api-key", KEY)
    assert (done.exit_code, server.hits) == (1, [])
    assert "models of one provider" in done.stderr


def test_compare_replaces_control_characters() -> None:
    done = run_compare("\x1b[2J=local/lexical")
    assert "\ufffd[2J" in done.stdout
    assert "\ufffd[2J" in done.stderr
    assert "\x1b" not in done.output


def test_compare_reads_folders_and_runs(tmp_path: Path) -> None:
    tmp_path.joinpath("qrels").mkdir()
    tmp_path.joinpath("qrels", "dev.tsv").write_text("q\ta\t1\n")
    tmp_path.joinpath("queries.jsonl").write_text('{"_id": "q", "text": "red planet"}')
    tmp_path.joinpath("corpus.jsonl").write_text('{"_id": "a", "text": "the red planet"}\n{"_id": "b", "text": "blue"}')
    tmp_path.joinpath("my.run").write_text("q Q0 b 1 2 x\nq Q0 a 2 1 x\n")
    arguments = ["local/lexical", "--data", str(tmp_path), "--split", "dev", "--json"]
    for more, first in (["--rpm", "6000"], "a"), (["--run", str(tmp_path / "my.run")], "b"):
        outcomes = json.loads(run_compare(*arguments, *more).stdout)["outcomes"]
        assert outcomes["first_stage"]["q"]["ranking"][0] == first
        assert outcomes["local/lexical"]["q"]["ranking"] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "keyword"),
    [
        (["local/lexical", "local/lexical"], "two models have the same name"),
        (["nothing"], "provider"),
        (["local/lexical", "--data", "nowhere"], "cannot be read: FileNotFoundError"),
        (["local/lexical", "--baseline", "x"], "baseline must be one of"),
        (["local/lexical", "-k", "9" * 30], "k must be an integer from 1 to 1000"),
        (["local/lexical", "--split", "dev"], "--split and --run need a folder"),
        (["local/lexical", "--run", "my.run"], "--split and --run need a folder"),
    ],
)
def test_compare_with_invalid_arguments_prints_one_line(arguments: list[str], keyword: str) -> None:
    done = run_compare(*arguments)
    assert done.exit_code == 1
    assert keyword in done.stderr
    assert done.stderr.count("\n") == 1
