import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from anyrerank import BadRequestError, ConfigurationError, arerank, rerank
from anyrerank.providers.local import lexical_scores

MODEL = "local/lexical"
PASSAGES = [
    "The H100 SXM has a GPU memory bandwidth of 3.35 TB/s.",
    "Memory bandwidth matters for inference.",
    "The moon orbits the earth.",
]
QUERY = "What is the GPU memory bandwidth of H100 SXM?"


def order(query: str, documents: Sequence[Any], **given: Any) -> list[int]:
    return list(rerank(MODEL, query, documents, **given).results.indexes)


def score(query: str, *documents: str) -> float:
    return lexical_scores(query, documents)[0]


@pytest.mark.parametrize(
    ("query", "best_to_worst"),
    [
        (QUERY, PASSAGES),
        ("running shoes", ["running shoes for the road", "shoes for a wedding", "a recipe with beans"]),
        ("error code 0x80070057", ["fails with 0x80070057", "fails with an error", "works"]),
        ("rerankers", ["two rerankers compared", "a reranker", "beans"]),
        ("rare common", ["rare word", "common word", "common words", "common place", "nothing"]),
        ("банка", ["в банка данных", "банки данных", "река и лес"]),
        ("αναζήτηση κειμένου", ["αναζήτηση κειμένου", "αναζήτηση εικόνας", "μουσική"]),
        ("東京タワーの高さ", ["東京タワーの高さは333メートルです", "東京タワーは赤い", "大阪城の歴史"]),
    ],
)
def test_documents_are_ranked_by_relevance(query: str, best_to_worst: list[str]) -> None:
    shuffled = best_to_worst[::-1]
    ranked = [shuffled[index] for index in order(query, shuffled)]
    assert ranked[0] == best_to_worst[0]
    assert ranked[-1] == best_to_worst[-1]
    scores = lexical_scores(query, best_to_worst)
    assert scores[0] > scores[1] > scores[-1]


def test_scores_range_from_zero_to_nearly_one() -> None:
    scores = lexical_scores("alpha beta", ["gamma delta", "alpha beta " * 200, "other words"])
    assert scores[0] == scores[2] == 0.0
    assert 0.9 < scores[1] <= 1.0


@pytest.mark.parametrize("query", ["?!", "...", "—", "🙂"])
def test_query_without_words_scores_zero(query: str) -> None:
    assert lexical_scores(query, ["some words", "?!", ""]) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_scores_stay_within_unit_range_when_every_document_matches(count: int) -> None:
    texts = ["query words " * (index + 1) for index in range(count)]
    assert all(0.0 <= value <= 1.0 for value in lexical_scores("query words", texts))


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("GPU", "gpu"),
        ("straße", "STRASSE"),
        ("\uff21\uff22\uff23\uff11\uff12\uff13", "abc123"),
        ("ﬁle", "file"),
        ("ΟΔΟΣ", "οδος"),
        ("caf\u00e9", "cafe\u0301"),
        ("ｶﾀｶﾅ", "カタカナ"),
    ],
)
def test_case_width_and_composition_do_not_change_the_score(query: str, document: str) -> None:
    assert score(query, document, "something else") == score(document, document, "something else") > 0.0


def test_identical_texts_have_the_same_score() -> None:
    scores = lexical_scores("moon", ["the moon", "the sun", "the moon"])
    assert scores[0] == scores[2] > scores[1]


def test_scores_do_not_depend_on_document_order() -> None:
    texts = [*PASSAGES, "A bandwidth of H100 and of memory.", ""]
    expected = dict(zip(texts, lexical_scores(QUERY, texts), strict=True))
    for shuffled in itertools.permutations(texts):
        assert dict(zip(shuffled, lexical_scores(QUERY, shuffled), strict=True)) == expected


def test_scores_are_deterministic() -> None:
    assert lexical_scores(QUERY, PASSAGES) == lexical_scores(QUERY, PASSAGES)


