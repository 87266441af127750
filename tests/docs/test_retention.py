"""The SQL of the page about deployment deletes what it says, and budgets count what is left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import psycopg
import pytest
from tests.support.keys import EACH, paid, serving
from tests.support.ledger_worker import DAY, call
from tests.support.pages import ROOT, blocks

from anyrerank.ledger import Ledger
from anyrerank.testing import StubServer

OLD, NAMELESS = blocks(ROOT / "docs" / "deployment.md", "sql")
FIRST_DAY = datetime(2026, 8, 1, tzinfo=timezone.utc).timestamp()
"""The first day that the page keeps."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that is empty at first."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'spend.db'}"
    return str(request.getfixturevalue("database_url"))


def execute(url: str, script: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script.encode())


def test_calls_before_a_day_are_deleted_with_their_tags(url: str, tmp_path: Path) -> None:
    with Ledger(url, spool=tmp_path / "spool") as ledger:
        for started in (FIRST_DAY - DAY, FIRST_DAY - 1, FIRST_DAY):
            ledger(call("ann", started=started, metadata={"tags": ["key:a"]}))
        ledger.flush()
        execute(url, OLD)
        assert [(spend.group["day"], spend.calls) for spend in ledger.spend("day")] == [("2026-08-01", 1)]
        assert [(spend.group["tag"], spend.calls) for spend in ledger.spend("tag")] == [("key:a", 1)]


def test_end_user_is_forgotten_and_its_calls_are_not(url: str, tmp_path: Path) -> None:
    with Ledger(url, spool=tmp_path / "spool") as ledger:
        for user in ("ann", "ben"):
            ledger(call(user, metadata={"tags": ["key:a"]}))
        ledger.flush()
        execute(url, NAMELESS)
        assert {spend.group["user"]: spend.calls for spend in ledger.spend("user")} == {None: 1, "ben": 1}
        assert ledger.total(tag="key:a") == 2 * EACH


DONE: dict[str, tuple[str, tuple[float, float]]] = {
    "nothing": ("", (EACH, EACH)),
    "the name is removed": (NAMELESS, (EACH, 0.0)),
    "all is deleted": (OLD.replace("2026-08-01", "9999-01-01"), (0.0, 0.0)),
}
"""What the key and the end user have spent after a restart."""


@pytest.mark.parametrize(("script", "spent"), DONE.values(), ids=DONE.keys())
def test_budgets_without_a_window_count_what_is_left_after_a_restart(
    script: str, spent: tuple[float, float], tmp_path: Path
) -> None:
    with StubServer() as vendor:
        with serving(tmp_path, [paid(vendor.url)]) as gateway:
            key = gateway.new_key(max_budget=1)
            gateway.post("/customer/new", user_id="ann", max_budget=1)
            assert gateway.rerank(key, user="ann").status_code == 200
            gateway.keyring.ledger.flush()
            execute(f"sqlite:///{tmp_path / 'keys.db'}", script)
            assert gateway.get("/key/info", key).json()["info"]["spend"] == EACH
        with serving(tmp_path, [paid(vendor.url)]) as gateway:
            of_key = gateway.get("/key/info", key).json()["info"]["spend"]
            of_user = gateway.get("/customer/info", end_user_id="ann").json()["spend"]
    assert (of_key, of_user) == spent
