"""Runs a gateway: it listens, drains when it is told to stop, and reads its configuration again on SIGHUP."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from anyrerank.gateway.app import Gateway, application


def serve(
    gateway: Gateway, *, host: str, port: int, started: Callable[[str], None], reload: Callable[[], None]
) -> None:
    """Serve until a signal says to stop.

    SIGTERM lets the gateway answer further requests for `drain_delay` seconds while it says that it is not ready, then
    it finishes those in flight. SIGINT does the same without the delay. A second signal stops it at once.

    Args:
        gateway: What to serve.
        host, port: Where to listen; port 0 for one that is free.
        started: Gets the URL once it listens.
        reload: Called on SIGHUP.

    Raises:
        SystemExit: The address cannot be used.
    """
    settings = gateway.service.settings
    config = uvicorn.Config(
        application(gateway),
        host=host,
        port=port,
        http="httptools",
        ws="none",
        loop="auto",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=round(settings.shutdown_timeout) or 1,
    )
    _Server(config, gateway, started, reload).run()


class _Server(uvicorn.Server):
    """uvicorn's server with signals of its own: uvicorn's close the listener at once, and end with the signal."""

    def __init__(
        self,
        config: uvicorn.Config,
        gateway: Gateway,
        started: Callable[[str], None],
        reload: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._started = started
        self._reload = reload

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and report where."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals on the event loop while the server runs."""
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

    def _stop(self, number: int) -> None:
        if self._gateway.draining:
            self.should_exit = self.force_exit = True
            return
        self._gateway.draining = True
        delay = 0.0 if number == signal.SIGINT else self._gateway.service.settings.drain_delay
        asyncio.get_running_loop().call_later(delay, self._exit)

    def _exit(self) -> None:
        self.should_exit = True
