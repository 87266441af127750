"""What the tests share: sync and async behind one interface, recorded exchanges, a search for secrets in errors."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from anyrerank import Reranker, RerankError, RerankResponse, arerank, rerank
from anyrerank._core.client import BaseReranker
from anyrerank.providers import load, names

T = TypeVar("T")

WIRE = Path(__file__).parents[1] / "wire"
KEY = "test-key-4Fq8Zr1uXw"
QUERY = "Which city is the capital of Canada?"
DOCUMENTS = [
    "Lisbon is the capital of Portugal.",
    "Ottawa is the capital of Canada.",
    "Sydney is the largest city in Australia.",
]
FAILURES: dict[str, type[httpx.TransportError]] = {
    "read_timeout": httpx.ReadTimeout,
    "connect": httpx.ConnectError,
    "reset": httpx.ReadError,
}
"""What a recording may hold instead of an answer."""


class Mode:
    """Calls in one mode. The async calls of a test share an event loop, so that connections stay open between them.

    Args:
        asynchronous: Which mode.
        own: Whether rerankers get a client of the user's instead of the default one.
    """

    def __init__(self, *, asynchronous: bool, own: bool = False) -> None:
        self.asynchronous = asynchronous
        self.own = own
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rerankers: list[Reranker] = []
        self._clients: list[httpx.Client | httpx.AsyncClient] = []

    def run(self, work: Awaitable[T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(_awaited(work))

    def client(self, **options: Any) -> httpx.Client | httpx.AsyncClient:
        client = httpx.AsyncClient(**options) if self.asynchronous else httpx.Client(**options)
        self._clients.append(client)
        return client

    def reranker(self, model: str = "cohere/rerank-v3.5", **options: Any) -> Reranker:
        if self.own:
            options.setdefault("http_client", self.client())
        made = Reranker(model, **{"api_key": KEY, "max_retries": 0, "timeout": 10.0, **options})
        self._rerankers.append(made)
        return made

    def rerank(self, reranker: BaseReranker, query: str, documents: Sequence[Any], **overrides: Any) -> RerankResponse:
        if self.asynchronous:
            return self.run(reranker.arerank(query, documents, **overrides))
        return reranker.rerank(query, documents, **overrides)

    def rerank_many(
        self, reranker: Reranker, queries: Sequence[str], documents: Sequence[Sequence[Any]], **overrides: Any
    ) -> list[Any]:
        if self.asynchronous:
            return self.run(reranker.arerank_many(queries, documents, **overrides))
        return reranker.rerank_many(queries, documents, **overrides)

    def function(self, **arguments: Any) -> RerankResponse:
        """`anyrerank.rerank`, or `anyrerank.arerank`."""
        return self.run(arerank(**arguments)) if self.asynchronous else rerank(**arguments)

    def close(self, reranker: Reranker) -> None:
        if self.asynchronous:
            self.run(reranker.aclose())
        else:
            reranker.close()

    def finish(self) -> None:
        """Close everything that was opened."""
        for reranker in self._rerankers:
            reranker.close()
        for client in self._clients:
            if isinstance(client, httpx.AsyncClient):
                self.run(client.aclose())
            else:
                client.close()
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


class Replay:
    """Answers requests without a server, in the order of `exchanges`, and records them."""

    def __init__(self, exchanges: Iterable[Mapping[str, Any]]) -> None:
        self.exchanges = list(exchanges)
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        index = len(self.seen)
        self.seen.append(request)
        if index >= len(self.exchanges):
            return httpx.Response(400, text="not recorded")
        response = self.exchanges[index]["response"]
        if failure := response.get("failure"):
            raise FAILURES[failure]("made by the test", request=request)
        return httpx.Response(
            response["status"],
            headers=response.get("headers"),
            content=response["text"] if "text" in response else json.dumps(response["json"]).encode(),
        )

    def client(self, mode: Mode) -> httpx.Client | httpx.AsyncClient:
        return mode.client(transport=httpx.MockTransport(self))

    def check(self) -> None:
        """Assert that exactly the recorded requests were sent."""
        assert len(self.seen) == len(self.exchanges), f"{len(self.seen)} requests, {len(self.exchanges)} recorded"
        for request, exchange in zip(self.seen, self.exchanges, strict=True):
            recorded = exchange["request"]
            assert (request.method, str(request.url)) == (recorded["method"], recorded["url"])
            for name, value in recorded.get("headers", {}).items():
                assert request.headers.get(name) == value
            assert request.headers.get("authorization") == recorded["authorization"]
            assert (json.loads(request.content) if request.content else None) == recorded["json"]

    def check_bodies(self) -> None:
        """Assert that the bodies that were sent are the recorded ones, whatever the URL."""
        sent = [json.loads(request.content) for request in self.seen]
        assert sent == [exchange["request"]["json"] for exchange in self.exchanges]


def answering(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Replay:
    """A `Replay` of one answer to any request; text and bytes are sent as they are."""
    content = {"text": body} if isinstance(body, str | bytes) else {"json": body}
    return Replay([{"response": {"status": status, "headers": headers or {}, **content}}])


def sent_by(mode: Mode, model: str, documents: Sequence[Any] = DOCUMENTS, **options: Any) -> httpx.Request:
    """The only request of a call."""
    replay = answering({}, status=400)
    options = {"api_key": KEY, "http_client": replay.client(mode), **options}
    with pytest.raises(RerankError) as caught:
        mode.rerank(mode.reranker(model, **options), QUERY, documents)
    if not replay.seen:
        raise caught.value
    (request,) = replay.seen
    return request


def recording(name: str) -> dict[str, Any]:
    """What is recorded of a provider.

    `cases` are whole calls with their exchanges; the rest describes the dialect, for the contract that every provider
    owes:

    plain     name of a case with default options, three string documents and a key; what else its call holds (a base
              URL, a project) is part of every call of the contract
    answer    where the rows of an answer are: `rows` (keys joined with dots, "" for a bare list), `index` (left out
              where scores come in the order of the documents) and `score`; `index_is_text` where indexes are strings,
              `beside` for what else such an answer always holds, `allows` for the names of faults in the contract that
              documented answers of this dialect may have
    options   for each option of the card a value that is `given` and what of the body is `sent` for it; what else the
              call needs `with` it
    usage     `answered` in the body or in `headers`, and the `meta` it becomes; null where none is reported
    bases     for each form of a base URL, the base and the URL of the request
    statuses  the statuses whose class is not the usual one

    A provider that cannot be held to the contract here says `elsewhere` which tests do it.
    """
    path = WIRE / f"{name}.json"
    if not path.exists():
        pytest.fail(
            f"providers/{name}.py has no recorded exchange: write tests/wire/{name}.json with a call, the request it "
            "sends, the server's answer and the results expected of it (tests/wire/cohere.json shows the form)",
            pytrace=False,
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def case(name: str, title: str) -> dict[str, Any]:
    """One recorded call of a provider."""
    return next(each for each in recording(name)["cases"] if each["name"] == title)


@cache
def credentials() -> list[str]:
    """Every environment variable that a provider reads."""
    kinds = [load(name) for name in names()]
    return [
        variable
        for kind in kinds
        for variable in (
            *kind.key_variables,
            *kind.key_file_variables,
            *kind.base_variables,
            *(each for setting in kind.settings.values() for each in setting.variables),
        )
    ]


def chain(error: BaseException) -> list[BaseException]:
    """`error` and each exception that Python shows with it."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return found


def leaks(error: BaseException, secrets: Iterable[str]) -> list[str]:
    """Those of `secrets` that can be read in an error, in what Python shows with it, or in its pickle."""
    shown = [text for each in chain(error) for text in (str(each), repr(each), repr(each.args), repr(vars(each)))]
    shown.append(pickle.dumps(error).decode("latin-1"))
    return [secret for secret in secrets if any(secret in text for text in shown)]
