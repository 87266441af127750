"""Jina AI: models that rank images, and listwise models."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import KEY, QUERY, Mode, Replay, answering, sent_by
from tests.support.loopback import Line, Loopback, ranking

from anyrerank import BadRequestError

TEXT_ONLY = [
    "jina-reranker-v1-turbo-en",
    "jina-reranker-v2-base-multilingual",
    "jina-reranker-v3",
    "jina-reranker-v3.5",
    "jina-colbert-v2",
]
LISTWISE = ["jina-reranker-v3", "jina-reranker-v3.5", "jina-reranker-v4", "jina-reranker-v10"]
POINTWISE = ["jina-reranker-v1-base-en", "jina-reranker-v2-base-multilingual", "jina-reranker-m0", "jina-colbert-v2"]
PICTURE = "https://pictures.example/flag.png"
NUMBERED = [f"document {number}" for number in (4, 2, 0, 3, 1)]
BEST_FIRST = [2, 4, 1, 3, 0]


@pytest.mark.parametrize("model", ["jina-reranker-m0", "jina-reranker-m1", "acme-vision"])
@pytest.mark.parametrize(
    "documents",
    [
        [{"image": PICTURE}],
        [{"image": "iVBORw0KGgo="}, "Lisbon", {"text": "Ottawa"}],
        [{"image": PICTURE, "text": "a flag", "page": 3}, "Lisbon"],
    ],
)
def test_mappings_with_images_are_sent_whole(model: str, documents: list[Any], mode: Mode) -> None:
    assert json.loads(sent_by(mode, f"jina_ai/{model}", documents).content)["documents"] == documents


@pytest.mark.parametrize("model", TEXT_ONLY)
def test_image_for_a_text_model_raises_and_names_the_document(model: str, mode: Mode) -> None:
    with pytest.raises(
        BadRequestError, match=r"documents\[1\] has an 'image', which this provider cannot rank"
    ) as caught:
        sent_by(mode, f"jina_ai/{model}", ["Lisbon", {"image": PICTURE}])
    assert caught.value.status_code is None
    assert PICTURE not in str(caught.value)


@pytest.mark.parametrize("model", TEXT_ONLY)
def test_text_model_ranks_the_text_of_a_mapping_with_an_image(model: str, mode: Mode) -> None:
    document = {"text": "a flag", "image": PICTURE}
    assert json.loads(sent_by(mode, f"jina_ai/{model}", [document, "Lisbon"]).content)["documents"] == [
        "a flag",
        "Lisbon",
    ]


def test_null_image_is_ignored(sync_mode: Mode) -> None:
    request = sent_by(sync_mode, "jina_ai/jina-reranker-m0", [{"text": "a flag", "image": None}, "Lisbon"])
    assert json.loads(request.content)["documents"] == ["a flag", "Lisbon"]


def test_blank_image_without_text_raises(mode: Mode) -> None:
    with pytest.raises(BadRequestError) as caught:
        sent_by(mode, "jina_ai/jina-reranker-m0", [{"image": ""}])
    assert caught.value.status_code is None


def test_blank_image_with_blank_text_is_not_sent(mode: Mode) -> None:
    replay = answering({})
    reranker = mode.reranker("jina_ai/jina-reranker-m0", http_client=replay.client(mode))
    assert mode.rerank(reranker, QUERY, [{"image": " ", "text": ""}]).degraded
    assert replay.seen == []


@pytest.mark.parametrize("model", LISTWISE)
def test_listwise_model_raises_instead_of_splitting(model: str, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="allow_split") as caught:
        sent_by(mode, f"jina_ai/{model}", NUMBERED, batch_size=2)
    assert caught.value.status_code is None


@pytest.mark.parametrize("model", LISTWISE)
def test_listwise_model_gets_all_documents_in_one_request(
    model: str, mode: Mode, serve: Callable[..., Loopback]
) -> None:
    server = serve()
    reranker = mode.reranker(f"jina_ai/{model}", api_base=server.url, batch_size=5)
    assert [each.index for each in mode.rerank(reranker, QUERY, NUMBERED).results] == BEST_FIRST
    assert [hit.documents for hit in server.hits] == [NUMBERED]


@pytest.mark.parametrize(
    ("model", "options"),
    [*((model, {"allow_split": True}) for model in LISTWISE[:2]), *((model, {}) for model in POINTWISE)],
)
def test_documents_are_split_for_pointwise_models_or_with_allow_split(
    model: str, options: dict[str, Any], mode: Mode, serve: Callable[..., Loopback]
) -> None:
    server = serve()
    reranker = mode.reranker(f"jina_ai/{model}", api_base=server.url, batch_size=2, **options)
    assert [each.index for each in mode.rerank(reranker, QUERY, NUMBERED).results] == BEST_FIRST
    assert sorted(hit.documents for hit in server.hits) == sorted([NUMBERED[:2], NUMBERED[2:4], NUMBERED[4:]])
    assert {(hit.target, hit.headers["authorization"]) for hit in server.hits} == {("/v1/rerank", f"Bearer {KEY}")}


def small(line: Line) -> None:
    """Accept at most two documents."""
    if len(line.hit.documents) > 2:
        line.answer(422, {"detail": "Input has too many tokens"})
    else:
        line.answer(body=ranking(line.hit.documents))


@pytest.mark.parametrize(
    ("model", "options", "complete"),
    [
        ("jina-reranker-v2-base-multilingual", {}, True),
        ("jina-reranker-v3", {"allow_split": True}, True),
        ("jina-reranker-v3", {}, False),
    ],
)
def test_too_large_listwise_call_is_not_split(
    model: str, options: dict[str, Any], complete: bool, mode: Mode, serve: Callable[..., Loopback]
) -> None:
    server = serve(small)
    reranker = mode.reranker(f"jina_ai/{model}", api_base=server.url, **options)
    if complete:
        assert [each.index for each in mode.rerank(reranker, QUERY, NUMBERED).results] == BEST_FIRST
        return
    with pytest.raises(BadRequestError, match="too many tokens") as caught:
        mode.rerank(reranker, QUERY, NUMBERED)
    assert caught.value.status_code == 422
    assert len(server.hits) == 1


@pytest.mark.parametrize("model", LISTWISE)
def test_scale_of_listwise_models_is_unknown(model: str, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="score_mode='unit' is not possible"):
        sent_by(mode, f"jina_ai/{model}", score_mode="unit")


def test_scale_of_v2_is_unit(mode: Mode) -> None:
    replay = answering({"results": [{"index": 0, "relevance_score": 0.25}]})
    model = "jina_ai/jina-reranker-v2-base-multilingual"
    reranker = mode.reranker(model, score_mode="unit", http_client=replay.client(mode))
    assert [each.relevance_score for each in mode.rerank(reranker, QUERY, ["Ottawa"]).results] == [0.25]


@pytest.mark.parametrize("echo", [None, {}, {"text": "wrong"}, "wrong", 7, ["wrong"]])
def test_echoed_documents_are_ignored(echo: Any, mode: Mode) -> None:
    documents = ["Lisbon", {"text": "Ottawa", "page": 9}]
    rows = [{"index": 1, "relevance_score": 0.5, "document": echo}, {"index": 0, "relevance_score": 0.25}]
    replay = answering({"results": rows})
    response = mode.rerank(mode.reranker("jina_ai/jina-reranker-v3", http_client=replay.client(mode)), QUERY, documents)
    assert [each.document for each in response.results] == [documents[1], {"text": "Lisbon"}]


@pytest.mark.parametrize(
    ("usage", "total", "read"),
    [
        ({"total_tokens": 8, "prompt_tokens": 7}, 8, 7),
        ({"total_tokens": 8}, 8, 8),
        ({"total_tokens": 8, "prompt_tokens": None}, 8, 8),
        ({"prompt_tokens": 7}, None, 7),
    ],
)
def test_usage_is_read(usage: dict[str, Any], total: int | None, read: int, mode: Mode) -> None:
    exchange = answering({"results": [{"index": 0, "relevance_score": 0.5}], "usage": usage}).exchanges
    reranker = mode.reranker("jina_ai/jina-reranker-v3", http_client=Replay(exchange).client(mode))
    meta = mode.rerank(reranker, QUERY, ["Ottawa"]).meta
    assert (meta.billed_units.total_tokens if meta.billed_units else None) == total
    assert meta.tokens is not None
    assert meta.tokens.input_tokens == read
