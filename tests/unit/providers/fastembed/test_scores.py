"""Scores of models that FastEmbed runs."""

import math
from collections.abc import Callable, Sequence

import pytest
from tests.support.frameworks import FACES, Face
from tests.support.harness import Mode, leaks

from anyrerank import BadRequestError, InternalServerError
from anyrerank.providers import load

pytest.importorskip("onnx")
pytest.importorskip("fastembed.rerank.cross_encoder")
from tests.unit.providers.fastembed.models import DOCUMENTS, ORDER, QUERY, Predict
from tests.unit.providers.overlap_onnx import WINDOW

SCORES = [4.0, 0.0, 5.0, 1.0]


def test_scores_are_the_logits_of_the_model(model: str, mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model), QUERY, DOCUMENTS)
    assert list(response.results.indexes) == ORDER
    assert [each.relevance_score for each in response.results] == [SCORES[index] for index in ORDER]
    assert [each.document for each in response.results] == [{"text": DOCUMENTS[index]} for index in ORDER]
    assert (response.meta.billed_units, response.meta.tokens, response.provider) == (None, None, "fastembed")


def test_provider_attributes() -> None:
    kind = load("fastembed")
    assert (kind.__name__, kind.prefix, kind.extra, kind.scale) == ("FastEmbed", "fastembed", "fastembed", "logit")
    assert (kind.needs_key, kind.options, set(kind.settings)) == (False, frozenset(), {"device", "threads"})
    assert not kind.listwise


def test_call_options_apply(model: str, mode: Mode) -> None:
    reranker = mode.reranker(model)
    unit = mode.rerank(reranker, QUERY, DOCUMENTS, score_mode="unit", top_n=2)
    assert [each.relevance_score for each in unit.results] == pytest.approx([1 / (1 + math.exp(-x)) for x in (5, 4)])
    assert list(mode.rerank(reranker, QUERY, DOCUMENTS, score_threshold=1.0).results.indexes) == ORDER[:3]
    documents = [{"title": "capital of Canada", "text": "river"}, "", {"title": "river", "text": "capital of Canada"}]
    assert list(mode.rerank(reranker, QUERY, documents).results.indexes) == [2, 0, 1]
    assert list(mode.rerank(reranker, QUERY, documents, rank_fields=["title"]).results.indexes) == [0, 2, 1]
    with pytest.raises(BadRequestError, match="max_chunks_per_doc"):
        mode.rerank(reranker, QUERY, DOCUMENTS, max_chunks_per_doc=3)


def test_extra_body_raises(model: str, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="extra_body"):
        mode.rerank(mode.reranker(model, extra_body={"beta": 1}), QUERY, DOCUMENTS)


@pytest.mark.parametrize("face", FACES, ids=str)
def test_framework_adapter_ranks_like_the_model(model: str, face: Face) -> None:
    adapter = face.make(model=model, top_n=2, options={"threads": 1})
    assert face.ranked(adapter, DOCUMENTS, QUERY) == [(DOCUMENTS[2], 5.0), (DOCUMENTS[0], 4.0)]


def test_long_document_is_truncated(model: str, sync_mode: Mode) -> None:
    room = WINDOW - len(["[CLS]", *QUERY.split(), "?", "[SEP]", "[SEP]"])
    long = "the " * 500
    response = sync_mode.rerank(sync_mode.reranker(model), QUERY, [long, "river " * room + "Canada"])
    assert [each.relevance_score for each in response.results] == [room, 0]


def test_chunks_score_like_single_documents(model: str, predicted: list[int], mode: Mode) -> None:
    documents = [f"{'the capital ' * (index % 7)}of {'river ' * (index % 5)}" for index in range(130)]
    reranker = mode.reranker(model)
    together = dict(mode.rerank(reranker, QUERY, documents).results.pairs())
    assert predicted == [64, 64, 2]
    for index, document in enumerate(documents):
        (alone,) = mode.rerank(reranker, QUERY, [document]).results
        assert together[index] == pytest.approx(alone.relevance_score, abs=1e-5)
        assert together[index] == 1 + 2 * (index % 7)


def test_documents_of_similar_length_are_scored_together(
    model: str, predicting: Callable[[Predict], None], sync_mode: Mode
) -> None:
    chunks: list[set[int]] = []

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        chunks.append({len(text) for text in texts})
        return predict()

    predicting(around)
    sync_mode.rerank(sync_mode.reranker(model), QUERY, ["the", "the capital"] * 64)
    assert chunks == [{11}, {3}]


def test_half_a_character_is_replaced_for_the_model_only(
    model: str, predicting: Callable[[Predict], None], mode: Mode
) -> None:
    seen: list[str] = []

    def look(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        seen.extend(texts)
        return predict()

    predicting(look)
    response = mode.rerank(mode.reranker(model), "half a \ud83d query", ["half a \ud83d pair", "river"])
    assert sorted(seen) == ["half a \ufffd pair", "river"]
    assert {"text": "half a \ud83d pair"} in [result.document for result in response.results]


def test_failing_prediction_that_quotes_a_text_is_withheld(
    model: str, predicting: Callable[[Predict], None], mode: Mode
) -> None:
    def fail(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        raise RuntimeError(f"bad shape for {texts[0]}\nand much more")

    predicting(fail)
    with pytest.raises(InternalServerError, match=r"failed: RuntimeError: .*withheld") as caught:
        mode.rerank(mode.reranker(model, max_retries=2), QUERY, DOCUMENTS)
    assert not leaks(caught.value, [*DOCUMENTS, "much more"])


def test_out_of_memory_halves_the_batch(model: str, predicting: Callable[[Predict], None], mode: Mode) -> None:
    def small(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        if len(texts) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return predict()

    predicting(small)
    response = mode.rerank(mode.reranker(model), QUERY, [*DOCUMENTS, "river"])
    assert list(response.results.indexes) == [*ORDER, 4]


def test_rerank_many_gives_every_query_its_scores(model: str, mode: Mode) -> None:
    reranker = mode.reranker(model)
    responses = mode.rerank_many(reranker, [QUERY, "river", "Lisbon"], [DOCUMENTS] * 3)
    assert [response.results[0].index for response in responses] == [2, 3, 0]
