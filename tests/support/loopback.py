"""`anyrerank.testing.StubServer` under the names that these tests use."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from anyrerank.testing import Exchange, StubRequest, StubServer

MAX_WAIT = 10.0
"""Seconds after which an event that a test waits for is not going to happen."""

Hit = StubRequest


class Line:
    """The server's end of a connection on which a request has just arrived."""

    def __init__(self, server: Loopback, exchange: Exchange) -> None:
        self.server = server
        self.hit = exchange.request
        self.number = exchange.number
        self._exchange = exchange

    def send(self, data: bytes) -> None:
        self._exchange.send(data)

    def hang_up(self) -> None:
        self._exchange.disconnect()

    def reset(self) -> None:
        """Close with RST instead of FIN, as a crashing server or a middlebox does."""
        self._exchange.reset()

    def answer(self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a well-formed answer; a body that is neither text nor bytes is sent as JSON."""
        self._exchange.respond(status, body, headers)

    def client_left(self, within: float = MAX_WAIT) -> bool:
        """Wait at most `within` seconds for the client to close the connection, and say whether it did."""
        left = self._exchange.wait_for_disconnect(within)
        if left:
            self.server.abandoned.set()
        return left


Script: TypeAlias = Callable[[Line], None]


def relevance(document: Any) -> float:
    """The score of a document: the lower the number at its end, the higher."""
    text = document if isinstance(document, str) else document["text"]
    number = re.search(r"(\d+)\W*$", text)
    return 1 / (1 + int(number[1])) if number else 0.0


def ranking(documents: Sequence[Any], top_n: int | None = None) -> dict[str, Any]:
    """Cohere's answer for `documents`."""
    rows = [{"index": index, "relevance_score": relevance(document)} for index, document in enumerate(documents)]
    rows.sort(key=lambda row: -row["relevance_score"])
    return {"id": "loopback", "results": rows[:top_n], "meta": {"billed_units": {"search_units": 1}}}


def well(line: Line) -> None:
    """Rank as Cohere does."""
    line.answer(body=ranking(line.hit.documents, line.hit.json.get("top_n")))


class Gate:
    """A script that lets requests wait until it is opened, and then answers `well`."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._is_open = threading.Event()

    def __call__(self, line: Line) -> None:
        self._arrived.release()
        assert self._is_open.wait(MAX_WAIT)
        well(line)

    def wait_for(self, count: int) -> None:
        """Wait until further `count` requests have arrived."""
        for _ in range(count):
            assert self._arrived.acquire(timeout=MAX_WAIT)

    def open(self) -> None:
        """Answer all requests, also those that arrive later."""
        self._is_open.set()


def in_turn(*scripts: Script) -> Script:
    """The first request gets the first script, and so on; the last script answers all later requests."""
    return lambda line: scripts[min(line.number, len(scripts) - 1)](line)


class Loopback(StubServer):
    """A stub server that answers by its `script`, which may be replaced at any time."""

    def __init__(self, script: Script = well, port: int = 0) -> None:
        self.script = script
        self.abandoned = threading.Event()
        """Set when a client closes a connection on which a script waits for that."""
        super().__init__(handler=lambda exchange: self.script(Line(self, exchange)), port=port)

    @property
    def hits(self) -> list[Hit]:
        """Every request, in the order of arrival."""
        return self.requests

    def wait_until_no_connection(self) -> bool:
        """Whether all connections are closed in the end."""
        return self.settles(0)

    def settles(self, connections: int) -> bool:
        """Whether that many connections are open in the end."""
        return self.wait_for_connections(connections, MAX_WAIT)
