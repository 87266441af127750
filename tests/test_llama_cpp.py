"""The real llama.cpp server, reached through the provider `cohere`, whose v1 shape it speaks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import httpx
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from anyrerank import AuthenticationError, Reranker, RerankError, RerankResponse, RerankResult
from anyrerank.langchain import AnyRerank as Compressor
from anyrerank.llama_index import AnyRerank as Postprocessor

Colour = Literal["sync", "async"]

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
_MISSING = [name for name in ("xllamacpp", "gguf", "numpy") if find_spec(name) is None]

pytestmark = pytest.mark.skipif(
    bool(_MISSING), reason=f"{', '.join(_MISSING)}: not installed, or not to be had on this platform"
)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of the server."""
    command = [sys.executable, "-m", "tests.servers.llama_cpp", str(tmp_path_factory.mktemp("llama_cpp")), _KEY]
    root = Path(__file__).parents[1]
    # Leaving the block closes the server's input, and with that ends it.
    with subprocess.Popen(  # noqa: S603
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        yield f"{address}/v1"


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    chosen: Colour = request.param
    return chosen


@pytest.fixture
def model(base: str) -> Reranker:
    return Reranker("cohere/tiny-reranker", api_key=_KEY, api_base=base, max_retries=0)


async def rank(
    reranker: Reranker, colour: Colour, documents: Sequence[str] = _DOCUMENTS, **options: int
) -> RerankResponse:
    async with reranker:
        if colour == "sync":
            return reranker.rerank(_QUERY, documents, **options)
        return await reranker.arerank(_QUERY, documents, **options)


def pairs(results: Sequence[RerankResult]) -> list[tuple[int, float | None]]:
    return [(result.index, result.relevance_score) for result in results]


def raw_pairs(base: str, documents: Sequence[str]) -> list[tuple[int, float]]:
    """What the server itself answers, best first."""
    body = {"query": _QUERY, "documents": documents}
    answer = httpx.post(f"{base}/rerank", json=body, headers={"authorization": f"Bearer {_KEY}"})
    return [(row["index"], row["relevance_score"]) for row in answer.raise_for_status().json()["results"]]


async def test_order_and_scores_are_the_servers(base: str, model: Reranker, colour: Colour) -> None:
    expected = raw_pairs(base, _DOCUMENTS)
    response = await rank(model, colour)
    assert pairs(response.results) == expected
    assert [result.document for result in response.results] == [{"text": _DOCUMENTS[index]} for index, _ in expected]


def test_the_model_tells_passages_apart_and_moves_them(base: str) -> None:
    """Without this an adapter that did nothing would pass."""
    places, scores = zip(*raw_pairs(base, _DOCUMENTS), strict=True)
    assert len(set(scores)) == len(_DOCUMENTS)
    assert list(places) != sorted(places)


async def test_top_n_is_the_head_of_the_whole_order(base: str, model: Reranker, colour: Colour) -> None:
    response = await rank(model, colour, top_n=2)
    assert pairs(response.results) == raw_pairs(base, _DOCUMENTS)[:2]


async def test_batches_score_like_one_request(base: str, model: Reranker, colour: Colour) -> None:
    response = await rank(model, colour, batch_size=2)
    assert pairs(response.results) == raw_pairs(base, _DOCUMENTS)
    assert len(response.attempts) == 3


async def test_equal_scores_keep_the_order_they_came_in(base: str, model: Reranker, colour: Colour) -> None:
    """The server gives equal passages equal scores, in an order of its own."""
    count = len(_DOCUMENTS)
    response = await rank(model, colour, _DOCUMENTS * 4)
    expected = [(index + copy * count, score) for index, score in raw_pairs(base, _DOCUMENTS) for copy in range(4)]
    assert pairs(response.results) == expected


async def test_many_queries_at_once_score_like_one(base: str, model: Reranker, colour: Colour) -> None:
    queries, documents = [_QUERY] * 10, [_DOCUMENTS] * 10
    async with model:
        if colour == "sync":
            responses = model.rerank_many(queries, documents)
        else:
            responses = await model.arerank_many(queries, documents)
    expected = raw_pairs(base, _DOCUMENTS)
    for response in responses:
        assert isinstance(response, RerankResponse)
        assert pairs(response.results) == expected


async def test_a_wrong_key_is_refused_and_not_shown(base: str, colour: Colour) -> None:
    stranger = Reranker("cohere/tiny-reranker", api_key="key-of-somebody-else", api_base=base)
    with pytest.raises(AuthenticationError) as caught:
        await rank(stranger, colour)
    assert caught.value.status_code == 401
    assert "somebody" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("documents", [[_TOO_LONG], [*_DOCUMENTS, _TOO_LONG]], ids=["alone", "among others"])
async def test_a_passage_that_is_too_long_is_an_error_that_shows_no_text(
    model: Reranker, colour: Colour, documents: list[str]
) -> None:
    with pytest.raises(RerankError) as caught:
        await rank(model, colour, documents)
    assert type(caught.value) is not RerankError
    assert caught.value.provider == "cohere"
    shown = f"{caught.value} {caught.value!r}"
    assert "too large" in shown
    assert _KEY not in shown
    assert "river" not in shown


async def test_langchain_compressor_ranks_like_the_server(base: str, model: Reranker, colour: Colour) -> None:
    documents = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(_DOCUMENTS)]
    compressor = Compressor(reranker=model, top_n=3)
    async with model:
        if colour == "sync":
            found = compressor.compress_documents(documents, _QUERY)
        else:
            found = await compressor.acompress_documents(documents, _QUERY)
    ranked = [(document.metadata["place"], document.metadata["relevance_score"]) for document in found]
    assert ranked == raw_pairs(base, _DOCUMENTS)[:3]
    assert [document.page_content for document in found] == [_DOCUMENTS[place] for place, _ in ranked]


async def test_llama_index_postprocessor_ranks_like_the_server(base: str, model: Reranker, colour: Colour) -> None:
    nodes = [NodeWithScore(node=TextNode(id_=str(place), text=text)) for place, text in enumerate(_DOCUMENTS)]
    postprocessor = Postprocessor(reranker=model, top_n=3)
    async with model:
        if colour == "sync":
            found = postprocessor.postprocess_nodes(nodes, query_str=_QUERY)
        else:
            found = await postprocessor.apostprocess_nodes(nodes, query_str=_QUERY)
    ranked = [(int(node.node_id), node.score) for node in found]
    assert ranked == raw_pairs(base, _DOCUMENTS)[:3]
    assert [node.text for node in found] == [_DOCUMENTS[place] for place, _ in ranked]
