"""Several worker processes that serve the same address."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import socket
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

from anyrerank.errors import ConfigurationError

_log = logging.getLogger("anyrerank.gateway")

_SHORT_LIFE = 2.0
"""Seconds: a worker that ended sooner is replaced after this time only."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One of the processes.

    Attributes:
        number: Of the worker, from 0.
        folder: Where all workers leave what the others need to know.
        is_first: Whether no worker has started before: it says where the gateway listens.
    """

    number: int
    folder: str
    is_first: bool

    def tell_others(self) -> None:
        """Let every worker read the configuration again."""
        os.kill(os.getppid(), signal.SIGHUP)


def run_workers(count: int, listener: socket, serve: Callable[[Worker], None]) -> None:
    """Run workers until a signal says to stop; one that dies is replaced.

    SIGTERM, SIGINT and SIGHUP are passed on to the workers. If this process is killed, the workers stop.

    Args:
        count: How many.
        listener: What they serve.
        serve: What a worker does, in a process of its own.

    Raises:
        ConfigurationError: This system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise ConfigurationError("--workers needs a system that can fork; start several gateways on several ports")
    with TemporaryDirectory(prefix="anyrerank-workers-") as folder:
        _Supervisor(count, listener, serve, folder).run()


class _Supervisor:
    def __init__(self, count: int, listener: socket, serve: Callable[[Worker], None], folder: str) -> None:
        self._count = count
        self._listener = listener
        self._serve = serve
        self._folder = folder
        self._alive: dict[int, tuple[int, float]] = {}
        """Number and start of each worker, by its process id."""
        self._is_stopping = False
        self._parent, self._held = os.pipe()

    def run(self) -> None:
        with self._signals():
            for number in range(self._count):
                self._start(number, is_first=number == 0)
            while self._alive:
                pid, status = os.wait()
                number, since = self._alive.pop(pid, (-1, 0.0))
                ended = os.waitstatus_to_exitcode(status)
                if number < 0 or self._is_stopping:
                    continue
                _log.warning("worker %d ended with %s, and is replaced", number, _cause(ended))
                if time.monotonic() - since < _SHORT_LIFE:
                    time.sleep(_SHORT_LIFE)
                if not self._is_stopping:
                    self._start(number, is_first=False)

    def _start(self, number: int, *, is_first: bool) -> None:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self._become(Worker(number, self._folder, is_first))
        self._alive[pid] = (number, time.monotonic())
        if self._is_stopping:  # the signal came before the worker was known
            os.kill(pid, signal.SIGTERM)

    def _become(self, worker: Worker) -> NoReturn:
        """Run a worker in the child process."""
        code = 1
        try:
            os.close(self._held)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.setpgid(0, 0)  # the terminal's Ctrl+C reaches the parent, which passes it on
            threading.Thread(target=_end_with_parent, args=(self._parent,), daemon=True).start()
            self._serve(worker)
            code = 0
        except Exception as error:  # noqa: BLE001  the worker ends, and its exit code says so
            code = getattr(error, "exit_code", 1)
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, _: FrameType | None) -> None:
            self._stop(number)

        def pass_on(number: int, _: FrameType | None) -> None:
            self._pass_on(number)

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: pass_on}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._parent)
            os.close(self._held)

    def _stop(self, number: int) -> None:
        self._is_stopping = True
        self._listener.close()  # or connections that no worker accepts any more would wait in it
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for pid in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _end_with_parent(parent: int) -> None:
    """Stop when the parent has ended, which closes its end of the pipe."""
    os.read(parent, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _cause(ended: int) -> str:
    """What ended a process, by its exit code, which is negative for a signal."""
    return f"signal {-ended}" if ended < 0 else f"exit code {ended}"
