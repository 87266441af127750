"""Both frameworks behind one interface, and answers without a server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from llama_index.core.schema import NodeWithScore, TextNode
from tests.support.harness import KEY, QUERY

from anyrerank import langchain, llama_index
from anyrerank.testing.dialects import answer_to

Answer: TypeAlias = Callable[[httpx.Request], httpx.Response]

COHERE = "cohere/rerank-v3.5"
NVIDIA = "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2"
NVIDIA_VL = "nvidia_nim/nvidia/llama-nemotron-rerank-vl-1b-v2"
LOCAL = "local/lexical"


def relevance(_: str, text: str) -> float:
    """The score of a text: the number at its end."""
    number = re.search(r"(-?\d+(?:\.\d+)?)\W*$", text)
    return float(number[1]) if number else 0.0


def well(request: httpx.Request) -> httpx.Response:
    """Rank as Cohere or NVIDIA does."""
    status, body = answer_to(request.method, request.content, relevance)
    return httpx.Response(status, json=body, headers={"x-request-id": "request-1"})


def refusing(status: int) -> Answer:
    """Every request fails with `status`."""
    return lambda request: httpx.Response(status, json={"message": "refused by the test"})


def in_turn(*answers: Answer) -> Answer:
    """The first request gets the first answer, and so on; all later requests get the last one."""
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)

    return answer


class Wire:
    """Answers requests without a server, and records them."""

    def __init__(self, answer: Answer = well) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)

    def client(self, *, asynchronous: bool) -> httpx.Client | httpx.AsyncClient:
        transport = httpx.MockTransport(self)
        return httpx.AsyncClient(transport=transport) if asynchronous else httpx.Client(transport=transport)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def body(self) -> Any:
        """The JSON of the only request."""
        (body,) = self.bodies
        return body

    @property
    def sent(self) -> list[Any]:
        """The documents of the only request."""
        found: list[Any] = self.body["documents"] if "documents" in self.body else self.body["passages"]
        return found


class Trees(BaseTracer):
    """Records the finished run trees of LangChain."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)

    @property
    def root(self) -> Run:
        (root,) = self.roots
        return root


@dataclass(frozen=True)
class Face:
    """One framework in one mode."""

    framework: str
    asynchronous: bool

    def __str__(self) -> str:
        return f"{self.framework}-{'async' if self.asynchronous else 'sync'}"

    @property
    def kind(self) -> type[Any]:
        return langchain.AnyRerank if self.framework == "langchain" else llama_index.AnyRerank

    def make(self, wire: Wire | None = None, **fields: Any) -> Any:
        """An adapter with a key and no retries that sends through `wire`."""
        if wire is not None:
            fields.setdefault("http_client", wire.client(asynchronous=self.asynchronous))
        if fields.get("reranker") is None:
            fields = {"model": COHERE, "api_key": KEY, "max_retries": 0, **fields}
        return self.kind(**fields)

    def item(self, text: str, **metadata: Any) -> Any:
        """What this framework's retrievers return for a text."""
        if self.framework == "langchain":
            return Document(text, metadata=metadata)
        return NodeWithScore(node=TextNode(text=text, metadata=metadata), score=0.5)

    def rerank(self, adapter: Any, found: Sequence[Any], query: str = QUERY) -> Any:
        """Rerank items, or texts, which are made into items."""
        if self.asynchronous:
            return asyncio.run(self.arerank(adapter, found, query))
        items = self._items(found)
        if self.framework == "langchain":
            return adapter.compress_documents(items, query)
        return adapter.postprocess_nodes(items, query_str=query)

    async def arerank(self, adapter: Any, found: Sequence[Any], query: str = QUERY) -> Any:
        items = self._items(found)
        if self.framework == "langchain":
            return await adapter.acompress_documents(items, query)
        return await adapter.apostprocess_nodes(items, query_str=query)

    def ranked(self, adapter: Any, found: Sequence[Any], query: str = QUERY) -> list[tuple[str, float | None]]:
        """Text and score of each result."""
        return self.pairs(self.rerank(adapter, found, query))

    def pairs(self, items: Sequence[Any]) -> list[tuple[str, float | None]]:
        if self.framework == "langchain":
            return [(item.page_content, item.metadata["relevance_score"]) for item in items]
        return [(item.node.text, item.score) for item in items]

    def text(self, item: Any) -> str:
        """The content of a `Document` or a node, as a `text_fn` gets it."""
        content: str = item.page_content if self.framework == "langchain" else item.text
        return content

    def _items(self, found: Sequence[Any]) -> list[Any]:
        return [self.item(each) if isinstance(each, str) else each for each in found]


def faces(framework: str) -> list[Face]:
    """One framework in sync and async."""
    return [Face(framework, asynchronous) for asynchronous in (False, True)]


def face_fixture(framework: str) -> Any:
    """A fixture for one framework in sync and async."""

    @pytest.fixture(params=faces(framework), ids=["sync", "async"])
    def face(request: pytest.FixtureRequest) -> Face:
        found: Face = request.param
        return found

    return face


def scored_nodes(*texts: str) -> list[NodeWithScore]:
    """A text node with the score of a retriever for each text; its id is the first letter."""
    return [NodeWithScore(node=TextNode(text=text, id_=text[0]), score=0.8) for text in texts]


FACES = [*faces("langchain"), *faces("llama_index")]
"""Both frameworks in sync and async."""

KINDS = [face for face in FACES if not face.asynchronous]
"""Both frameworks, where sync and async make no difference."""