def test_rare_word_counts_more_than_a_common_one() -> None:
    texts = ["zebra house", "house tree", "house road", "house lake"]
    scores = lexical_scores("zebra tree house", texts)
    assert scores[0] > scores[2]
    rare, common = lexical_scores("zebra", texts)[0], lexical_scores("house", texts)[0]
    assert rare > 0.0
    assert common > 0.0
    assert lexical_scores("zebra house", ["zebra", "house", "house x", "house y"])[0] > 0.3


def test_longer_text_with_the_same_matches_scores_lower() -> None:
    scores = lexical_scores("moon", ["moon", f"moon {'and more ' * 50}"])
    assert scores[0] > scores[1] > 0.0


def test_call_needs_no_key_and_sends_nothing() -> None:
    response = rerank(MODEL, QUERY, PASSAGES)
    assert (response.provider, response.model) == ("local", "lexical")
    assert response.results.indexes == (0, 1, 2)
    assert [(attempt.deployment, attempt.status, attempt.error) for attempt in response.attempts] == [
        (MODEL, None, None)
    ]
    assert response.meta.billed_units is None
    assert (response.cost, response.cost_estimated) == (0.0, False)


async def test_sync_and_async_agree() -> None:
    asynchronous = await arerank(MODEL, QUERY, PASSAGES)
    assert asynchronous.results == rerank(MODEL, QUERY, PASSAGES).results


def test_call_options_apply() -> None:
    documents = ["", {"text": PASSAGES[2]}, {"text": PASSAGES[0], "page": 1}, PASSAGES[1]]
    assert order(QUERY, documents, top_n=2) == [2, 3]
    assert order(QUERY, documents) == [2, 3, 1, 0]
    assert 0 not in order(QUERY, documents, score_threshold=0.0)
    assert order(QUERY, documents, score_mode="unit") == [2, 3, 1, 0]
    assert order("moon", documents, rank_fields=["text"])[0] == 1
    assert order(QUERY, documents, dedupe=True) == [2, 3, 1, 0]


def test_fusion_respects_the_incoming_order() -> None:
    documents = ["the moon and more", "beans", "a page", "moon"]
    assert order("moon", documents) == [3, 0, 1, 2]
    assert order("moon", documents, fuse="rrf") == [0, 3, 1, 2]
    assert order("moon", documents, fuse="auto") == [0, 3, 1, 2]


@pytest.mark.parametrize("model", ["local/other", "local/lexical-v2", "local/LEXICAL"])
def test_other_local_model_raises(model: str) -> None:
    with pytest.raises(ConfigurationError, match="local/lexical"):
        rerank(model, QUERY, PASSAGES)


@pytest.mark.parametrize("name", ["truncate", "max_chunks_per_doc", "instruction"])
def test_option_of_another_provider_raises(name: str) -> None:
    with pytest.raises(BadRequestError, match=name):
        order(QUERY, PASSAGES, **{name: "x"})


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batch_size_raises_instead_of_splitting(batch_size: int) -> None:
    with pytest.raises(BadRequestError, match="allow_split=True"):
        rerank(MODEL, QUERY, PASSAGES, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [3, 100, None])
def test_batch_size_that_holds_all_documents_is_allowed(batch_size: int | None) -> None:
    assert order(QUERY, PASSAGES, batch_size=batch_size) == [0, 1, 2]


def test_allow_split_scores_each_batch_separately() -> None:
    response = rerank(MODEL, QUERY, PASSAGES, batch_size=2, allow_split=True)
    expected = [*lexical_scores(QUERY, PASSAGES[:2]), *lexical_scores(QUERY, PASSAGES[2:])]
    assert dict(response.results.pairs()) == dict(enumerate(expected))
    assert len(response.attempts) == 2


def test_many_documents_are_scored_together() -> None:
    documents = [f"document number {index}" for index in range(3000)]
    response = rerank(MODEL, "number 1234", documents, top_n=1)
    assert response.results.indexes == (1234,)
    assert len(response.attempts) == 1


def test_extra_body_raises() -> None:
    with pytest.raises(BadRequestError, match="extra_body"):
        rerank(MODEL, QUERY, PASSAGES, extra_body={"beta": 1})
