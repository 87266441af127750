"""Databases, spools and arguments that a ledger accepts or refuses."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.ledger_worker import NEVER, call, listening, users

from anyrerank import ConfigurationError
from anyrerank.ledger import Ledger

STATE = ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA")


def no_database(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("These are notes, not a database. " * 100)
    return path


def other_version(folder: Path) -> Path:
    path = folder / "old.db"
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE anyrerank_ledger SET version = 99")
    return path


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: folder / "missing" / "spend.db", "folder .* does not exist"),
        (lambda folder: folder, "unable to open database file"),
        (no_database, "not a database"),
        (other_version, "version 99, expected 1"),
        (lambda folder: "", "in memory"),
        (lambda folder: ":memory:", "in memory"),
        (lambda folder: "sqlite://", "in memory"),
        (lambda folder: "://pass-Word-1", "must have the form"),
        (lambda folder: "postgresql://user:pass-Word-1@host:port/name", "number as port"),
        (lambda folder: "postgresql://user:pa@pass-Word-1:pass-Word-1@host/name", "@ as %40"),
        (lambda folder: "postgresql+psycopg://user:p@pass-Word-1@host/name", "more than one @"),
        (lambda folder: "postgresql+psycopg://user:p@ss/pass-Word-1@host/name", "more than one @"),
        (lambda folder: f"sqlite:///{folder}/x.db?timeout=pass-Word-1", "option"),
        (lambda folder: None, "url .* NoneType"),
        (lambda folder: 5, "url .*str"),
        (lambda folder: b"x.db", "url .*str"),
        (lambda folder: sa.make_url("sqlite:///x.db"), "url .* URL"),
        (lambda folder: "pass-Word-1\0.db", "NUL"),
        (lambda folder: "pass-Word-1\ud800.db", "surrogate"),
        (lambda folder: "nosuch://user:pass-Word-1@host/name", "no .*driver.* nosuch"),
        (lambda folder: "postgresql+asyncpg://user:pass-Word-1@host/name", "asynchronous"),
    ],
)
def test_invalid_database_is_refused_without_its_password(tmp_path: Path, make: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Ledger(make(tmp_path))
    assert "pass-Word-1" not in f"{caught.value!r}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("interval", value) for value in ("a", -1, 0, math.inf, math.nan, None, True)),
        *(("lock_timeout", value) for value in ("a", -1, math.inf, math.nan, None)),
        *(("spool", value) for value in (5, b"x", "a\0", "\ud800")),
    ],
)
def test_invalid_argument_is_named_and_creates_nothing(db: Path, option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        Ledger(db, **{option: value})
    assert list(db.parent.iterdir()) == []


def test_interval_may_be_longer_than_any_wait(db: Path) -> None:
    with Ledger(db, interval=1e300) as ledger:
        ledger(call("ann"))
    assert users(db) == ["ann"]


def test_error_of_a_driver_shows_neither_user_nor_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError) as caught:
        Ledger("postgresql+psycopg://some%40body:pass%2FWord@127.0.0.1:1/db?application_name=pass", spool=tmp_path)
    assert "postgresql+psycopg://127.0.0.1:1/db" in str(caught.value)
    for secret in ("body", "pass", "Word", "***"):
        assert secret not in f"{caught.value!r}"


def test_error_that_quotes_the_password_is_replaced_by_its_class(db: Path) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("no user has the password pass-Word-1")

    with listening("do_connect", refuse), pytest.raises(ConfigurationError, match="OperationalError") as caught:
        Ledger(f"server://user:pass-Word-1@host/{db}", spool=db.parent)
    assert "pass-Word-1" not in f"{caught.value!r}"


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite+pysqlite:///{}"])
def test_sqlite_file_may_be_given_as_url(db: Path, url: str) -> None:
    with Ledger(url.format(db)) as ledger:
        ledger(call("ann"))
    assert users(db) == ["ann"]


def test_spool_of_a_url_depends_on_all_but_the_password(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in STATE:
        monkeypatch.setenv(variable, str(db.parent / "state"))
    folders = []
    for server in ("u:a@h", "u:b@h", "v:a@h", "u:a@g", "u:a@h:1"):
        with Ledger(f"server://{server}/{db}", interval=NEVER) as ledger:
            ledger(call("ann"))
            (file,) = (path for path in (db.parent / "state").rglob("*") if path.is_file())
            folders.append(file.parent)
    first, other_password, *others = folders
    assert other_password == first
    assert len({first, *others}) == 4


def test_url_without_a_home_directory_needs_a_spool(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in STATE:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ConfigurationError, match="spool="):
        Ledger(f"server:///{db}")
    Ledger(f"server:///{db}", spool=db.parent).close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("what", ["spend.db", ".", "spend.db-spool"])
def test_read_only_file_or_folder_is_refused(db: Path, what: str) -> None:
    Ledger(db).close()
    path = db.parent / what
    mode = path.stat().st_mode
    path.chmod(0o500)
    try:
        with pytest.raises(ConfigurationError, match="cannot be written"):
            Ledger(db)
    finally:
        path.chmod(mode)


def test_spool_that_is_a_file_is_refused(db: Path) -> None:
    (db.parent / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=r"notes.txt cannot be written: .*spool="):
        Ledger(db, spool=db.parent / "notes.txt")


@pytest.mark.process
def test_missing_sqlalchemy_names_the_extra() -> None:
    code = "import sys; sys.modules['sqlalchemy'] = None; import anyrerank.ledger"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert "MissingExtraError" in done.stderr
    assert "pip install 'anyrerank[ledger]'" in done.stderr
