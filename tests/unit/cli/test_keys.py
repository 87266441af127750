"""`anyrerank keys` and `anyrerank db`, on the database of a gateway."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tests.support.keys import serving
from tests.unit.cli.running import error_of, run


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'keys.db'}"


def test_key_of_the_command_line_is_valid_at_a_gateway_that_runs(tmp_path: Path, url: str) -> None:
    with serving(tmp_path) as gateway:
        made = run("keys", "create", "--db", url, "--alias", "rag", "--model", "rerank", "--rpm", "5")
        key = made.stdout.strip()
        assert key.startswith("sk-")
        gateway.keyring.refresh()
        assert gateway.rerank(key).headers["x-ratelimit-limit-requests"] == "5"
        listed = run("keys", "list", "--db", url, columns=200).stdout
        assert "rag" in listed
        assert key not in listed
        assert "revoked sk-..." in run("keys", "revoke", "rag", "--db", url).stdout
        gateway.keyring.refresh()
        assert gateway.rerank(key).status_code == 401


def test_key_is_revoked_by_its_token_or_itself(url: str) -> None:
    for name in ("token", "key"):
        made = json.loads(run("keys", "create", "--db", url, "--json").stdout)
        assert run("keys", "revoke", made[name], "--db", url).exit_code == 0
    assert json.loads(run("keys", "list", "--db", url, "--json").stdout) == []


def test_wrong_values_are_one_line(url: str) -> None:
    assert "budget_duration" in error_of(run("keys", "create", "--db", url, "--budget-duration", "1y"))
    assert "no such key" in error_of(run("keys", "revoke", "sk-none", "--db", url))
    run("keys", "create", "--db", url, "--alias", "a")
    assert "key_alias" in error_of(run("keys", "create", "--db", url, "--alias", "a"))


@pytest.mark.parametrize(
    "url", ["nonsense", "mysterious://host/name", "sqlite://", "postgresql://u:pass-word@localhost:x/n"]
)
def test_wrong_url_is_one_line_without_the_password(url: str) -> None:
    assert "pass-word" not in error_of(run("keys", "list", "--db", url))


def test_database_is_that_of_the_environment_or_of_the_user(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    run("keys", "create", "--alias", "a")
    assert (tmp_path / "keys.db").exists()
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "state"))
    run("keys", "create", "--alias", "a")
    assert [path.name for path in (tmp_path / "state").rglob("*.db")] == ["anyrerank.db"]


def test_upgrade_makes_the_tables_and_may_be_repeated(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("db", "upgrade", "--db", url).stdout == "the database has version 1\n"
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        assert connection.execute("SELECT number FROM anyrerank_changes").fetchall() == [(0,)]
