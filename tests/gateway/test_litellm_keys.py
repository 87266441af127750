"""Keys of a LiteLLM proxy, taken over from its database: valid here with the limits that they had, or left out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from tests.support.gateway import entry
from tests.support.keys import Running, serving
from tests.unit.cli.running import error_of, run

from anyrerank.gateway.keys import Database

TABLES = (
    """CREATE TABLE "LiteLLM_VerificationToken" (
        token TEXT PRIMARY KEY, key_name TEXT, key_alias TEXT, soft_budget_cooldown BOOLEAN NOT NULL DEFAULT false,
        spend DOUBLE PRECISION NOT NULL DEFAULT 0.0, expires TIMESTAMP(3), models TEXT[],
        aliases JSONB NOT NULL DEFAULT '{}', config JSONB NOT NULL DEFAULT '{}', user_id TEXT, team_id TEXT,
        permissions JSONB NOT NULL DEFAULT '{}', max_parallel_requests INTEGER,
        metadata JSONB NOT NULL DEFAULT '{}', blocked BOOLEAN, tpm_limit BIGINT, rpm_limit BIGINT,
        max_budget DOUBLE PRECISION, budget_duration TEXT, budget_reset_at TIMESTAMP(3),
        allowed_cache_controls TEXT[] DEFAULT ARRAY[]::TEXT[], allowed_routes TEXT[] DEFAULT ARRAY[]::TEXT[],
        model_spend JSONB NOT NULL DEFAULT '{}', model_max_budget JSONB NOT NULL DEFAULT '{}', budget_id TEXT,
        created_at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP, created_by TEXT)""",
    """CREATE TABLE "LiteLLM_UserTable" (
        user_id TEXT PRIMARY KEY, max_budget DOUBLE PRECISION, spend DOUBLE PRECISION NOT NULL DEFAULT 0.0,
        models TEXT[], rpm_limit BIGINT, budget_duration TEXT, metadata JSONB)""",
)
JSON_COLUMNS = {"metadata", "model_max_budget", "permissions"}
YESTERDAY, TOMORROW = (datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(days=each) for each in (-1, 1))


def secret(alias: str) -> str:
    return f"sk-{alias}-4Fq8Zr1uXw"


def row(alias: str, **columns: Any) -> dict[str, Any]:
    token = hashlib.sha256(secret(alias).encode()).hexdigest()
    return {"token": token, "key_name": f"sk-...{secret(alias)[-4:]}", "key_alias": alias, **columns}


class LiteLLM:
    """The database of a LiteLLM proxy."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(url)
        with self._database.begin() as connection:
            for statement in TABLES:
                connection.exec_driver_sql(statement)

    def add(self, table: str, **columns: Any) -> None:
        json_ = {name: sa.cast(columns[name], JSONB) for name in columns.keys() & JSON_COLUMNS}
        where = sa.table(table, *map(sa.column, columns))
        with self._database.begin() as connection:
            connection.execute(sa.insert(where).values(**{**columns, **json_}))

    def key(self, alias: str, **columns: Any) -> None:
        self.add("LiteLLM_VerificationToken", **row(alias, **columns))

    def close(self) -> None:
        self._database.close()


@pytest.fixture
def litellm(database_url: str) -> Iterator[LiteLLM]:
    with closing(LiteLLM(database_url)) as found:
        yield found


@pytest.fixture
def gateway(litellm: LiteLLM, tmp_path: Path) -> Iterator[Running]:
    """A gateway whose tables are in the database of LiteLLM."""
    with serving(tmp_path, [entry("rerank"), entry("other")], url=litellm.url) as found:
        yield found


