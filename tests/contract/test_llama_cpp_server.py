"""A real llama.cpp server, called through every provider that speaks one of its dialects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from tests.support.frameworks import FACES, Face

from anyrerank import (
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    Reranker,
    RerankError,
    RerankResponse,
    RerankResult,
)
from anyrerank.langchain import AnyRerank as Compressor
from anyrerank.llama_index import AnyRerank as Postprocessor
from anyrerank.providers import huggingface

Mode = Literal["sync", "async"]

_KEY = "key-of-the-llama-cpp-server"
_QUERY = "what is the capital of france?"
_DOCUMENTS = [
    "paris is the capital of france",
    "mars is the red planet",
    "a dog and a cat",
    "the seine is a river in france",
    "what the planet is",
]
_TOO_LONG = "the river in the capital " * 200
_JINA_SHAPED = ["llama_cpp", "jina_compatible", "cohere_compatible"]
_PREFIXES = [*_JINA_SHAPED, "huggingface"]
"""Providers that need only the address of the server; a body with `texts` is answered like TEI."""
_MISSING = [name for name in ("xllamacpp", "gguf", "numpy") if find_spec(name) is None]

pytestmark = pytest.mark.skipif(
    bool(_MISSING), reason=f"{', '.join(_MISSING)}: not installed, or not available on this platform"
)


@pytest.fixture(autouse=True)
def _no_cached_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "server_limits", {})


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server."""
    command = [sys.executable, "-m", "tests.servers.llama_cpp", str(tmp_path_factory.mktemp("llama_cpp")), _KEY]
    root = Path(__file__).parents[2]
    # leaving the block closes the input of the server, which stops it
    with subprocess.Popen(  # noqa: S603
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        yield address


@pytest.fixture(scope="session")
def base(address: str) -> str:
    """Base URL of the server for Cohere's v1."""
    return f"{address}/v1"


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def model(base: str) -> Reranker:
    return Reranker("cohere/tiny-reranker", api_key=_KEY, api_base=base, max_retries=0)


def through(prefix: str, address: str, **options: Any) -> Reranker:
    return Reranker(f"{prefix}/tiny-reranker", **{"api_key": _KEY, "api_base": address, "max_retries": 0, **options})


async def rank(reranker: Reranker, mode: Mode, documents: Sequence[str] = _DOCUMENTS, **options: Any) -> RerankResponse:
    async with reranker:
        if mode == "sync":
            return reranker.rerank(_QUERY, documents, **options)
        return await reranker.arerank(_QUERY, documents, **options)


def pairs(results: Sequence[RerankResult]) -> list[tuple[int, float | None]]:
    return [(result.index, result.relevance_score) for result in results]


def raw(base: str, documents: Sequence[str]) -> Any:
    """The answer of the server itself."""
    body = {"query": _QUERY, "documents": documents}
    answer = httpx.post(f"{base}/rerank", json=body, headers={"authorization": f"Bearer {_KEY}"})
    return answer.raise_for_status().json()


def raw_pairs(base: str, documents: Sequence[str]) -> list[tuple[int, float]]:
    """The results of the server itself, best first."""
    return [(row["index"], row["relevance_score"]) for row in raw(base, documents)["results"]]


class Counter:
    """A custom HTTP client that records the number of documents of each request."""

    def __init__(self, mode: Mode) -> None:
        self.counts: list[int] = []
        self.client: httpx.Client | httpx.AsyncClient
        if mode == "sync":
            self.client = httpx.Client(event_hooks={"request": [self._count]})
        else:
            self.client = httpx.AsyncClient(event_hooks={"request": [self._count_later]})

    async def close(self) -> None:
        if isinstance(self.client, httpx.AsyncClient):
            await self.client.aclose()
        else:
            self.client.close()

    def _count(self, request: httpx.Request) -> None:
        body = json.loads(request.content) if request.content else {}
        self.counts.append(len(body.get("documents") or body.get("texts") or ()))

    async def _count_later(self, request: httpx.Request) -> None:
        self._count(request)


@pytest.fixture
async def counter(mode: Mode) -> AsyncIterator[Counter]:
    made = Counter(mode)
    yield made
    await made.close()


async def test_results_are_those_of_the_server(base: str, model: Reranker, mode: Mode) -> None:
    expected = raw_pairs(base, _DOCUMENTS)
    response = await rank(model, mode)
    assert pairs(response.results) == expected
    assert [result.document for result in response.results] == [{"text": _DOCUMENTS[index]} for index, _ in expected]


def test_expected_scores_differ_and_change_the_order(base: str) -> None:
    """Otherwise an adapter that does nothing would pass."""
    indexes, scores = zip(*raw_pairs(base, _DOCUMENTS), strict=True)
    assert len(set(scores)) == len(_DOCUMENTS)
    assert list(indexes) != sorted(indexes)


async def test_top_n_keeps_the_best_results(base: str, model: Reranker, mode: Mode) -> None:
    response = await rank(model, mode, top_n=2)
    assert pairs(response.results) == raw_pairs(base, _DOCUMENTS)[:2]


async def test_batches_score_like_one_request(base: str, model: Reranker, mode: Mode) -> None:
    response = await rank(model, mode, batch_size=2)
    assert pairs(response.results) == raw_pairs(base, _DOCUMENTS)
    assert len(response.attempts) == 3


async def test_equal_scores_keep_the_input_order(base: str, model: Reranker, mode: Mode) -> None:
    """The server returns equal scores in an arbitrary order."""
    count = len(_DOCUMENTS)
    response = await rank(model, mode, _DOCUMENTS * 4)
    expected = [(index + copy * count, score) for index, score in raw_pairs(base, _DOCUMENTS) for copy in range(4)]
    assert pairs(response.results) == expected


async def test_concurrent_queries_score_like_one(base: str, model: Reranker, mode: Mode) -> None:
    queries, documents = [_QUERY] * 10, [_DOCUMENTS] * 10
    async with model:
        if mode == "sync":
            responses = model.rerank_many(queries, documents)
        else:
            responses = await model.arerank_many(queries, documents)
    expected = raw_pairs(base, _DOCUMENTS)
    for response in responses:
        assert isinstance(response, RerankResponse)
        assert pairs(response.results) == expected


async def test_wrong_key_raises_without_showing_it(base: str, mode: Mode) -> None:
    reranker = Reranker("cohere/tiny-reranker", api_key="another-key-7Hq2", api_base=base)
    with pytest.raises(AuthenticationError) as caught:
        await rank(reranker, mode)
    assert caught.value.status_code == 401
    assert "another" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("documents", [[_TOO_LONG], [*_DOCUMENTS, _TOO_LONG]], ids=["alone", "among others"])
async def test_error_for_a_long_passage_shows_no_text(model: Reranker, mode: Mode, documents: list[str]) -> None:
    with pytest.raises(RerankError) as caught:
        await rank(model, mode, documents)
    assert type(caught.value) is not RerankError
    assert caught.value.provider == "cohere"
    shown = f"{caught.value} {caught.value!r}"
    assert "too large" in shown
    assert _KEY not in shown
    assert "river" not in shown


async def test_langchain_compressor_ranks_like_the_server(base: str, model: Reranker, mode: Mode) -> None:
    documents = [Document(page_content=text, metadata={"index": index}) for index, text in enumerate(_DOCUMENTS)]
    compressor = Compressor(reranker=model, top_n=3)
    async with model:
        if mode == "sync":
            found = compressor.compress_documents(documents, _QUERY)
        else:
            found = await compressor.acompress_documents(documents, _QUERY)
    ranked = [(document.metadata["index"], document.metadata["relevance_score"]) for document in found]
    assert ranked == raw_pairs(base, _DOCUMENTS)[:3]
    assert [document.page_content for document in found] == [_DOCUMENTS[index] for index, _ in ranked]


async def test_llama_index_postprocessor_ranks_like_the_server(base: str, model: Reranker, mode: Mode) -> None:
    nodes = [NodeWithScore(node=TextNode(id_=str(index), text=text)) for index, text in enumerate(_DOCUMENTS)]
    postprocessor = Postprocessor(reranker=model, top_n=3)
    async with model:
        if mode == "sync":
            found = postprocessor.postprocess_nodes(nodes, query_str=_QUERY)
        else:
            found = await postprocessor.apostprocess_nodes(nodes, query_str=_QUERY)
    ranked = [(int(node.node_id), node.score) for node in found]
    assert ranked == raw_pairs(base, _DOCUMENTS)[:3]
    assert [node.text for node in found] == [_DOCUMENTS[index] for index, _ in ranked]


@pytest.mark.parametrize("prefix", _PREFIXES)
async def test_every_dialect_returns_the_same_results(
    prefix: str, address: str, base: str, model: Reranker, mode: Mode
) -> None:
    response = await rank(through(prefix, address), mode)
    assert pairs(response.results) == raw_pairs(base, _DOCUMENTS)
    assert response.results == (await rank(model, mode)).results
    assert [attempt.status for attempt in response.attempts] == [200]


@pytest.mark.parametrize("prefix", _PREFIXES)
async def test_every_dialect_applies_top_n(prefix: str, address: str, base: str, mode: Mode) -> None:
    """In TEI's dialect, which has no such field, the server returns all results."""
    response = await rank(through(prefix, address), mode, top_n=2)
    assert pairs(response.results) == raw_pairs(base, _DOCUMENTS)[:2]


@pytest.mark.parametrize("prefix", _PREFIXES)
async def test_every_dialect_returns_the_same_scores_in_batches(
    prefix: str, address: str, base: str, mode: Mode, counter: Counter
) -> None:
    reranker = through(prefix, address, http_client=counter.client, batch_size=2, max_concurrency=1)
    whole, split = await rank(through(prefix, address), mode), await rank(reranker, mode)
    assert counter.counts == [2, 2, 1]
    assert split.results == whole.results
    assert pairs(split.results) == raw_pairs(base, _DOCUMENTS)
    assert split.meta == whole.meta


@pytest.mark.parametrize("prefix", _JINA_SHAPED)
async def test_usage_is_that_of_the_server(prefix: str, address: str, base: str, mode: Mode) -> None:
    used = raw(base, _DOCUMENTS)["usage"]
    assert used["total_tokens"] > len(_DOCUMENTS)
    response = await rank(through(prefix, address), mode)
    assert response.meta == {
        "billed_units": {"total_tokens": used["total_tokens"]},
        "tokens": {"input_tokens": used["prompt_tokens"]},
    }


async def test_server_without_a_limit_gets_32_documents_per_request(
    address: str, base: str, mode: Mode, counter: Counter
) -> None:
    """The limit is requested, but the server does not report one."""
    documents = _DOCUMENTS * 8
    reranker = through("huggingface", address, http_client=counter.client, max_concurrency=1)
    response = await rank(reranker, mode, documents)
    assert counter.counts == [0, 32, 8]
    expected = [
        (index + copy * len(_DOCUMENTS), score) for index, score in raw_pairs(base, _DOCUMENTS) for copy in range(8)
    ]
    assert pairs(response.results) == expected


@pytest.mark.parametrize(
    ("documents", "counts"),
    [
        ([_TOO_LONG], [1]),
        ([*_DOCUMENTS, _TOO_LONG], [6, 3, 3, 1, 2, 1, 1]),
        ([*_DOCUMENTS[:2], _TOO_LONG, *_DOCUMENTS[2:]], [6, 3, 1, 2, 1, 1]),
        (["", _TOO_LONG, "mars"], [2, 1]),
    ],
    ids=["alone", "last", "in between", "after a blank one"],
)
async def test_error_for_a_long_passage_names_its_index_and_is_not_retried(
    address: str, mode: Mode, counter: Counter, documents: list[str], counts: list[int]
) -> None:
    """The server answers 500, which is retried in other cases."""
    reranker = through("llama_cpp", address, http_client=counter.client, max_retries=3)
    with pytest.raises(BadRequestError) as caught:
        await rank(reranker, mode, documents)
    error = caught.value
    index = documents.index(_TOO_LONG)
    assert error.message.startswith(f"documents[{index}] is too large for the provider: llama.cpp answered 500: ")
    assert "is too large to process" in error.message
    assert (error.status_code, error.provider, error.model) == (500, "llama_cpp", "tiny-reranker")
    assert "river" not in repr(error)
    assert counter.counts == counts


@pytest.mark.parametrize("prefix", _PREFIXES)
async def test_every_dialect_raises_for_a_wrong_key(prefix: str, address: str, mode: Mode) -> None:
    reranker = through(prefix, address, api_key="another-key-7Hq2")
    with pytest.raises(AuthenticationError, match="answered 401: Invalid API Key") as caught:
        await rank(reranker, mode)
    assert (caught.value.status_code, caught.value.provider) == (401, prefix)
    assert "another" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("prefix", _PREFIXES)
async def test_every_dialect_raises_for_an_unknown_path(prefix: str, address: str, mode: Mode) -> None:
    with pytest.raises(NotFoundError, match="answered 404: File Not Found"):
        await rank(through(prefix, f"{address}/elsewhere"), mode)


@pytest.mark.parametrize("face", FACES, ids=str)
@pytest.mark.parametrize("prefix", _PREFIXES)
def test_every_dialect_ranks_in_the_frameworks(prefix: str, face: Face, address: str, base: str) -> None:
    adapter = face.make(model=f"{prefix}/tiny-reranker", api_key=_KEY, api_base=address, top_n=3)
    expected = [(_DOCUMENTS[index], score) for index, score in raw_pairs(base, _DOCUMENTS)[:3]]
    assert face.ranked(adapter, _DOCUMENTS, _QUERY) == expected
