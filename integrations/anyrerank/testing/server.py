"""`StubServer`: a reranking server on 127.0.0.1."""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from typing_extensions import Self

from anyrerank._core.types import public
from anyrerank.testing.exchange import Exchange, StubRequest, read_request
from anyrerank.testing.failures import Failures
from anyrerank.testing.scores import Scores, score_function

Handler: TypeAlias = Callable[[Exchange], None]
"""Answers one request, by the methods of its `Exchange`."""

Breakdown: TypeAlias = Literal["disconnect", "hang", "garbage"]
"""Ways to fail without an error status."""

_BREAKDOWNS = get_args(Breakdown)
_IDLE_SECONDS = 10.0
_JOIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Failure:
    how: int | Breakdown
    body: Any
    headers: Mapping[str, str] | None


@public("anyrerank.testing")
class StubServer:
    """An HTTP server for tests that answers requests to Cohere, Jina, LiteLLM, TEI, NVIDIA NIM and Voyage.

    It listens from its creation until `close`; as a context manager it closes itself.

        with StubServer() as server:
            server.fail(503, times=1)
            reranker = Reranker("cohere_compatible/any-model", api_base=server.url)

    Args:
        scores: As for `fake_provider`.
        handler: A function that is called with each `Exchange`, for answers and failures that `fail` does not offer.
        port: The port to listen on; 0 for a free one.

    Attributes:
        url: The address, to pass as `api_base`.
        requests: Every request, in the order of arrival.
        handler: The current handler; it may be replaced at any time.
    """

    def __init__(self, scores: Scores | None = None, *, handler: Handler = Exchange.rank, port: int = 0) -> None:
        self.handler = handler
        self.requests: list[StubRequest] = []
        self._score = score_function(scores)
        self._failures: Failures[_Failure] = Failures()
        self._released = threading.Event()
        self._closing = threading.Event()
        self._errors: list[Exception] = []
        self._lock = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._start(self._accept)

    def __repr__(self) -> str:
        return f"StubServer({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fail(
        self,
        how: int | Breakdown,
        *,
        times: int | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Fail the next requests, after the failures that were set before.

        Args:
            how: A status from 200 to 599 to answer with; `"disconnect"` to close the connection without an answer;
                `"hang"` to answer only after `recover`; `"garbage"` for a 200 that is not JSON.
            times: How many requests; `None` for all, until `recover`.
            body: The body of the answer, where `how` is a status.
            headers: Headers of the answer, such as `{"retry-after": "1"}`, where `how` is a status.

        Raises:
            ValueError: `how` or `times` is something else.
        """
        if how not in _BREAKDOWNS and not (type(how) is int and 200 <= how <= 599):
            known = ", ".join(_BREAKDOWNS)
            raise ValueError(f"how must be a status from 200 to 599 or one of {known}, got {how!r}")
        self._failures.add(_Failure(how, body, headers), times)

    def recover(self) -> None:
        """Answer again: remove the remaining failures, and answer the requests that hang."""
        with self._lock:
            self._failures.clear()
            released, self._released = self._released, threading.Event()
        released.set()

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> bool:
        """Wait at most `timeout` seconds until `count` requests have arrived; returns whether they have."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self.requests) >= count, timeout)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        with self._lock:
            return len(self._open)

    def wait_for_connections(self, count: int, timeout: float = 10.0) -> bool:
        """Wait at most `timeout` seconds until `count` connections are open; returns whether they are."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self._open) == count, timeout)

    def close(self) -> None:
        """Close all connections and stop.

        Raises:
            Exception: `handler` raised it.
        """
        self._closing.set()
        self.recover()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass  # wakes the thread that accepts
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        self._listener.close()
        if self._errors:
            raise self._errors[0]

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name="anyrerank-stub", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            with self._lock:
                self._open.add(connection)
                self._lock.notify_all()
            self._start(self._serve, connection, len(self._threads))

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(_IDLE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := read_request(stream, number)) is not None:
                    exchange = self._received(connection, request)
                    self._handle(exchange)
                    if exchange.is_over:
                        break
        except OSError:
            pass  # the client closed the connection, as many tests intend
        except Exception as error:  # noqa: BLE001  raised by `close`, in the test that it belongs to
            self._errors.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
                self._lock.notify_all()

    def _received(self, connection: socket.socket, request: StubRequest) -> Exchange:
        with self._lock:
            self.requests.append(request)
            self._lock.notify_all()
            return Exchange(connection, request, len(self.requests) - 1, self._score, self._closing)

    def _handle(self, exchange: Exchange) -> None:
        with self._lock:
            failure, released = self._failures.next(), self._released
        if failure is None:
            self.handler(exchange)
        elif failure.how == "hang":
            released.wait()
            if not self._closing.is_set():
                self.handler(exchange)
        elif failure.how == "disconnect":
            exchange.disconnect()
        elif failure.how == "garbage":
            exchange.respond(200, "<html>not JSON</html>", {"content-type": "text/html"})
        else:
            body = {"message": "the stub server was set to fail"} if failure.body is None else failure.body
            exchange.respond(failure.how, body, failure.headers)
