"""`anyrerank keys` and `anyrerank db`, on the database of a gateway."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.support.keys import serving
from tests.support.ledger_worker import call, tried
from tests.unit.cli.running import error_of, run

from anyrerank.gateway.keys import token_of
from anyrerank.gateway.keys.tables import VERSION
from anyrerank.ledger import Ledger


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


def test_list_in_a_file_breaks_no_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    alias, models = "team-" + "a" * 60, [f"model-{number}-{'b' * 20}" for number in range(20)]
    run("keys", "create", "--db", url, "--alias", alias, *(each for name in models for each in ("--model", name)))
    (row,) = (line for line in run("keys", "list", "--db", url).stdout.splitlines() if alias in line)
    assert ", ".join(models) in row


@pytest.mark.parametrize("by", ["alias", "token", "key"])
def test_key_is_changed_blocked_and_regenerated_by_any_of_its_names(tmp_path: Path, url: str, by: str) -> None:
    with serving(tmp_path) as gateway:

        def status(key: str) -> int:
            gateway.keyring.refresh()
            return gateway.rerank(key).status_code

        made = json.loads(run("keys", "create", "--db", url, "--alias", "rag", "--rpm", "5", "--json").stdout)
        key = made["key"]
        name = {"alias": "rag", **made}[by]
        assert run("keys", "update", name, "--tpm", "9000", "--end-user", "ann", "--db", url).exit_code == 0
        (shown,) = json.loads(run("keys", "list", "--db", url, "--json").stdout)
        assert (shown["rpm_limit"], shown["tpm_limit"], shown["metadata"]) == (5, 9000, {"end_user": "ann"})
        assert run("keys", "block", name, "--db", url).stdout.startswith("blocked sk-...")
        assert status(key) == 401
        assert run("keys", "unblock", name, "--db", url).exit_code == 0
        assert status(key) == 200
        new = run("keys", "regenerate", name, "--db", url).stdout.strip()
        assert (status(key), status(new)) == (401, 200)
    for command in ("update", "block", "unblock", "regenerate", "revoke"):
        option = ("--rpm", "1") if command == "update" else ()
        assert "there is no such key" in error_of(run("keys", command, "nothing", *option, "--db", url))


def test_keys_without_an_alias_are_told_apart_by_their_tokens(url: str) -> None:
    run("keys", "create", "--db", url, "--alias", "rag")
    assert "--json" not in run("keys", "list", "--db", url).stdout
    run("keys", "create", "--db", url)
    assert "--json" in run("keys", "list", "--db", url).stdout


def test_key_is_revoked_by_its_token_or_itself(url: str) -> None:
    for name in ("token", "key"):
        made = json.loads(run("keys", "create", "--db", url, "--json").stdout)
        assert run("keys", "revoke", made[name], "--db", url).exit_code == 0
    assert json.loads(run("keys", "list", "--db", url, "--json").stdout) == []


@pytest.mark.parametrize(("master_key", "is_said"), [("", True), ("sk-master", False)])
def test_new_key_needs_a_master_key_to_count(
    url: str, master_key: str, *, is_said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", master_key)
    made = run("keys", "create", "--db", url)
    assert made.stdout.startswith("sk-")
    assert ("set LITELLM_MASTER_KEY" in made.stderr) == is_said


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
        assert run("db", "upgrade", "--db", url).stdout == f"the database has version {VERSION}\n"
    with closing(sqlite3.connect(tmp_path / "keys.db")) as connection, connection:
        assert connection.execute("SELECT number FROM anyrerank_changes").fetchall() == [(0,)]


def test_list_shows_what_is_spent_and_when_the_budget_starts_anew(url: str, tmp_path: Path) -> None:
    budget = ("--max-budget", "2", "--budget-duration", "1d")
    made = run("keys", "create", "--db", url, "--alias", "rag", *budget)
    tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).date().isoformat()
    assert made.stderr.startswith(f"its budget starts anew at {tomorrow}T00:00:00+00:00\n")
    run("keys", "create", "--db", url, "--alias", "free")
    tag = f"key:{token_of(made.stdout.strip())[:16]}"
    with Ledger(url, spool=tmp_path / "spool") as ledger:
        now = time.time()
        ledger(call("ann", [tried(cost=0.5)], started=now, metadata={"tags": [tag]}))
        ledger(call("ann", [tried(cost=8.0)], started=now - 2 * 86_400, metadata={"tags": [tag]}))
    listed = run("keys", "list", "--db", url, columns=300).stdout
    assert "$0.50" in listed
    assert f"{tomorrow} 00:00" in run("keys", "list", "--db", url, columns=100).stdout
    shown = {each["key_alias"]: each for each in json.loads(run("keys", "list", "--db", url, "--json").stdout)}
    assert (shown["rag"]["spend"], shown["free"]["spend"]) == (0.5, 0.0)
    assert shown["free"]["budget_reset_at"] is None


def test_spend_finds_the_ledger_of_the_gateway_and_names_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    assert "--db" in error_of(run("spend"))
    key = run("keys", "create", "--alias", "rag").stdout.strip()
    (database,) = (tmp_path / "state").rglob("*.db")
    tag = f"key:{token_of(key)[:16]}"
    with Ledger(database) as ledger:
        ledger(call("ann", [tried(cost=0.5)], metadata={"tags": [tag, "mine"]}))
    result = run("spend", "--by", "key", columns=200)
    assert result.exit_code == 0
    assert result.stderr == f"the ledger is {database}\n"
    assert "rag" in result.stdout
    assert "mine" not in result.stdout
    assert f"{tag} (rag)" in run("spend", "--by", "tag", columns=200).stdout
    (row,) = json.loads(run("spend", "--by", "key", "--json").stdout)["spend"]
    assert row["group"] == {"key": "rag"}
    run("keys", "revoke", "rag")
    run("keys", "create", "--alias", "rag")
    (row,) = json.loads(run("spend", "--by", "key", "--json").stdout)["spend"]
    assert row["group"] == {"key": "rag (revoked)"}


def test_spend_of_a_key_without_an_alias_has_the_name_of_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'keys.db'}")
    key = run("keys", "create").stdout.strip()
    with Ledger(tmp_path / "keys.db") as ledger:
        ledger(call("ann", [tried(cost=0.5)], metadata={"tags": [f"key:{token_of(key)[:16]}"]}))
    (row,) = json.loads(run("spend", "--by", "key", "--json").stdout)["spend"]
    assert row["group"] == {"key": f"sk-...{key[-4:]}"}
    assert row["group"]["key"] in run("keys", "list", columns=200).stdout


def test_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr("anyrerank.gateway.keys.location.state_folder", lambda: tmp_path / "file")
    shown = error_of(run("keys", "list"))
    assert f"the folder {tmp_path / 'file' / 'anyrerank'} for the database cannot be made (" in shown
    assert "DATABASE_URL" in shown


def test_database_that_is_not_supported_is_named_with_those_that_are() -> None:
    shown = error_of(run("keys", "list", "--db", "mysql://me:pass-word@host/name"))
    assert "mysql is not supported: only sqlite:///path and postgresql://" in shown
    assert "pass-word" not in shown


def test_postgresql_without_its_driver_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'anyrerank[postgres]'" in error_of(run("keys", "list", "--db", "postgresql://host/name"))
