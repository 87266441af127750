"""Running a gateway: it listens, drains on SIGTERM, and reads its configuration again on SIGHUP."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.app import Gateway, application
from anyrerank.gateway.http import Connection
from anyrerank.gateway.operation import WorkerMetrics

_KEEP_ALIVE_SECONDS = 75
"""Longer than clients and load balancers keep a connection: who closes it first must not be the server."""
_ON_THE_WAY_SECONDS = 1.0
"""How long the request of a connection may take that was opened just before the listener closed."""

_METRICS_SECONDS = 1.0

_BACKLOG = 2048
"""Connections that the system holds until they are accepted."""


def keep_what_is_loaded() -> None:
    """Let the garbage collector skip what is loaded by now, and run less often: it holds up every request in flight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def bind(host: str, port: int) -> socket.socket:
    """A socket for an address, which does not listen yet; port 0 for one that is free.

    Raises:
        ConfigurationError: The address cannot be used.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":  # elsewhere it would allow two programs at one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(host, port, error) from None
    return bound


def _listen(bound: socket.socket) -> None:
    """Let a socket listen. uvloop would hide that it cannot.

    Raises:
        ConfigurationError: Another program listens at its address by now.
    """
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None


def check_host(host: str) -> None:
    """Raise if a host has no address.

    Raises:
        ConfigurationError: It cannot be resolved.
    """
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"the host {host[:80]} cannot be resolved: {reason}; choose another --host") from None


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot listen on {_shown(host, port)}: {_reason(error)}")


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; choose another --port"
    if error.errno == errno.EACCES:
        return "it is not permitted; choose a --port of at least 1024"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have this address; choose another --host"
    return error.strerror or str(error)


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that the system has opened, and that nothing has accepted yet; the listener must not block."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        yield connection


class Server(uvicorn.Server):
    """Serves a gateway until a signal says to stop; `run` blocks until then.

    SIGTERM lets the gateway answer further requests for `drain_delay` seconds while it says that it is not ready, then
    it finishes those in flight. SIGINT does the same without the delay. A second signal stops it at once. uvicorn's own
    handling of signals closes the listener at once, and ends the process with the signal.

    Args:
        gateway: What to serve.
        started: Gets the URL once it listens.
        reload: Called on SIGHUP.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        started: Callable[[str], None],
        reload: Callable[[], None],
    ) -> None:
        config = uvicorn.Config(
            application(gateway),
            http=cast("Any", partial(Connection, host=gateway)),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            backlog=_BACKLOG,
            server_header=False,
            proxy_headers=False,  # or a client could say where it comes from
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(gateway.service.settings.shutdown_timeout)),
        )
        super().__init__(config)
        self._gateway = gateway
        self._started = started
        self._writing: asyncio.Task[None] | None = None
        self._reload = reload

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and report where.

        The port opens last: a load balancer takes one that refuses connections for a server that is away, and asks
        another one; a connection that is accepted and then lost is a call that is lost.

        Raises:
            ConfigurationError: Another program listens there by now.
        """
        if self._gateway.state is not None:
            await self._gateway.state.connect()
        for each in sockets or ():
            _listen(each)
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._started(f"http://{_shown(host, port)}")
        if self._gateway.metrics.worker_metrics is not None:
            self._writing = asyncio.create_task(self._write_metrics(self._gateway.metrics.worker_metrics))

    async def _write_metrics(self, worker_metrics: WorkerMetrics) -> None:
        """Write the metrics of this worker for the others."""
        while True:
            worker_metrics.write()
            await asyncio.sleep(_METRICS_SECONDS)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals on the event loop while the server runs; only the main thread gets signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        actions: dict[str, Callable[[int], None]] = {
            "SIGINT": self._stop,
            "SIGTERM": self._stop,
            "SIGHUP": lambda _: self._reload(),
        }

        def handle(number: int, _: FrameType | None) -> None:
            loop.call_soon_threadsafe(actions[signal.Signals(number).name], number)

        known = [signal.Signals[name] for name in actions if hasattr(signal, name)]
        before = {number: signal.signal(number, handle) for number in known}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer what was sent until then, and close all connections.

        A load balancer must not send a call again whose connection was closed, because the call may have been paid for.
        So connections that wait to be accepted are served, and new ones get a moment to send their request.
        """
        if self._gateway.draining and not self.force_exit:
            loop = asyncio.get_running_loop()
            waiting = [each for listener in sockets or () for each in _waiting(listener)]
            for each in (*self.servers, *(sockets or ())):
                each.close()
            for each in waiting:
                await loop.connect_accepted_socket(self._connection, each)
            await asyncio.sleep(_ON_THE_WAY_SECONDS)
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = cast("Any", self.config.http_protocol_class)(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _stop(self, number: int) -> None:
        if self._gateway.draining:
            self.should_exit = self.force_exit = True
            return
        self._gateway.draining = True
        delay = 0.0 if number == signal.SIGINT else self._gateway.service.settings.drain_delay
        asyncio.get_running_loop().call_later(delay, self._exit)

    def _exit(self) -> None:
        self.should_exit = True
