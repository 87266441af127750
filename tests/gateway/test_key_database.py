"""The database of keys: its versions, and what happens when it cannot be used."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.keys import EACH, keyring_of, paid, serving
from tests.support.ledger_worker import listening

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.configuration import config_of_models, service_of
from anyrerank.gateway.keys import Database, Keyring, Store, migrating, opened, token_of
from anyrerank.gateway.keys.migrating import known_versions, migrate
from anyrerank.gateway.keys.tables import VERSION, metadata
from anyrerank.gateway.settings import settings_of
from anyrerank.ledger import LedgerError
from anyrerank.testing import StubServer


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'keys.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, of each kind."""
    return url_of(tmp_path) if request.param == "sqlite" else str(request.getfixturevalue("database_url"))


@contextmanager
def opened_at(url: str) -> Iterator[Database]:
    with closing(Database(url)) as database:
        yield database


def change(url: str, *statements: str) -> None:
    """Change the tables in a way that the code itself does not."""
    with opened_at(url) as database, database.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def settings(**given: Any) -> Any:
    return settings_of({"master_key": "sk-master", **given}, "test")


def test_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    with opened_at(url) as database, ExitStack() as stack:
        database.prepare()
        connection = stack.enter_context(database.begin())
        found = sa.inspect(connection)
        for table in metadata.sorted_tables:
            columns = {each["name"]: each for each in found.get_columns(table.name)}
            assert set(columns) == set(table.columns.keys())
            for column in table.columns:
                made = columns[column.name]
                expected = column.type.compile(connection.dialect)
                assert (str(made["type"]), made["nullable"]) == (expected, column.nullable), column
            assert found.get_pk_constraint(table.name)["constrained_columns"] == list(table.primary_key.columns.keys())


def test_creation_that_was_cut_short_is_finished(url: str, tmp_path: Path) -> None:
    with opened_at(url) as database:
        database.prepare()
        change(url, "DELETE FROM anyrerank_version", "DROP TABLE anyrerank_changes")
        database.prepare()
        secret, key = Store(database).create({}, 1.0)
    with closing(keyring_of(tmp_path, url=url)) as keyring:
        assert keyring.account(key.token) is not None
    assert secret.startswith("sk-")


def test_tables_are_made_while_no_other_process_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[str] = []

    def watched(connection: sa.Connection) -> None:
        for moment in ("before", "after"):
            with (
                closing(sqlite3.connect(tmp_path / "keys.db", timeout=0)) as other,
                pytest.raises(sqlite3.OperationalError, match="locked"),
            ):
                other.execute("BEGIN IMMEDIATE")
            locked.append(moment)
            if moment == "before":
                migrate(connection)

    monkeypatch.setattr(migrating, "migrate", watched)
    database = Database(url_of(tmp_path))
    database.prepare()
    assert (locked, database.version()) == (["before", "after"], VERSION)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("command", [("keys", "create"), ("db", "upgrade")])
def test_processes_that_start_together_make_the_tables_once(url: str, command: tuple[str, str]) -> None:
    program = [sys.executable, "-m", "anyrerank", *command, "--db", url]
    processes = [subprocess.Popen(program, stdout=subprocess.DEVNULL) for _ in range(3)]  # noqa: S603
    assert [each.wait(60) for each in processes] == [0] * 3
    with opened_at(url) as database:
        number, keys, _ = Store(database).all()
        assert (number, len(keys), database.version()) == ((3, 3, VERSION) if command[0] == "keys" else (0, 0, VERSION))


def test_keys_of_the_version_before_are_valid_after_an_upgrade(url: str, tmp_path: Path) -> None:
    with opened_at(url) as database:
        database.prepare()
        secret, _ = Store(database).create({"key_alias": "rag"}, 1.0)
        change(
            url,
            "ALTER TABLE anyrerank_keys DROP COLUMN first_token",
            "DROP TABLE anyrerank_deleted_keys",
            "UPDATE anyrerank_version SET version_num = '2'",
        )
        with pytest.raises(ConfigurationError, match="run `anyrerank db upgrade`"):
            database.prepare()
        change(url, "ALTER TABLE anyrerank_keys ADD COLUMN first_token VARCHAR(64)")  # an upgrade that was cut short
        assert database.upgrade() == VERSION
    with serving(tmp_path, url=url) as gateway:
        assert gateway.rerank(secret).status_code == 200
        assert gateway.post("/key/delete", key_aliases=["rag"]).status_code == 200


def test_version_of_this_release_is_the_newest_that_it_can_make() -> None:
    assert known_versions()[0] == VERSION


