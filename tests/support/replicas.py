"""Routers that share a state, as those of several processes do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import httpx
from redis import Redis
from tests.support.harness import DOCUMENTS, QUERY
from tests.support.routing import entry, ok, status
from tests.support.waiting import eventually

from anyrerank import RerankError, Router
from anyrerank.state import RedisState

Answer: TypeAlias = Callable[[httpx.Request], httpx.Response]


class Vendors:
    """Vendors by the names of their hosts, and who was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.partition(".")[0]
        with self._lock:
            self.asked.append(name)
        return self.answers.get(name, ok)(request)


class Replica:
    """A router with a connection of its own to the state that all replicas share."""

    def __init__(
        self,
        url: str,
        vendors: Vendors,
        entries: Sequence[Any] = (entry("a"),),
        *,
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        self.state = RedisState(url, timeout=timeout)
        self.client = httpx.Client(transport=httpx.MockTransport(vendors.answer))
        given = {"state": self.state, "http_client": self.client, "num_retries": 0, **options}
        self.router = Router(entries, **given)

    def ask(self, model: str = "r", **options: Any) -> str | None:
        """The deployment that answered, or `None`."""
        try:
            return self.router.rerank(model, QUERY, DOCUMENTS, **options).attempts[-1].model_id
        except RerankError:
            return None

    def cooldown(self, name: str = "a") -> float:
        """Seconds until it ends, as this replica knows."""
        return float(status(self.router, name).cooldown)

    def close(self) -> None:
        self.router.close()
        self.client.close()
        self.state.close()


@contextmanager
def replicas(count: int, url: str, *given: Any, **options: Any) -> Iterator[list[Replica]]:
    """That many, which hear each other and are closed at the end; the arguments are those of `Replica`."""
    with ExitStack() as stack, Redis.from_url(url) as client:
        before = client.pubsub_numsub("anyrerank:news")[0][1]
        made = []
        for _ in range(count):
            made.append(Replica(url, *given, **options))
            stack.callback(made[-1].close)
            made[-1].router.deployment_status()  # as the first call, this lets it listen
        assert eventually(lambda: client.pubsub_numsub("anyrerank:news")[0][1] == before + count)
        yield made
