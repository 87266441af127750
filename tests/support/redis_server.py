"""Redis or Valkey on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit, urlunsplit

from tests.support.server_process import HOST, ServerProcess, free_port, missing

_PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
_VARIABLE = "ANYRERANK_TEST_REDIS_URL"


class RedisServer(ServerProcess):
    """A Redis server that stores nothing on disk, unless `settings` of `start` say so.

        server.start(maxmemory="2mb", maxmemory_policy="allkeys-lru")
        server.start(replicaof="127.0.0.1 1")  # only for reading

    Args:
        folder: For its log and its data.
        password: That of its default user.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path, password: str | None = None) -> None:
        super().__init__(folder)
        if _PROGRAM is None:
            missing(
                f"Redis is not installed: install redis-server or valkey-server (or, for some tests, set {_VARIABLE})"
            )
        self._program = _PROGRAM
        self._password = password

    @property
    def url(self) -> str:
        user = "" if self._password is None else f":{quote(self._password, safe='')}@"
        return f"redis://{user}{HOST}:{self.port}/0"

    def command(self, settings: dict[str, str]) -> Sequence[str]:
        own = {"bind": HOST, "port": str(self.port), "save": "", "dir": str(self.folder)}
        if self._password is not None:
            own["requirepass"] = self._password
        if "cluster_enabled" in settings:
            own["cluster-port"] = str(free_port())  # by default its port plus 10,000, which a connection may have
        given = {**own, **settings}.items()
        return [self._program, *(word for name, value in given for word in (f"--{name.replace('_', '-')}", value))]

    def answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def given_url() -> str | None:
    """The URL in the environment where Redis is not installed, with a database of its own for each worker of xdist."""
    url = os.environ.get(_VARIABLE)
    if _PROGRAM is not None or not url:
        return None
    return urlunsplit(urlsplit(url)._replace(path=os.environ.get("PYTEST_XDIST_WORKER", "gw0").replace("gw", "/")))