@pytest.mark.process
def test_database_that_is_up_to_date_needs_no_alembic(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path))
    database.prepare()
    database.close()
    code = (
        "import sys; from anyrerank.gateway.keys import Database; "
        f"Database({url_of(tmp_path)!r}).prepare(); print('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"  # noqa: S603


def test_unknown_version_is_refused_with_what_to_do(url: str) -> None:
    with opened_at(url) as database:
        database.prepare()
        change(url, "UPDATE anyrerank_version SET version_num = '999'")
        for work in (database.prepare, database.upgrade, lambda: opened(settings(database_url=url))):
            with pytest.raises(ConfigurationError, match="has version 999, which this release does not know: upgrade"):
                work()


def test_gateway_opens_the_database_that_it_is_given(tmp_path: Path) -> None:
    keyring = opened(settings(database_url=url_of(tmp_path)))
    assert keyring is not None
    config = config_of_models(["local/lexical"])
    assert service_of(config, keyring).access is keyring
    keyring.close()
    assert min(path.name for path in tmp_path.iterdir() if path.is_file()) == "keys.db"


def test_revoked_key_is_refused_although_the_ledger_cannot_be_read(url: str, tmp_path: Path) -> None:
    with serving(tmp_path, url=url) as gateway, opened_at(url) as database:
        changed, revoked = gateway.new_key(max_budget=1), gateway.new_key(key_alias="revoked")
        other = Store(database)
        other.update(token_of(changed), {"budget_duration": "1d"}, 1.0)
        other.delete([], ["revoked"], 1.0)
        change(url, "UPDATE anyrerank_keys SET created_at = 0", "ALTER TABLE anyrerank_calls RENAME TO away")
        with pytest.raises(LedgerError):
            gateway.keyring.refresh()
        assert [gateway.rerank(key).status_code for key in (changed, revoked)] == [200, 401]
        change(url, "ALTER TABLE away RENAME TO anyrerank_calls")
        gateway.keyring.refresh()
        assert gateway.get("/key/info", changed).json()["info"]["budget_reset_at"] is not None


def test_keys_and_spend_survive_a_restart(url: str, tmp_path: Path) -> None:
    with StubServer() as vendor:
        with serving(tmp_path, [paid(vendor.url)], url=url) as gateway:
            key = gateway.new_key(key_alias="rag", max_budget=2 * EACH, metadata={"a": 1})
            assert gateway.rerank(key, user="ann").status_code == 200
            assert gateway.post("/key/generate", key_alias="rag").status_code == 400
            changed = gateway.post("/key/update", key=key, metadata={"b": "\0"}).json()
            assert changed["metadata"] == {"a": 1, "b": "\0"}
        with serving(tmp_path, [paid(vendor.url)], url=url) as gateway:
            assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
            (row,) = gateway.get("/spend/keys").json()
            assert (row["key_alias"], row["spend"]) == ("rag", pytest.approx(2 * EACH))
            assert gateway.post("/key/block", key=key).status_code == 200
            assert gateway.rerank(key).status_code == 401
            gateway.post("/key/delete", keys=[key])
            assert gateway.get("/key/list").json()["total_count"] == 0


def test_names_that_a_database_refuses_are_unknown(url: str, tmp_path: Path) -> None:
    with serving(tmp_path, url=url) as gateway:
        assert gateway.post("/key/delete", key_aliases=["a\0"]).status_code == 404
        assert gateway.post("/customer/delete", user_ids=["a\0"]).status_code == 404
        assert gateway.get("/spend/logs", user_id="a\0").json() == []
        assert gateway.post("/key/generate", key_alias="a\0").status_code == 400


def test_end_user_that_is_made_twice_at_once_is_made_once(url: str) -> None:
    both = threading.Barrier(2, timeout=10)

    def wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO anyrerank_customers"):
            both.wait()

    with opened_at(url) as database, ThreadPoolExecutor(2) as threads:
        database.prepare()
        store = Store(database)
        with listening("before_cursor_execute", wait):
            made = [threads.submit(store.set_customer, {"user_id": "ann"}, new=True) for _ in range(2)]
            assert sorted(each.result() for each in made) == [False, True]


def test_database_that_was_asked_for_must_work(tmp_path: Path) -> None:
    url = url_of(tmp_path / "missing" / "folder")
    with pytest.raises(ConfigurationError, match=r"cannot be used: .*; check that its folder exists.*needs it"):
        opened(settings(database_url=url))


def test_gateway_may_start_without_its_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = url_of(tmp_path / "missing" / "folder")
    with caplog.at_level(logging.WARNING):
        assert opened(settings(database_url=url, allow_requests_on_db_unavailable=True)) is None
    assert "only the master key is valid, and nothing is recorded" in caplog.text


def test_gateway_starts_where_the_default_database_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for name in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert opened(settings()) is None
    assert "set database_url" in caplog.text
    with pytest.raises(ConfigurationError):
        opened(settings(trusted_networks={"10.0.0.0/8": "a"}))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "everyone", "10.0.0.0/33", ""])
def test_network_must_be_one(tmp_path: Path, network: str) -> None:
    with pytest.raises(ConfigurationError, match=r"trusted_networks: .* must be a network"):
        keyring_of(tmp_path, networks={network: "a"})


@pytest.mark.parametrize(
    ("address", "alias"),
    [
        ("10.1.2.3", "wide"),
        ("10.9.2.3", "narrow"),
        ("::ffff:10.1.2.3", "wide"),
        ("fd00::1", "six"),
        ("11.1.2.3", None),
        ("::1", None),
        ("unix", None),
        (None, None),
    ],
)
def test_smallest_network_decides(tmp_path: Path, address: str | None, alias: str | None) -> None:
    networks = {"10.0.0.0/8": "wide", "10.9.0.0/16": "narrow", "fd00::/8": "six"}
    keyring = keyring_of(tmp_path, networks=networks)
    client = None if address is None else (address, 1)
    assert keyring._networks.alias({"type": "http", "client": client}) == alias
    assert isinstance(keyring, Keyring)
