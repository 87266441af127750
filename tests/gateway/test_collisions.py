"""On the paths that several dialects share, the body decides; under a prefix, the path does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, gateway_of, running

QUERY, TEXTS = "Which planet is red?", ["Venus is hot", "Mars is the red planet"]
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}

SHARED = ("/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking")
BODIES: dict[str, dict[str, Any]] = {
    "tei": {"query": QUERY, "texts": TEXTS},
    "nim": {"query": {"text": QUERY}, "passages": [{"text": text} for text in TEXTS]},
    "dashscope": {"input": {"query": QUERY, "documents": TEXTS}, "parameters": {}},
    "mixedbread": {"query": QUERY, "input": TEXTS},
    "vllm_score": {"text_1": QUERY, "text_2": TEXTS},
    "voyage": {"query": QUERY, "documents": TEXTS, "top_k": 2},
    "infinity": {"query": QUERY, "documents": TEXTS, "raw_scores": False, "return_documents": True},
    "cohere": {"query": QUERY, "documents": TEXTS},
    "cohere and top_k": {"query": QUERY, "documents": TEXTS, "top_n": 2, "top_k": 2},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of()) as address:
        yield address


def shape(body: Any) -> str:
    """Which dialect an answer is in."""
    if isinstance(body, list):
        return "tei"
    if "rankings" in body:
        return "nim"
    if "output" in body:
        return "dashscope"
    if "data" in body:
        row = body["data"][0]
        return "mixedbread" if "input" in row else "voyage" if "document" in row else "vllm_score"
    return "infinity" if isinstance(body["results"][0].get("document"), str) else "cohere"


@pytest.mark.parametrize("path", SHARED)
@pytest.mark.parametrize("name", BODIES)
def test_body_decides_on_a_shared_path(name: str, path: str, url: str) -> None:
    answer = httpx.post(f"{url}{path}", json=BODIES[name], headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert shape(answer.json()) == name.partition(" ")[0]


@pytest.mark.parametrize("path", ["/cohere/v2/rerank", "/jina/v1/rerank", "/api/v1/rerank", "/api/rerank"])
def test_path_decides_under_a_prefix(path: str, url: str) -> None:
    answer = httpx.post(f"{url}{path}", json={"query": QUERY, "documents": TEXTS, "top_k": 1}, headers=HEADERS)
    assert len(answer.json()["results"]) == 2
    assert answer.headers["x-anyrerank-ignored"] == "top_k"


@pytest.mark.parametrize(
    ("path", "wanted", "expected"),
    [
        ("/rerank", None, True),
        ("/v1/rerank", None, True),
        ("/cohere/v1/rerank", None, True),
        ("/api/v1/rerank", None, True),
        ("/v2/rerank", None, False),
        ("/cohere/v2/rerank", None, False),
        ("/jina/v1/rerank", None, False),
        ("/reranking", None, False),
        ("/rerank", False, False),
        ("/cohere/v1/rerank", False, False),
        ("/v2/rerank", True, True),
        ("/jina/v1/rerank", True, True),
    ],
)
def test_documents_come_back_as_the_dialect_has_it(path: str, wanted: bool | None, expected: bool, url: str) -> None:
    body = {"query": QUERY, "documents": TEXTS, **({} if wanted is None else {"return_documents": wanted})}
    rows = httpx.post(f"{url}{path}", json=body, headers=HEADERS).json()["results"]
    assert [row.get("document") for row in rows] == (
        [{"text": TEXTS[1]}, {"text": TEXTS[0]}] if expected else [None] * 2
    )
