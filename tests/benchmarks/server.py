"""A server that answers every POST as Cohere would, as fast as Python can: `python -m tests.benchmarks.server`.

A path that starts with `/after/50` is answered 50 ms later. It prints its address, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from functools import cache
from importlib.util import find_spec
from typing import cast

from tests.benchmarks.cores import SERVER, pin

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_AFTER = re.compile(rb"^POST /after/(\d+)/")
_MODEL = b'{"status":"ok","model_path":"rerank","served_model_name":"rerank","data":[{"id":"rerank","object":"model"}]}'
"""For gateways that ask what a server serves."""
_END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests one after another and writes what they are answered with."""

    _transport: asyncio.WriteTransport

    def __init__(self, loop: asyncio.AbstractEventLoop, replies: dict[int, bytes]) -> None:
        self._loop = loop
        self._replies = replies
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._complete():
            assert self._head is not None
            self._answer(self._head)
            del self._buffer[: self._whole]
            self._head = None

    def _complete(self) -> bool:
        """Whether a whole request has come; its head is looked at once."""
        if self._head is None:
            end = self._buffer.find(_END_OF_HEAD)
            if end < 0:
                return False
            self._head = bytes(self._buffer[:end])
            length = _LENGTH.search(self._head)
            assert length is not None or self._head.startswith(b"GET "), "requests here say how long they are"
            self._whole = end + len(_END_OF_HEAD) + (int(length[1]) if length else 0)
        return len(self._buffer) >= self._whole

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"GET "):
            self._transport.write(_http(_MODEL))
            return
        # Requests of one length hold equally many documents in these benchmarks, so each length is read once; the
        # client refuses an answer with too few results, or with one that is out of range.
        reply = self._replies.get(self._whole)
        if reply is None:
            body = self._buffer[len(head) + len(_END_OF_HEAD) : self._whole]
            count = len(json.loads(body)["documents"])
            as_sglang = head.startswith(b"POST /v1/rerank ")
            reply = self._replies[self._whole] = _http(list_of(count)) if as_sglang else reply_to(count)
        if after := _AFTER.match(head):
            self._loop.call_later(int(after[1]) / 1000, self._transport.write, reply)
        else:
            self._transport.write(reply)


@cache
def reply_to(count: int) -> bytes:
    """The HTTP answer that scores `count` documents."""
    return _http(scores_of(count))


def _http(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def scores_of(count: int) -> bytes:
    """The JSON of an answer for `count` documents."""
    results = [{"index": index, "relevance_score": round(1 - index / (count + 1), 6)} for index in range(count)]
    return json.dumps({"id": "reply", "results": results, "meta": {"billed_units": {"search_units": 1}}}).encode()


def list_of(count: int) -> bytes:
    """The same in SGLang's form, the only one that some gateways read."""
    rows = json.loads(scores_of(count))["results"]
    return json.dumps([{"index": row["index"], "score": row["relevance_score"]} for row in rows]).encode()


def _loop() -> asyncio.AbstractEventLoop:
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


async def _serve() -> None:
    loop, replies = asyncio.get_running_loop(), dict[int, bytes]()
    server = await loop.create_server(lambda: Connection(loop, replies), "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    pin(SERVER)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _loop().run_until_complete(_serve())
