"""`anyrerank check` for a file: what a gateway needs besides its providers, and what is probably a mistake."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway import entry
from tests.unit.cli.running import error_of, run

from anyrerank.gateway.keys import Database

PASSWORD = "hunter2-4Fq8"
DEAD = {
    "database_url": f"postgresql://user:{PASSWORD}@127.0.0.1:1/name",
    "redis_url": f"redis://:{PASSWORD}@127.0.0.1:1/0",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def file_of(folder: Path, *models: dict[str, Any], **sections: Any) -> str:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": models or [entry("rerank")], **sections}), encoding="utf-8")
    return str(path)


def test_missing_extras_are_named_in_one_command_by_check_and_by_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("psycopg", "redis"):
        monkeypatch.setitem(sys.modules, library, None)
    path = file_of(tmp_path, anyrerank_settings=DEAD)
    checked = run("check", path, columns=200)
    assert checked.exit_code == 1
    command = "pip install 'anyrerank[gateway,postgres,redis]'"
    for shown in (checked.stdout, error_of(run("serve", "--config", path, "--port", "0"))):
        assert command in shown
        assert PASSWORD not in shown


@pytest.mark.parametrize("option", ["--connect", "--call"])
def test_server_that_does_not_answer_is_an_error_if_it_is_connected_to(tmp_path: Path, option: str) -> None:
    path = file_of(tmp_path, anyrerank_settings=DEAD)
    named = run("check", path, columns=200)
    assert named.exit_code == 0
    assert "database: postgresql+psycopg://user:***@127.0.0.1:1/name" in named.stdout
    assert "redis: redis://127.0.0.1:1/0" in named.stdout
    tried = run("check", path, option, columns=200)
    assert tried.exit_code == 1
    assert "error: database: the database postgresql+psycopg://user:***@127.0.0.1:1/name cannot be used" in tried.stdout
    assert "error: redis: Redis at redis://127.0.0.1:1/0 cannot be used" in tried.stdout
    assert PASSWORD not in named.output + tried.output


def test_dead_database_that_the_gateway_may_do_without_is_a_warning(tmp_path: Path) -> None:
    general = {"database_url": DEAD["database_url"], "allow_requests_on_db_unavailable": True}
    tried = run("check", file_of(tmp_path, general_settings=general), "--connect", columns=200)
    assert tried.exit_code == 0
    assert "warning: database: " in tried.stdout


def test_connecting_to_a_file_makes_none_and_checks_the_version_of_another(tmp_path: Path) -> None:
    database = tmp_path / "keys.db"
    path = file_of(tmp_path, general_settings={"database_url": f"sqlite:///{database}"})
    assert "does not exist yet" in run("check", path, "--connect", columns=300).stdout
    assert not database.exists()
    made = Database(f"sqlite:///{database}")
    made.prepare()
    assert run("check", path, "--connect").exit_code == 0
    with made.begin() as connection:
        connection.exec_driver_sql("UPDATE anyrerank_version SET version_num = '999'")
    made.close()
    tried = run("check", path, "--connect", columns=300)
    assert tried.exit_code == 1
    assert "has version 999, which this release does not know" in tried.stdout


def test_default_database_is_named_and_not_made(tmp_path: Path) -> None:
    shown = run("check", file_of(tmp_path), "--connect", columns=300)
    assert shown.exit_code == 0
    assert "anyrerank.db (the default)" in shown.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]


def test_deployments_of_one_model_are_told_apart(tmp_path: Path) -> None:
    models = [
        entry("rerank", "cohere/rerank-v3.5", api_key="first-key", api_base="http://one.example"),
        entry("rerank", "cohere/rerank-v3.5", api_key="second-key", api_base="http://two.example"),
        {**entry("rerank", "cohere/rerank-v3.5", api_key="third-key"), "model_info": {"id": "account-b"}},
    ]
    lines = [line for line in run("check", file_of(tmp_path, *models), columns=200).stdout.splitlines() if "$2" in line]
    ids, addresses = zip(*((line.split()[2], line.split()[3]) for line in lines), strict=True)
    assert ids == ("rerank-1", "rerank-2", "account-b")
    assert addresses == (
        "http://one.example/v2/rerank",
        "http://two.example/v2/rerank",
        "https://api.cohere.com/v2/rerank",
    )


def test_routing_and_budgets_of_the_file_are_shown(tmp_path: Path) -> None:
    litellm = {
        "fallbacks": [{"rerank": ["spare"]}],
        "cache": True,
        "max_budget": 5,
        "budget_duration": "1d",
        "max_end_user_budget": 0.5,
    }
    router = {"routing_strategy": "least-busy"}
    path = file_of(tmp_path, entry("rerank"), entry("spare"), litellm_settings=litellm, router_settings=router)
    shown = run("check", path, columns=200).stdout
    for line in (
        "routing: least-busy",
        "fallbacks of rerank: spare",
        "cache: MemoryCache(",
        "budget of the whole gateway: $5.00 for 1d",
        "budget of each end user: $0.50",
        "redis: none",
    ):
        assert line in shown


@pytest.mark.parametrize(
    ("budget", "warned"),
    [
        ({"max_end_user_budget": 1}, "calls with an end user are refused"),
        ({"max_budget": 1}, "calls are refused"),
        ({}, ""),
    ],
)
def test_model_without_a_price_under_a_budget_is_warned_of(tmp_path: Path, budget: dict[str, Any], warned: str) -> None:
    models = [
        entry("priced", "cohere/rerank-v3.5", api_key="k"),
        entry("new", "cohere/new", api_key="k"),
        entry("free"),
    ]
    shown = run("check", file_of(tmp_path, *models, litellm_settings=budget), columns=400)
    warnings = [line for line in shown.stdout.splitlines() if line.startswith("warning: ")]
    assert shown.exit_code == 0
    assert [warned in line and "new (cohere/new)" in line for line in warnings] == [True] * bool(warned)


@pytest.mark.parametrize(("key", "is_short"), [("sk-1234", True), ("sk-master-4Fq8Zr1uXw", False)])
def test_short_master_key_is_warned_of_without_showing_it(tmp_path: Path, key: str, is_short: bool) -> None:
    shown = run("check", file_of(tmp_path, general_settings={"master_key": key}), columns=200)
    assert ("may be guessed" in shown.stdout) == is_short
    assert key not in shown.output
