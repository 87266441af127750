"""A real HTTP server on 127.0.0.1, of threads and raw sockets: it can also answer badly, slowly or not at all."""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

PATIENCE = 10.0
"""Seconds after which whatever is waited for is not going to happen."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A request that arrived, whole."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes = field(repr=False)
    connection: int = field(compare=False)
    """Which of the server's connections it came over."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def documents(self) -> list[Any]:
        found: list[Any] = self.json["documents"]
        return found


class Line:
    """The server's end of a connection on which a request has just arrived."""

    def __init__(self, server: Loopback, connection: socket.socket, hit: Hit, number: int) -> None:
        self.server = server
        self.hit = hit
        self.number = number
        """How many requests arrived before this one."""
        self.finished = False
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        """A well-formed answer; what is neither text nor bytes is sent as JSON."""
        content = body.encode() if isinstance(body, str) else body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        head = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.send(f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + content)

    def hang_up(self) -> None:
        self.finished = True

    def reset(self) -> None:
        """Close with RST instead of FIN, as a crashing server or a middlebox does."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.finished = True

    def client_left(self, within: float = PATIENCE) -> bool:
        """Wait until the client hangs up, but not longer than `within` seconds."""
        readable, _, _ = select.select([self._connection], [], [], within)
        if not readable:
            return False
        try:
            left = self._connection.recv(1) == b""
        except OSError:
            left = True
        self.finished = True
        if left and not self.server.closing.is_set():
            self.server.abandoned.set()
        return left


Script: TypeAlias = Callable[[Line], None]


def relevance(document: Any) -> float:
    """What this server thinks of a document: the lower the number at its end, the better."""
    text = document if isinstance(document, str) else document["text"]
    number = re.search(r"(\d+)\W*$", text)
    return 1 / (1 + int(number[1])) if number else 0.0


def ranking(documents: Sequence[Any], top_n: int | None = None) -> dict[str, Any]:
    """Cohere's answer for `documents`."""
    rows = [{"index": index, "relevance_score": relevance(document)} for index, document in enumerate(documents)]
    rows.sort(key=lambda row: -row["relevance_score"])
    return {"id": "loopback", "results": rows[:top_n], "meta": {"billed_units": {"search_units": 1}}}


def well(line: Line) -> None:
    """Rank, as a Cohere-shaped server does."""
    line.answer(body=ranking(line.hit.documents, line.hit.json.get("top_n")))


def in_turn(*scripts: Script) -> Script:
    """The first request gets the first script, and so on; the last script is for all that follow."""
    return lambda line: scripts[min(line.number, len(scripts) - 1)](line)


class Loopback:
    """Serves until it is closed; `script` says how, and may be changed at any time."""

    def __init__(self, script: Script = well, port: int = 0) -> None:
        self.script = script
        self.hits: list[Hit] = []
        self.abandoned = threading.Event()
        """A client hung up while a script was waiting for that."""
        self.idle = threading.Condition()
        self.connections = 0
        """How many are open now."""
        self.faults: list[BaseException] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._spawn(self._accept)

    def wait_until_no_connection(self) -> bool:
        """Whether every client hangs up."""
        return self.settles(0)

    def settles(self, connections: int) -> bool:
        """Whether so many connections are left in the end."""
        with self.idle:
            return self.idle.wait_for(lambda: self.connections == connections, PATIENCE)

    def close(self) -> None:
        self.closing.set()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        if self.faults:
            raise self.faults[0]

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            connection, _ = self._listener.accept()
            with self._lock:
                self._open.add(connection)
            if self.closing.is_set():
                connection.close()
                return
            with self.idle:
                self.connections += 1
            self._spawn(self._serve, connection, len(self._threads))

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection, connection.makefile("rb") as stream:
                while (hit := _read(stream, number)) is not None:
                    with self._lock:
                        self.hits.append(hit)
                        line = Line(self, connection, hit, len(self.hits) - 1)
                    self.script(line)
                    if line.finished:
                        break
        except OSError:
            pass  # the client is gone: often what the test is about
        except Exception as error:  # noqa: BLE001  # raised by `close`, in the test that it belongs to
            self.faults.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            with self.idle:
                self.connections -= 1
                self.idle.notify_all()


def _read(stream: BinaryIO, connection: int) -> Hit | None:
    first = stream.read(1)
    if not first.isalpha():
        return None  # nothing more, or the greeting of TLS
    start = first + stream.readline()
    raw = [start]
    headers: dict[str, str] = {}
    while (line := stream.readline()).strip():
        raw.append(line)
        name, _, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    body = _chunks(stream) if "chunked" in headers.get("transfer-encoding", "") else b""
    body = body or stream.read(int(headers.get("content-length", 0)))
    method, target, _ = start.decode("latin-1").split(" ", 2)
    return Hit(method, target, headers, body, b"".join(raw) + b"\r\n" + body, connection)


def _chunks(stream: BinaryIO) -> bytes:
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
