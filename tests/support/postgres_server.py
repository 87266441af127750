"""PostgreSQL on loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from tests.support.server_process import HOST, ServerProcess, missing

PASSWORD = "pass-Word-1%/@"
_VARIABLE = "ANYRERANK_TEST_DATABASE_URL"
_USER = "anyrerank"
_ACCOUNTS = ("postgres", "nobody")
"""Run the server where the tests run as root, which PostgreSQL refuses."""


class PostgresServer(ServerProcess):
    """A PostgreSQL server with the password `PASSWORD`. The end of the machine would lose data, a kill does not.

        server.start(default_transaction_read_only="on")

    Args:
        folder: For its log and its data; empty, and open to the accounts that can run the server.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.largest_file: int | None = None
        """Bytes: once it was started with that, it fails to write more to a file, as with a full disk. Its log of
        transactions is in files of 16 MB."""
        programs = _programs()
        if programs is None:
            missing(f"PostgreSQL is not installed: install postgresql; most tests need only {_VARIABLE}")
        self._programs = programs
        if os.geteuid() == 0:
            _give_away(folder)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        command = [self._program("initdb"), "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"]
        command += [
            "--auth=scram-sha-256",
            f"--username={_USER}",
            f"--pwfile={password}",
            f"--pgdata={folder / 'data'}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self.ownership())  # noqa: S603

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}:{quote(PASSWORD, safe='')}@{HOST}:{self.port}/postgres"

    def command(self, settings: dict[str, str]) -> Sequence[str]:
        own = {"listen_addresses": HOST, "port": str(self.port), "unix_socket_directories": "", "fsync": "off"}
        options = (f"--{name}={value}" for name, value in {**own, **settings}.items())
        command = [self._program("postgres"), "-D", str(self.folder / "data"), *options]
        if self.largest_file is None:
            return command
        return ["/bin/sh", "-c", f'ulimit -S -f {self.largest_file // 512} && exec "$@"', "sh", *command]

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def _program(self, name: str) -> str:
        return str(self._programs / name)


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """The URL of a new database of a server, which is dropped afterwards.

    Args:
        url: Any database of the server, of a user that may create others.
    """
    name = f"anyrerank_test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def given_url() -> str | None:
    """The URL in the environment where PostgreSQL is not installed."""
    return None if _programs() is not None else os.environ.get(_VARIABLE) or None


def _programs() -> Path | None:
    """The folder of the programs of the PostgreSQL on PATH, or of the newest that Debian has installed."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent  # may be a link, and `postgres` need not have one
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((each.parent for each in found), key=lambda each: int(each.parent.name), default=None)


def _give_away(folder: Path) -> None:
    import pwd

    known = {each.pw_name: each for each in pwd.getpwall()}
    account = next(known[name] for name in _ACCOUNTS if name in known)
    os.chown(folder, account.pw_uid, account.pw_gid)
