import math
from typing import Any

import pytest

from anyrerank._core.engine import order
from anyrerank._core.engine.ranking import Scored, best_first, fused, logistic, results
from anyrerank._core.types import RerankResult

HUGE = 1.7e308


def ordered(scored: list[Scored], **given: Any) -> list[Scored]:
    return order(scored, **{"logits": False, "threshold": None, "fuse": None, **given})


@pytest.mark.parametrize(
    ("logit", "share"),
    [(0.0, 0.5), (math.log(3), 0.75), (-math.log(3), 0.25), (HUGE, 1.0), (-HUGE, 0.0), (800.0, 1.0), (-800.0, 0.0)],
)
def test_logistic_maps_logits_to_0_1(logit: float, share: float) -> None:
    assert logistic(logit) == pytest.approx(share, abs=1e-15)


def test_logistic_keeps_small_differences_of_low_logits() -> None:
    assert 0.0 < logistic(-40.0) < logistic(-39.0) < 1e-16


def test_order_keeps_the_scores_of_the_provider() -> None:
    assert ordered([(0, -7.5), (1, 12.25)]) == [(1, 12.25), (0, -7.5)]


def test_order_maps_logits_and_keeps_their_order() -> None:
    assert ordered([(0, -HUGE), (1, 0.0), (2, HUGE)], logits=True) == [(2, 1.0), (1, 0.5), (0, 0.0)]


def test_mapped_score_does_not_depend_on_the_other_documents() -> None:
    alone = ordered([(0, 2.0)], logits=True)
    among_others = ordered([(0, 2.0), (1, 9.0), (2, -9.0)], logits=True)
    assert alone[0] in among_others


@pytest.mark.parametrize("scored", [[(0, 1.0), (1, 1.0), (2, 1.0)], [(2, 1.0), (0, 1.0), (1, 1.0)]])
def test_equal_scores_are_in_input_order(scored: list[Scored]) -> None:
    assert best_first(scored) == [(0, 1.0), (1, 1.0), (2, 1.0)]


def test_best_first_with_ties_among_others() -> None:
    assert best_first([(3, 0.5), (1, 0.9), (0, 0.5), (2, -0.0), (4, 0.0)]) == [
        (1, 0.9),
        (0, 0.5),
        (3, 0.5),
        (2, 0.0),
        (4, 0.0),
    ]


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (None, [0, 1, 2, 3]),
        (0.0, [0, 1]),
        (0, [0, 1]),
        (-2.0, [0, 1, 2]),
        (-100.0, [0, 1, 2, 3]),
        (1.5, [0]),
        (1.6, []),
    ],
)
def test_threshold_keeps_scores_that_reach_it(threshold: float | None, kept: list[int]) -> None:
    scored = [(0, 1.5), (1, 0.0), (2, -2.0), (3, -3.0)]
    assert [index for index, _ in ordered(scored, threshold=threshold)] == kept


def test_threshold_is_compared_with_mapped_scores() -> None:
    scored = [(0, 3.0), (1, 0.1), (2, -0.1)]
    kept = ordered(scored, logits=True, threshold=0.5)
    assert [index for index, _ in kept] == [0, 1]


def test_fused_scores_are_those_computed_by_hand() -> None:
    # The reranker's order is 2, 0, 1; the incoming one is 0, 1, 2.
    indexes, scores = zip(*fused([(2, 9.0), (0, 5.0), (1, 1.0)]), strict=True)
    assert indexes == (0, 2, 1)
    assert scores == pytest.approx((1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 63 + 1 / 62))


def test_order_fuses_only_if_asked_to() -> None:
    scored = [(0, 5.0), (1, 1.0), (2, 9.0)]
    assert [index for index, _ in ordered(scored)] == [2, 0, 1]
    assert [index for index, _ in ordered(scored, fuse="rrf")] == [0, 2, 1]


def test_incoming_rank_counts_documents_without_a_score() -> None:
    [(index, score)] = fused([(4, 1.0)])
    assert index == 4
    assert score == pytest.approx(1 / 61 + 1 / 65)


def test_fused_ties_are_in_input_order() -> None:
    assert [index for index, _ in fused([(1, 2.0), (0, 1.0)])] == [0, 1]


def test_threshold_is_compared_with_the_score_before_fusion() -> None:
    scored = [(0, 0.2), (1, 0.9), (2, 0.8)]
    kept = ordered(scored, fuse="rrf", threshold=0.8)
    assert kept == [pair for pair in fused(best_first(scored)) if pair[0] != 0]


def test_results_have_index_score_and_document() -> None:
    documents: list[Any] = ["a", {"text": "b", "source": "s"}, "c"]
    ranked = results([(1, 0.9), (0, 0.5), (2, 0.1)], (), documents, top_n=None, with_documents=True)
    assert list(ranked) == [
        RerankResult(index=1, relevance_score=0.9, document={"text": "b", "source": "s"}),
        RerankResult(index=0, relevance_score=0.5, document={"text": "a"}),
        RerankResult(index=2, relevance_score=0.1, document={"text": "c"}),
    ]
    assert next(iter(ranked)).document is documents[1]


@pytest.mark.parametrize(
    ("top_n", "indexes", "scores"),
    [
        (None, (3, 1, 0, 2), (0.9, 0.5, None, None)),
        (4, (3, 1, 0, 2), (0.9, 0.5, None, None)),
        (99, (3, 1, 0, 2), (0.9, 0.5, None, None)),
        (3, (3, 1, 0), (0.9, 0.5, None)),
        (2, (3, 1), (0.9, 0.5)),
        (1, (3,), (0.9,)),
    ],
)
def test_blank_documents_come_last_if_top_n_leaves_room(
    top_n: int | None, indexes: tuple[int, ...], scores: tuple[float | None, ...]
) -> None:
    ranked = results([(3, 0.9), (1, 0.5)], [0, 2], ["", "b", " ", "d"], top_n=top_n, with_documents=True)
    assert (ranked.indexes, ranked.scores) == (indexes, scores)
    assert [result.document for result in ranked] == [{"text": ["", "b", " ", "d"][index]} for index in indexes]


def test_results_without_documents() -> None:
    ranked = results([(0, 0.5)], [1], ["a", ""], top_n=None, with_documents=False)
    assert list(ranked) == [RerankResult(index=0, relevance_score=0.5), RerankResult(index=1, relevance_score=None)]


def test_results_of_nothing_are_empty() -> None:
    assert list(results((), (), ["a"], top_n=3, with_documents=True)) == []
