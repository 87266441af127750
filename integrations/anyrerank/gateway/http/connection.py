"""`Connection`: uvicorn's HTTP parser for one client, with limits that uvicorn does not have.

A client must send the headers of a request within `header_seconds`, in at most 64 KiB and 100 lines, and name its host.
Trailers after a body are left out, and may be as long as headers.
A client that does not read its answer loses the connection. While the gateway drains, each answer is the last of its
connection.
"""

from __future__ import annotations

import re
from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from anyrerank.gateway.errors import superset
from anyrerank.gateway.http.host import Host

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADER_LINES = 100

_SEARCHED = 4096
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)

_REASONS = {
    400: "the request is not valid HTTP",
    408: "the headers of the request did not arrive in time",
    431: f"the headers of a request may have {MAX_HEADER_BYTES // 1024} KiB and {MAX_HEADER_LINES} lines",
}


class Connection(HttpToolsProtocol):
    """Speaks HTTP with one client.

    Args:
        host: The gateway.
        arguments: Those of uvicorn.
    """

    def __init__(self, *, host: Host, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._host = host
        self._timer: TimerHandle | None = None
        self._reading: TimerHandle | None = None
        self._in_headers = False
        self._unparsed = 0
        self._in_trailers = False  # or between the size of a chunk and its content
        self._had_body = False
        self._trailing = 0
        self._refusal = 400

    def connection_made(self, transport: Any) -> None:
        """Start the time for the headers of the first request."""
        super().connection_made(transport)
        self._host.connections += 1
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the times."""
        self._unwatch()
        self._watch_reading(is_paused=False)
        self._host.connections -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; uvicorn's own timer ends with the first byte."""
        self._unparsed += len(data)
        if data.find(b"h2c", 0, _SEARCHED) >= 0 and self._between_requests():
            data = _without_upgrade(data)
        were_trailers, self._had_body = self._in_trailers, False
        super().data_received(data)
        are_trailers = were_trailers and self._in_trailers and not self._had_body
        self._trailing = self._trailing + len(data) if are_trailers else 0
        if (self._in_headers and self._unparsed > MAX_HEADER_BYTES) or self._trailing > MAX_HEADER_BYTES:
            self._refuse(431)
        elif self._in_headers or self._is_idle():
            self._watch()
        else:
            self._unparsed = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        """Check the headers; an exception ends the connection with an answer of `send_400_response`."""
        self._in_headers = False
        self._unwatch()
        names = [name for name, _ in self.headers]
        if len(names) > MAX_HEADER_LINES or (self._unparsed > MAX_HEADER_BYTES and self._size() > MAX_HEADER_BYTES):
            self._refusal = 431
            raise ValueError
        hosts = names.count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            raise ValueError
        if self._host.draining:
            self.headers.append((b"connection", b"close"))  # uvicorn answers it in kind, before 0.51 only so
        super().on_headers_complete()
        self.headers = []  # for trailers, which must not become headers: a proxy in front may not have checked them
        if self._host.draining:
            self.cycle.keep_alive = False  # or the next request could arrive while the connection is being closed

    def on_chunk_header(self) -> None:
        """The content of a chunk follows, or trailers do."""
        self._in_trailers = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._in_trailers, self._had_body = False, True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body and its trailers are here."""
        self._in_trailers = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the time in which the client must read what it was sent."""
        super().pause_writing()
        self._watch_reading(is_paused=True)

    def resume_writing(self) -> None:
        """The client has read it."""
        super().resume_writing()
        self._watch_reading(is_paused=False)

    def on_response_complete(self) -> None:
        """Let the client read the rest of the answer, but not forever."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self._host.service.settings.body_seconds, self._abort_unread, self.cycle)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the same text for all faults of the parser
        """End the connection with an answer in JSON."""
        self._refuse(self._refusal)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as any other."""

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _is_idle(self) -> bool:
        """Whether neither a request nor uvicorn's timer for the next one is there: line ends between requests."""
        return self.timeout_keep_alive_task is None and self._between_requests()

    def _between_requests(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return not self._in_headers and (cycle is None or cycle.response_complete)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._host.service.settings.header_seconds, self._too_slow)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_reading(self, *, is_paused: bool) -> None:
        if self._reading is not None:
            self._reading.cancel()
        wait = self._host.service.settings.body_seconds
        self._reading = self.loop.call_later(wait, self.transport.abort) if is_paused else None

    def _too_slow(self) -> None:
        if self._unparsed:
            self._refuse(408)
        else:  # a connection that was opened in advance
            self.transport.close()

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        self._host.metrics.served("other", status)
        body = superset(_REASONS[status], "invalid_request_error", status)
        lines = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(lines.encode() + body)
        self.transport.close()

    def _abort_unread(self, cycle: object) -> None:
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()


def _without_upgrade(data: bytes) -> bytes:
    """A request without its offer to change to HTTP/2, after which the parser would drop the body.

    Java's HTTP client makes it with each first request.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + end + body
