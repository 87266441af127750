"""One exchange of a stub server: the request, and the methods that answer it."""

import json
import select
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from anyrerank._core.types import public
from anyrerank.testing.dialects import answer_to
from anyrerank.testing.scores import Score


@public("anyrerank.testing")
@dataclass(frozen=True, slots=True, kw_only=True)
class StubRequest:
    """A request that a stub server received.

    Attributes:
        method: `POST`, for reranking.
        target: Path and query string.
        headers: By lower-case name; values of a repeated header are joined with a comma.
        body: The body, decoded from its chunks.
        raw: All bytes as they arrived.
        connection: Number of the connection that it came over.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    connection: int = field(compare=False)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def documents(self) -> list[Any]:
        """The documents, where the body has them under that name."""
        found: list[Any] = self.json["documents"]
        return found


@public("anyrerank.testing")
class Exchange:
    """The server's end of a connection on which a request has just arrived.

    Attributes:
        request: The request.
        number: Number of requests that the server received before this one.
        is_over: Whether the connection is closed when the handler returns.
    """

    def __init__(
        self, connection: socket.socket, request: StubRequest, number: int, score: Score, closing: threading.Event
    ) -> None:
        self.request = request
        self.number = number
        self.is_over = False
        self._connection = connection
        self._score = score
        self._closing = closing

    def rank(self) -> None:
        """Answer with scores, in the dialect of the request; 404 where it is not a rerank request."""
        self.respond(*answer_to(self.request.method, self.request.body, self._score))

    def respond(self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a well-formed answer; a body that is neither text nor bytes is sent as JSON. 204 and 304 have none."""
        content = body.encode() if isinstance(body, str) else body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        if status in _WITHOUT_BODY:
            content, head = b"", dict(headers or {})
        else:
            head = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.send(f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + content)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def disconnect(self) -> None:
        """Close the connection when the handler returns."""
        self.is_over = True

    def reset(self) -> None:
        """Close with RST instead of FIN when the handler returns, as a crashing server does."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_over = True

    def wait_for_disconnect(self, timeout: float = 10.0) -> bool:
        """Wait at most `timeout` seconds for the client to close the connection; returns whether it did."""
        readable, _, _ = select.select([self._connection], [], [], timeout)
        if not readable:
            return False
        self.is_over = True
        try:
            closed = self._connection.recv(1) == b""
        except OSError:
            closed = True
        return closed and not self._closing.is_set()


_WITHOUT_BODY = frozenset({204, 304})
"""What a client would take for the start of the next answer."""


def read_request(stream: BinaryIO, connection: int) -> StubRequest | None:
    """The next request on a connection, or `None` when it is closed or does not speak HTTP."""
    first = stream.read(1)
    if not first.isalpha():
        return None  # closed, or the greeting of TLS
    start = first + stream.readline()
    raw, headers = [start], dict[str, str]()
    while (line := stream.readline()).strip():
        raw.append(line)
        name, _, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    body = _chunks(stream) if "chunked" in headers.get("transfer-encoding", "") else b""
    body = body or stream.read(int(headers.get("content-length", 0)))
    method, target, _ = start.decode("latin-1").split(" ", 2)
    return StubRequest(
        method=method,
        target=target,
        headers=headers,
        body=body,
        raw=b"".join(raw) + b"\r\n" + body,
        connection=connection,
    )


def _chunks(stream: BinaryIO) -> bytes:
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
