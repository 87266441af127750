"""Every dialect answers every document once and with a number, best first, whatever the documents are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.gateway import MASTER_KEY, gateway_of, running

from anyrerank.gateway.dialects import dialects

QUERY = "Which planet is red?"
DOCUMENTS = ["", "Venus is hot", "Mars is the red planet", " ", "Venus is hot", "红色的行星", "x" * 3000]

Ask = Callable[[Sequence[str]], dict[str, Any]]


def plain(documents: Sequence[str]) -> dict[str, Any]:
    return {"query": QUERY, "documents": documents}


ASKS: dict[str, tuple[str, Ask]] = {
    "litellm": ("/v1/rerank", plain),
    "litellm_v2": ("/v2/rerank", plain),
    "cohere_v1": ("/cohere/v1/rerank", plain),
    "cohere_v2": ("/cohere/v2/rerank", plain),
    "jina": ("/jina/v1/rerank", plain),
    "openrouter": ("/api/v1/rerank", plain),
    "llama_cpp": ("/v1/reranking", plain),
    "infinity": ("/infinity/rerank", plain),
    "ollama": ("/api/rerank", plain),
    "voyage": ("/voyage/v1/rerank", plain),
    "dashscope_compatible": ("/v1/reranks", plain),
    "dashscope": ("/api/v1/services/rerank/text-rerank/text-rerank", lambda documents: {"input": plain(documents)}),
    "mixedbread": ("/mixedbread/v1/reranking", lambda documents: {"query": QUERY, "input": documents}),
    "tei": ("/tei/rerank", lambda documents: {"query": QUERY, "texts": documents}),
    "vllm_score": ("/v1/score", lambda documents: {"text_1": QUERY, "text_2": documents}),
    "nim": (
        "/v1/ranking",
        lambda documents: {"query": {"text": QUERY}, "passages": [{"text": text} for text in documents]},
    ),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of()) as address:
        yield address


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(headers={"authorization": f"Bearer {MASTER_KEY}"}) as client:
        yield client


def rows(body: Any) -> list[tuple[int, float]]:
    """(index, score) of each result of an answer, in its order."""
    if isinstance(body, dict):
        body = body.get("output", body)
        body = body.get("results") or body.get("data") or body.get("rankings") or []
    scores = ("relevance_score", "score", "logit")
    return [(row["index"], next(row[name] for name in scores if name in row)) for row in body]


def test_every_dialect_that_ranks_is_tested() -> None:
    assert ASKS.keys() == {dialect.name for dialect in dialects() if dialect.paths}


@pytest.mark.parametrize("name", ASKS)
def test_every_document_is_answered_once_best_first(name: str, url: str, http: httpx.Client) -> None:
    path, ask = ASKS[name]
    found = rows(http.post(f"{url}{path}", json=ask(DOCUMENTS)).json())

    assert sorted(index for index, _ in found) == list(range(len(DOCUMENTS)))
    assert all(type(score) is float for _, score in found)
    if name == "vllm_score":
        assert [index for index, _ in found] == list(range(len(DOCUMENTS)))
        return
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0][0] == 2
    assert {index for index, _ in found[-2:]} == {0, 3}  # blank documents


@pytest.mark.property
@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(ASKS)),
    documents=st.lists(st.one_of(st.text(), st.sampled_from(DOCUMENTS)), min_size=1, max_size=12),
)
def test_no_documents_leave_a_dialect_without_an_answer(
    name: str, documents: list[str], url: str, http: httpx.Client
) -> None:
    path, ask = ASKS[name]
    answer = http.post(f"{url}{path}", json=ask(documents))
    assert answer.status_code == 200
    assert sorted(index for index, _ in rows(answer.json())) == list(range(len(documents)))
