"""`anyrerank spend`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.support.ledger_worker import NOON, call, tried
from tests.unit.cli.running import error_of, run
from typer.testing import Result

from anyrerank.ledger import Ledger


def spend(*arguments: str) -> Result:
    return run("spend", *arguments, columns=200)


@pytest.fixture
def db(tmp_path: Path) -> str:
    """A ledger with four calls, one of them with an unknown cost."""
    path = str(tmp_path / "spend.db")
    with Ledger(path) as ledger:
        ledger(call("ann", [tried(cost=0.5)], metadata={"tags": ["rag", "beta"]}))
        ledger(call("ann", [tried("voyage/rerank-2", cost=1.25)], started=NOON + 86_400, model_group="best"))
        ledger(call("bob|eve", [tried(cost=None)]))
        ledger(call(None, [tried(cost=0.25)]))
    return path


def cells(result: Result) -> list[list[str]]:
    """The words of each line of the table, without drawn lines."""
    assert result.exit_code == 0
    return [line.split() for line in result.stdout.partition("\n\n")[0].splitlines() if line.strip(" ─")]


def test_spend_sorts_by_cost_and_adds_a_total(db: str) -> None:
    result = spend("--db", db, "--by", "user")
    head, *rows, total = cells(result)[:5]
    assert head[:4] == ["cost", "user", "calls", "requests"]
    assert [row[:3] for row in rows] == [
        ["$1.750000", "ann", "2"],
        ["$0.250000", "(none)", "1"],
        ["unknown+", "bob|eve", "1"],
    ]
    assert total[:3] == ["$2.000000+", "total", "4"]
    shown = " ".join(result.stdout.split())
    assert "+ the cost of 1" in shown
    assert "for a gateway, set input_cost_per_query or input_cost_per_token in litellm_params" in shown


def test_spend_by_date_is_by_day(db: str) -> None:
    by_date, by_day = (spend("--db", db, "--by", name).stdout for name in ("date", "day"))
    assert by_date == by_day


def test_spend_by_another_grouping_names_all_of_them(db: str) -> None:
    shown = error_of(spend("--db", db, "--by", "team"))
    assert "--by must be one of user, model, deployment, tag, day, provider, key, date, got 'team'" in shown


def test_spend_by_default_groups_by_user_and_model(db: str) -> None:
    head, first, *_ = cells(spend("--db", db))
    assert head[:3] == ["cost", "user", "model"]
    assert first[:4] == ["$1.250000", "ann", "best", "1"]


@pytest.mark.parametrize("columns", [100, 119, 140])
def test_spend_in_a_narrow_terminal_shows_the_cost_and_names_what_it_leaves_out(db: str, columns: int) -> None:
    result = run("spend", "--db", db, "--by", "user", "--by", "model", "--by", "tag", columns=columns)
    head, first, *_ = cells(result)
    assert (head[0], first[0]) == ("cost", "$1.250000")
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert "saved" in " ".join(head) or "not shown" in result.stdout


@pytest.mark.parametrize(
    ("filters", "calls"),
    [
        (["--user", "ann"], 2),
        (["--tag", "rag"], 1),
        (["--model", "best"], 1),
        (["--since", "2026-11-02"], 1),
        (["--until", "2026-11-01"], 3),
        (["--since", "2026-11-01", "--until", "2026-11-02"], 4),
        (["--user", "nobody"], 0),
    ],
)
def test_spend_with_filters_counts_the_matching_calls(db: str, filters: list[str], calls: int) -> None:
    answer = json.loads(spend("--db", db, "--by", "day", "--json", *filters).stdout)
    assert answer["total"]["calls"] == calls
    assert sum(each["calls"] for each in answer["spend"]) == calls


def test_spend_with_json_has_null_for_an_unknown_cost(db: str) -> None:
    answer = json.loads(spend("--db", db, "--by", "user", "--json").stdout)
    assert [(each["group"], each["cost"], each["unknown"]) for each in answer["spend"]] == [
        ({"user": "ann"}, 1.75, 0),
        ({"user": None}, 0.25, 0),
        ({"user": "bob|eve"}, None, 1),
    ]
    assert (answer["total"]["cost"], answer["total"]["unknown"]) == (2.0, 1)


def test_spend_with_markdown_prints_a_table(db: str) -> None:
    lines = spend("--db", db, "--by", "tag", "--by", "user", "--markdown").stdout.splitlines()
    assert lines[0].startswith("| tag | user | calls |")
    assert lines[2].startswith("| (none) | ann | 1 |")
    assert any(line.startswith("| (none) | bob\\|eve | 1 |") for line in lines)
    assert any(line.startswith("| total |  | 4 |") for line in lines)
    assert "several tags" in lines[-1]


@pytest.mark.parametrize("format_", [[], ["--markdown"]])
def test_spend_replaces_control_characters(tmp_path: Path, format_: list[str]) -> None:
    path = str(tmp_path / "spend.db")
    with Ledger(path) as ledger:
        ledger(call("ann\x1b[2J\nbob", [tried(cost=0.5)], metadata={"tags": ["a\x07\tb"]}))
    shown = spend("--db", path, "--by", "user", "--by", "tag", *format_).stdout
    (line,) = [each for each in shown.splitlines() if "ann" in each]
    assert "ann\ufffd[2J\ufffdbob" in line
    assert "a\ufffd\ufffdb" in line
    assert not [each for each in ("\x1b", "\x07", "\t") if each in shown]
    raw = json.loads(spend("--db", path, "--by", "user", "--json").stdout)
    assert raw["spend"][0]["group"] == {"user": "ann\x1b[2J\nbob"}


@pytest.mark.parametrize(
    ("arguments", "keyword"),
    [
        (["--db", "missing.db"], "ledger"),
        (["--db", "missing/spend.db"], "folder"),
        (["--db", "other.db"], "other.db"),
        (["--db", "nosuch://user:pass-Word-1@host/name"], "nosuch"),
        (["--db", "other.db", "--by", "mode"], "'mode'"),
        (["--since", "yesterday"], "--since must be a day such as 2026-11-01, got 'yesterday'"),
        (["--since", "2026-02-30"], "--since must be a day"),
        (["--since", "20261101"], "--since must be a day"),
        (["--since", "2026-W45-1"], "--since must be a day"),
        (["--until", "9999-12-31"], "--until must be a day"),
        (["--user", "\udcff"], "--user must be valid UTF-8"),
        (["--tag", "\udcff"], "--tag must be valid UTF-8"),
        (["--model", "\udcff"], "--model must be valid UTF-8"),
    ],
)
def test_spend_with_invalid_arguments_prints_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], keyword: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.db").touch()
    error = error_of(spend(*arguments))
    assert keyword in error
    assert "pass-Word-1" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    assert (tmp_path / "other.db").stat().st_size == 0


def test_spend_with_csv_has_a_line_for_each_group_and_no_cost_where_it_is_unknown(tmp_path: Path) -> None:
    path = str(tmp_path / "spend.db")
    with Ledger(path) as ledger:
        ledger(call('ann, "the first"', [tried(cost=0.1)]))
        ledger(call('ann, "the first"', [tried(cost=0.2)]))
        ledger(call(None, [tried(cost=None)]))
    first, second = csv.DictReader(spend("--db", path, "--by", "user", "--by", "date", "--csv").stdout.splitlines())
    assert (first["user"], first["day"], first["calls"], first["cost"]) == (
        'ann, "the first"',
        "2026-11-01",
        "2",
        "0.3",
    )
    assert (second["user"], second["cost"], second["unknown"]) == ("", "", "1")


def test_spend_has_no_error_of_binary_fractions(tmp_path: Path) -> None:
    path = str(tmp_path / "spend.db")
    with Ledger(path) as ledger:
        for _ in range(92):
            ledger(call("ann", [tried(cost=0.002)]))
    assert '"cost": 0.184,' in spend("--db", path, "--by", "user", "--json").stdout
