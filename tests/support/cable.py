"""A network between a client and a server, which a test can cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from tests.support.server_process import HOST

Fault: TypeAlias = Literal["refused", "silent"]
"""Connections are reset and refused, or stay open while nothing arrives."""


class Cable:
    """Passes connections on to a server.

    Args:
        url: Of the server.
    """

    def __init__(self, url: str) -> None:
        self._through = threading.Event()
        self._through.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.lead_to(url)
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self._address = self._listener.getsockname()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the server through this cable."""
        host = "{}:{}".format(*self._address)
        login, at, _ = self._url.netloc.rpartition("@")
        return urlunsplit(self._url._replace(netloc=f"{login}{at}{host}"))

    def lead_to(self, url: str) -> None:
        """Pass further connections on to another server."""
        self._url = urlsplit(url)

    def cut(self, fault: Fault) -> None:
        """Let nothing through from now on."""
        if fault == "silent":
            self._through.clear()
        else:
            self._end(self._listener)
            self.reset()

    def reset(self) -> None:
        """End all connections; new ones are let through."""
        with self._lock:
            ended, self._sockets = self._sockets, set()
        for each in ended:
            self._end(each)

    def mend(self) -> None:
        """Let everything through again."""
        if self._listener.fileno() == -1:
            self._listener = socket.create_server(self._address, backlog=512)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        self._through.set()

    def close(self) -> None:
        self.cut("refused")
        self._through.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        self._through.wait()
        try:
            server = socket.create_connection((self._url.hostname or "", self._url.port or 0))
        except OSError:
            self._end(client)
            return
        with self._lock:
            self._sockets |= {client, server}
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        for each in (client, server):
            self._end(each)
        with self._lock:
            self._sockets -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                self._through.wait()
                sink.sendall(part)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    @staticmethod
    def _end(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
        end.close()


@contextmanager
def cable(url: str) -> Iterator[Cable]:
    """A cable to a server."""
    made = Cable(url)
    try:
        yield made
    finally:
        made.close()
