"""Requests to a gateway byte by byte."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.support.loopback import MAX_WAIT

BODY = json.dumps({"query": "red planet", "documents": ["Venus", "Mars is the red planet"]}).encode()


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to a URL."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), MAX_WAIT) as connection:
        yield connection


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def raw(url: str, data: bytes) -> bytes:
    """What the server answers to some bytes, until it closes the connection."""
    with connected(url) as connection:
        connection.sendall(data)
        return received(connection)


def request(
    *lines: str,
    start: str = "POST /rerank HTTP/1.1",
    host: str | None = "Host: localhost",
    body: bytes = BODY,
    length: bool = True,
    close: bool = True,
) -> bytes:
    """A request with further header lines."""
    head = [
        start,
        host,
        *lines,
        f"Content-Length: {len(body)}" if length else None,
        "Connection: close" if close else None,
    ]
    return "\r\n".join([*(line for line in head if line is not None), "", ""]).encode("latin-1") + body


def status_of(answer: bytes) -> int:
    """The status of the first response in an answer."""
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> Any:
    """The JSON of the last response in an answer."""
    return json.loads(answer.rpartition(b"\r\n\r\n")[2])