def test_key_of_litellm_is_valid_with_what_it_may_do(litellm: LiteLLM, gateway: Running) -> None:
    litellm.key(
        "rag",
        models=["rerank"],
        rpm_limit=2,
        tpm_limit=9000,
        max_parallel_requests=3,
        max_budget=20.0,
        budget_duration="30d",
        spend=7.0,
        expires=TOMORROW,
        user_id="u",
        metadata={"note": "mine"},
    )
    litellm.key("stopped", blocked=True)
    imported = run("keys", "import", "--db", litellm.url)
    assert imported.stdout == "2 of 2 keys were taken over\n", repr(imported.exception)
    gateway.keyring.refresh()

    assert gateway.rerank(secret("rag")).status_code == 200
    assert gateway.rerank(secret("rag"), model="other").status_code == 403
    info = gateway.get("/key/info", secret("rag")).json()["info"]
    assert {name: info[name] for name in ("key_alias", "rpm_limit", "tpm_limit", "max_parallel_requests")} == {
        "key_alias": "rag",
        "rpm_limit": 2,
        "tpm_limit": 9000,
        "max_parallel_requests": 3,
    }
    assert (info["max_budget"], info["budget_duration"], info["spend"]) == (20.0, "30d", 0.0)
    assert info["metadata"] == {"note": "mine", "user_id": "u"}
    assert info["expires"].startswith(TOMORROW.isoformat(timespec="seconds"))
    assert "blocked" in gateway.rerank(secret("stopped")).json()["message"]


def test_budget_that_never_starts_anew_is_what_is_left(litellm: LiteLLM, gateway: Running) -> None:
    litellm.key("some", max_budget=20.0, spend=19.5)
    litellm.key("none", max_budget=1.0, spend=5.0)
    run("keys", "import", "--db", litellm.url)
    gateway.keyring.refresh()
    budgets = [gateway.get("/key/info", secret(each)).json()["info"]["max_budget"] for each in ("some", "none")]
    assert budgets == [0.5, 0.0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"team_id": "search"}, "team_id is not supported"),
        ({"budget_id": "b"}, "budget_id is not supported"),
        ({"allowed_routes": ["/rerank"]}, "allowed_routes is not supported"),
        ({"model_max_budget": {"rerank": 1}}, "model_max_budget is not supported"),
        ({"permissions": {"a": True}}, "permissions is not supported"),
        ({"metadata": {"model_rpm_limit": {"rerank": 1}}}, "metadata.model_rpm_limit is not supported"),
        ({"metadata": "text"}, "metadata is not an object"),
        ({"models": ["all-team-models"]}, "all-team-models is not supported"),
        ({"budget_duration": "soon"}, "budget_duration: "),
        ({"user_id": "poor"}, "its user has a budget"),
        ({"user_id": "narrow"}, "its user has a budget, a list of models"),
        ({"user_id": "guarded"}, "its user has a budget"),
        ({"expires": YESTERDAY}, "it has expired"),
        ({"token": "a-key-in-clear"}, "not the SHA-256"),
    ],
)
def test_key_that_could_do_more_here_is_left_out(
    litellm: LiteLLM, gateway: Running, columns: dict[str, Any], reason: str
) -> None:
    litellm.add("LiteLLM_UserTable", user_id="poor", max_budget=1.0, models=[])
    litellm.add("LiteLLM_UserTable", user_id="narrow", models=["rerank"])
    litellm.add("LiteLLM_UserTable", user_id="guarded", models=[], metadata={"guardrails": ["no-email"]})
    litellm.add("LiteLLM_UserTable", user_id="rich", models=["all-proxy-models"], metadata={"note": "mine"})
    litellm.key("limited", **columns)
    litellm.key("free", user_id="rich")
    shown = run("keys", "import", "--db", litellm.url).stdout
    assert "left out: limited: " in shown
    assert reason in shown
    assert "1 of 2 keys were taken over" in shown
    assert "a-key-in-clear" not in shown
    gateway.keyring.refresh()
    assert gateway.rerank(secret("limited")).status_code == 401
    assert gateway.rerank(secret("free")).status_code == 200


def test_keys_are_taken_over_once_and_into_another_database(litellm: LiteLLM, tmp_path: Path) -> None:
    litellm.key("rag")
    own = f"sqlite:///{tmp_path / 'keys.db'}"
    assert "1 of 1" in run("keys", "import", "--from", litellm.url, "--db", own).stdout
    again = run("keys", "import", "--from", litellm.url, "--db", own).stdout
    assert "left out: rag: there is such a key already" in again
    with serving(tmp_path) as gateway:
        assert gateway.rerank(secret("rag")).status_code == 200


def test_database_without_the_table_is_named(tmp_path: Path) -> None:
    shown = error_of(run("keys", "import", "--db", f"sqlite:///{tmp_path / 'keys.db'}"))
    assert "has no table LiteLLM_VerificationToken: name that of LiteLLM with --from" in shown
