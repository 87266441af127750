"""A real Infinity server, compared with the scores that its model computes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest

from anyrerank import AuthenticationError, BadRequestError, NotFoundError, Reranker, RerankResponse
from tests.servers.conftest import Server
from tests.servers.truth import CLOSE, QUERIES, TEXTS, Truth, order
from tests.support.frameworks import FACES, Face
from tests.support.harness import Mode

MODEL = "infinity/tiny"


@pytest.fixture
def reranker(mode: Mode, infinity: Server) -> Reranker:
    return mode.reranker(MODEL, api_base=infinity.url, api_key=infinity.key)


def check(response: RerankResponse, scores: Sequence[float], top_n: int | None = None) -> None:
    """Order, scores and documents must be those of the model."""
    indexes = order(scores)[:top_n]
    assert [result.index for result in response.results] == indexes
    assert [result.relevance_score for result in response.results] == pytest.approx(
        [scores[index] for index in indexes], abs=CLOSE
    )
    assert [result.document for result in response.results] == [{"text": TEXTS[index]} for index in indexes]


def test_expected_scores_differ_and_change_the_order(truth: Truth) -> None:
    """Otherwise an adapter that does nothing would pass."""
    for scores in (*truth.unit, *truth.logits):
        ordered = sorted(scores)
        assert min(high - low for low, high in pairwise(ordered)) > 20 * CLOSE
        assert order(scores) != list(range(len(TEXTS)))
    assert order(truth.unit[0]) != order(truth.unit[1])


def test_scores_are_those_of_the_model(mode: Mode, reranker: Reranker, truth: Truth) -> None:
    response = mode.rerank(reranker, QUERIES[0], TEXTS)
    check(response, truth.unit[0])
    assert response.id is not None
    assert response.id.startswith("infinity-")
    assert [attempt.status for attempt in response.attempts] == [200]


def test_raw_scores_are_logits(mode: Mode, reranker: Reranker, truth: Truth) -> None:
    check(mode.rerank(reranker, QUERIES[0], TEXTS, raw_scores=True), truth.logits[0])
    check(mode.rerank(reranker, QUERIES[0], TEXTS, raw_scores=True, score_mode="unit"), truth.unit[0])


def test_top_n_keeps_the_best_results(mode: Mode, reranker: Reranker, truth: Truth) -> None:
    check(mode.rerank(reranker, QUERIES[0], TEXTS, top_n=3), truth.unit[0], top_n=3)


def test_batches_score_like_one_request(mode: Mode, reranker: Reranker, truth: Truth) -> None:
    response = mode.rerank(reranker, QUERIES[0], TEXTS, batch_size=2)
    check(response, truth.unit[0])
    assert [attempt.status for attempt in response.attempts] == [200] * 5


def test_rerank_many_gives_every_query_its_scores(mode: Mode, reranker: Reranker, truth: Truth) -> None:
    responses = mode.rerank_many(reranker, QUERIES * 4, [TEXTS] * 8, max_concurrency=4)
    for response, scores in zip(responses, [*truth.unit] * 4, strict=True):
        check(response, scores)


def test_mappings_are_ranked_by_their_text_and_returned_whole(mode: Mode, reranker: Reranker, truth: Truth) -> None:
    documents = [{"text": text, "number": number} for number, text in enumerate(TEXTS)]
    response = mode.rerank(reranker, QUERIES[0], documents)
    indexes = order(truth.unit[0])
    assert [result.document for result in response.results] == [documents[index] for index in indexes]


def test_documents_are_split_at_the_limit_of_the_server(mode: Mode, reranker: Reranker, infinity: Server) -> None:
    texts = [f"planet {number}" for number in range(2049)]
    body = {"model": "tiny", "query": QUERIES[0], "documents": texts}
    refused = httpx.post(f"{infinity.url}/rerank", json=body, headers={"authorization": f"Bearer {infinity.key}"})
    assert refused.status_code == 422

    response = mode.rerank(reranker, QUERIES[0], texts, timeout=60.0)
    assert sorted(result.index for result in response.results) == list(range(2049))
    assert [attempt.status for attempt in response.attempts] == [200, 200]


def test_error_for_a_long_text_does_not_show_it(mode: Mode, reranker: Reranker) -> None:
    """The server quotes the whole text."""
    with pytest.raises(BadRequestError, match=r"body\.documents\.1: String should have at most 122880") as caught:
        mode.rerank(reranker, QUERIES[0], [TEXTS[0], "wide river " * 12_000])
    assert caught.value.status_code == 422
    assert "wide" not in repr(caught.value)


@pytest.mark.parametrize("key", ["another-key-7Hq2", None])
def test_wrong_key_raises_without_showing_it(mode: Mode, infinity: Server, key: str | None) -> None:
    reranker = mode.reranker(MODEL, api_base=infinity.url, api_key=key)
    with pytest.raises(AuthenticationError, match="Infinity answered 401: Unauthorized") as caught:
        mode.rerank(reranker, QUERIES[0], TEXTS)
    assert caught.value.status_code == 401
    assert "another" not in repr(caught.value)


def test_unknown_path_raises_not_found(mode: Mode, infinity: Server) -> None:
    reranker = mode.reranker(MODEL, api_base=f"{infinity.url}/elsewhere", api_key=infinity.key)
    with pytest.raises(NotFoundError, match="Infinity answered 404: Not Found") as caught:
        mode.rerank(reranker, QUERIES[0], TEXTS)
    assert caught.value.url == f"{infinity.url}/elsewhere/rerank"


@pytest.mark.parametrize("prefix", ["cohere_compatible", "jina_compatible"])
def test_compatible_providers_return_the_same_scores(prefix: str, mode: Mode, infinity: Server, truth: Truth) -> None:
    other = mode.reranker(f"{prefix}/tiny", api_base=f"{infinity.url}/rerank", api_key=infinity.key)
    check(mode.rerank(other, QUERIES[1], TEXTS), truth.unit[1])


@pytest.mark.parametrize("options", [{}, {"raw_scores": True}], ids=["unit", "raw"])
@pytest.mark.parametrize("face", FACES, ids=str)
def test_framework_adapter_ranks_like_the_model(
    face: Face, options: dict[str, Any], infinity: Server, truth: Truth
) -> None:
    adapter = face.make(model=MODEL, api_base=infinity.url, api_key=infinity.key, top_n=4, options=options)
    ranked = face.ranked(adapter, TEXTS, QUERIES[0])
    scores = (truth.logits if options else truth.unit)[0]
    indexes = order(scores)[:4]
    assert [text for text, _ in ranked] == [TEXTS[index] for index in indexes]
    assert [score for _, score in ranked] == pytest.approx([scores[index] for index in indexes], abs=CLOSE)
