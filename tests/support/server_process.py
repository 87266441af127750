"""A server program in a process of its own, which a test can pause, kill and start again at the same port."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NoReturn, TypeVar

import psutil
import pytest

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.01
_PORTS = range(20_000, 30_000)
"""Below those that the system gives to connections, so that no connection takes the port of a server that is down."""
_ServerT = TypeVar("_ServerT", bound="ServerProcess")
_REAPER = Path(__file__).with_name("reaper.py")


class ServerProcess(ABC):
    """A server that listens on a free port of loopback. Nothing of it stays behind, even if pytest is killed.

    Args:
        folder: For its data. Its owner runs the server.
    """

    stop_signal: ClassVar[signal.Signals]
    """Lets it finish what it does, and end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it listens, with user and password."""

    @abstractmethod
    def command(self, settings: dict[str, str]) -> Sequence[str]:
        """The program and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it answers requests."""

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers; `settings` are those of its configuration file."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                self.command(settings), stdout=log, stderr=log, start_new_session=True, **self.ownership()
            )
        self._process = process
        self._reaper = subprocess.Popen(  # noqa: S603
            [sys.executable, str(_REAPER), str(process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            with suppress(subprocess.TimeoutExpired):
                self._fail(f"ended with {process.wait(_POLL_SECONDS)}")
            if time.monotonic() > deadline:
                self._fail(f"did not answer within {_START_SECONDS:.0f} seconds")

    def stop(self) -> None:
        """Let it end in good order. Does nothing if it does not run."""
        self.resume()
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End all its processes with SIGKILL. Does nothing if it does not run."""
        if self._process is not None:
            processes = suspended(self._process.pid)
            for each in processes:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            self._end(signal.SIGKILL)
            while any(map(_lives, processes)):  # it cannot be started again before
                time.sleep(_POLL_SECONDS)

    def pause(self) -> None:
        """Stop all its processes, so that connections stay open and get no answer."""
        assert self._process is not None
        suspended(self._process.pid)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                main = psutil.Process(self._process.pid)
                for each in (*main.children(recursive=True), main):
                    each.resume()

    def ownership(self) -> dict[str, Any]:
        """The arguments of `Popen` that run a program in the folder as its owner."""
        owner = self.folder.stat()
        user = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
        return {"cwd": self.folder, "stdin": subprocess.DEVNULL, "env": {"PATH": os.environ["PATH"]}, **user}

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._reaper is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            self._reaper.kill()
            self._reaper.communicate()

    def _fail(self, what: str) -> NoReturn:
        log = (self.folder / "log").read_text(errors="replace")[-2000:]
        self.kill()
        pytest.fail(f"{type(self).__name__} {what}; its log ends:\n{log}", pytrace=False)


@contextmanager
def new_server(make: Callable[[Path], _ServerT]) -> Iterator[_ServerT]:
    """A server that is killed at the end. `start` starts it.

    Its folder is none of pytest's: these are closed to the account that PostgreSQL runs as.
    """
    with TemporaryDirectory(prefix="anyrerank-", ignore_cleanup_errors=True) as folder:
        server = make(Path(folder))
        try:
            yield server
        finally:
            server.kill()


def suspended(pid: int) -> list[psutil.Process]:
    """Stop a process, so that it starts no others, and then those that it has started; return all of them."""
    try:
        main = psutil.Process(pid)
        main.suspend()
        processes = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    return processes


def missing(what: str) -> NoReturn:
    """Skip a test because a server is not installed; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port that is not in use."""
    while True:
        port = random.choice(_PORTS)
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
