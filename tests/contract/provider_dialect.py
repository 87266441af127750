"""A provider as its recording describes it, for the contract that every provider is held to.

The providers are found in the folder of providers. Names on the wire come from the recording of a provider
(`tests/wire/<name>.json`), everything else from its class attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest
from tests.support.harness import KEY, WIRE, Mode, Replay, answering, recording

import anyrerank
from anyrerank import RerankError, RerankResponse
from anyrerank._core.engine import connect
from anyrerank.providers import Provider, load, names

QUERY = "capital of Canada"
DOCUMENTS = ["Lisbon: Portugal", "Ottawa: Canada", "Sydney: Australia"]
ROWS = [(0, 0.5), (1, 0.25), (2, 0.125)]
"""Index and score of each result."""


def contracted() -> list[str]:
    """All providers except those that need a library and whose recording names the file that tests them."""
    return [name for name in names() if not (WIRE / f"{name}.json").exists() or "elsewhere" not in recording(name)]


def over_http() -> list[str]:
    return [name for name in contracted() if load(name).default_base or load(name).base_variables]


each_provider = pytest.mark.parametrize("name", contracted())
each_http_provider = pytest.mark.parametrize("name", over_http())


class Dialect:
    """How to call a provider and how it answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind: type[Provider] = load(name)
        self.recorded = recording(name)
        plain = next(each for each in self.recorded["cases"] if each["name"] == self.recorded["plain"])
        self.model: str = plain["call"]["model"]
        self.exchanges: list[dict[str, Any]] = plain["exchanges"]
        self.expected: dict[str, Any] = plain["expect"]
        given = {key: KEY if value == "KEY" else value for key, value in plain["call"].items()}
        self.arguments = {key: given[key] for key in given.keys() - {"model", "query", "documents", "api_key"}}
        """What every call needs besides a key, such as a base URL."""

    @property
    def is_positional(self) -> bool:
        """Whether scores come in the order of the documents, without an index."""
        return "index" not in self.recorded["answer"]

    def row(self, index: Any, score: Any) -> dict[str, Any]:
        """One result of an answer."""
        form = self.recorded["answer"]
        return {form["index"]: str(index) if form.get("index_is_text") else index, form["score"]: score}

    def answer(self, rows: Sequence[tuple[Any, Any]] = ROWS) -> Any:
        """The body of an answer with these (index, score) pairs."""
        if self.is_positional:
            return self.answer_around([score for _, score in sorted(rows)])
        return self.answer_around([self.row(index, score) for index, score in rows])

    def answer_around(self, rows: Any) -> Any:
        """The body of an answer with `rows` as its list of results."""
        form = self.recorded["answer"]
        body = rows
        for key in reversed(form["rows"].split(".") if form["rows"] else []):
            body = {key: body}
        return {**form["beside"], **body} if "beside" in form else body

    def provider(self) -> Provider:
        settings = {name: value for name, value in self.arguments.items() if name in self.kind.settings}
        return connect(self.model, api_key=KEY, api_base=self.arguments.get("api_base"), settings=settings)

    @property
    def key_header(self) -> tuple[str, str]:
        """Name and value of the header that carries the key."""
        sent = self.exchanges[0]["request"]
        headers = {**sent.get("headers", {}), "authorization": sent["authorization"] or ""}
        return next((name, value) for name, value in headers.items() if "KEY" in value)

    def reranker(self, mode: Mode, replay: Replay, **options: Any) -> anyrerank.Reranker:
        return mode.reranker(self.model, **{**self.arguments, "http_client": replay.client(mode), **options})

    def rerank(
        self, mode: Mode, body: Any, documents: Sequence[Any] = DOCUMENTS, *, status: int = 200, **options: Any
    ) -> tuple[RerankResponse, list[httpx.Request]]:
        """The response when the server answers `body`, and the requests that were sent."""
        replay = answering(body, status)
        return mode.rerank(self.reranker(mode, replay, **options), QUERY, documents), replay.seen

    def error(
        self, mode: Mode, body: Any, status: int, headers: Mapping[str, str] | None = None, **options: Any
    ) -> RerankError:
        """The error when the server answers one document like this."""
        replay = answering(body, status, headers)
        with pytest.raises(RerankError) as caught:
            mode.rerank(self.reranker(mode, replay, **options), QUERY, DOCUMENTS[:1])
        assert len(replay.seen) == 1
        return caught.value
