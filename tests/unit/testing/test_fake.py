"""The fake provider: scores, recorded calls and failures, behind everything that takes a provider."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from tests.support.frameworks import FACES, Face
from tests.support.harness import Mode

from anyrerank import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    InternalServerError,
    RateLimitError,
    Reranker,
    RerankError,
    Router,
)
from anyrerank.cache import MemoryCache
from anyrerank.testing import FakeCall, FakeProvider, fake_provider

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot.", "Mars is the red planet.", "A planet is round."]
SCORES = {DOCUMENTS[0]: 0.1, DOCUMENTS[1]: 0.9}


class Shipped(FakeProvider, scores=SCORES):
    """A fake that can be pickled, since it has a name in a module."""


def made(mode: Mode, fake: type[FakeProvider], **options: Any) -> Reranker:
    return mode.reranker("fake/any-model", custom_llm_provider=fake, api_key=None, **options)


def test_scores_from_a_mapping_rank_unlisted_texts_at_zero(mode: Mode) -> None:
    response = mode.rerank(made(mode, fake_provider(SCORES)), QUERY, DOCUMENTS)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.9), (0, 0.1), (2, 0.0)]
    assert (response.provider, response.model, response.cost) == ("fake", "any-model", 0.0)


def test_scores_from_a_function_get_query_and_text(mode: Mode) -> None:
    fake = fake_provider(lambda query, text: len(query) + len(text))
    documents = [{"text": "ab", "source": "a.pdf"}, "abcd"]
    response = mode.rerank(made(mode, fake), "q?", documents)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 6.0), (0, 4.0)]


def test_scores_may_be_logits(mode: Mode) -> None:
    reranker = made(mode, fake_provider({"a": 2.0, "b": -2.0}, scale="logit"), score_mode="unit")
    assert mode.rerank(reranker, "q", ["b", "a"]).results.scores == pytest.approx((0.8808, 0.1192), abs=1e-4)
    assert mode.rerank(reranker, "q", ["b", "a"], score_mode="raw").score_scale == "logit"


def test_scale_that_is_not_one_is_refused() -> None:
    wrong: Any = "percent"
    with pytest.raises(ValueError, match="scale must be one of unit, logit, unknown, got 'percent'"):
        fake_provider(scale=wrong)


@pytest.mark.parametrize("fake", [fake_provider(), FakeProvider])
def test_default_scores_are_the_share_of_the_words_of_the_query(fake: type[FakeProvider], mode: Mode) -> None:
    response = mode.rerank(made(mode, fake), QUERY, DOCUMENTS)
    assert response.results.indexes == (1, 2, 0)
    assert response.results.scores == (0.75, 0.5, 0.25)


def test_calls_are_recorded_for_each_fake_alone(mode: Mode) -> None:
    fake, other = fake_provider(), fake_provider()
    mode.rerank(made(mode, fake), QUERY, DOCUMENTS, top_n=2, instruction="be exact")
    expected = FakeCall(
        model="any-model", query=QUERY, documents=tuple(DOCUMENTS), top_n=2, options={"instruction": "be exact"}
    )
    assert fake.calls == [expected]
    assert other.calls == FakeProvider.calls[:0] == []
    assert DOCUMENTS[0] not in repr(fake.calls)
    assert QUERY not in repr(fake.calls)


def test_every_batch_is_a_call(mode: Mode) -> None:
    fake = fake_provider(SCORES)
    response = mode.rerank(made(mode, fake), QUERY, DOCUMENTS, batch_size=2)
    assert sorted(len(call.documents) for call in fake.calls) == [1, 2]
    assert response.results.indexes == (1, 0, 2)


@pytest.mark.parametrize(
    ("error", "status"),
    [(RateLimitError, 429), (InternalServerError, 500), (APIConnectionError, None)],
)
def test_fail_with_a_class_is_retried_as_the_real_error_is(
    error: type[RerankError], status: int | None, mode: Mode, waits: list[float]
) -> None:
    fake = fake_provider()
    fake.fail(error, times=2)
    response = mode.rerank(made(mode, fake, max_retries=2), QUERY, DOCUMENTS)
    assert [(attempt.error, attempt.status) for attempt in response.attempts[:2]] == [(error.__name__, status)] * 2
    assert len(fake.calls) == 3
    assert len(waits) == 2


def test_fail_without_times_lasts_until_recover(mode: Mode) -> None:
    fake = fake_provider()
    reranker = made(mode, fake)
    given = AuthenticationError("the key has expired", status_code=401, request_id="r-1")
    fake.fail(given)
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="expired") as caught:
            mode.rerank(reranker, QUERY, DOCUMENTS)
        assert (caught.value.request_id, len(caught.value.attempts)) == ("r-1", 1)
    assert (given.attempts, given.provider) == ((), None)
    fake.recover()
    assert mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes[0] == 1


def test_failures_come_in_the_order_in_which_they_were_added(mode: Mode, waits: list[float]) -> None:
    fake = fake_provider()
    fake.fail(RateLimitError, times=1)
    fake.fail(InternalServerError, times=1)
    response = mode.rerank(made(mode, fake, max_retries=2), QUERY, DOCUMENTS)
    assert [attempt.error for attempt in response.attempts] == ["RateLimitError", "InternalServerError", None]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_score_that_is_not_finite_fails_validation(score: float, mode: Mode) -> None:
    with pytest.raises(APIResponseValidationError, match="not finite"):
        mode.rerank(made(mode, fake_provider({DOCUMENTS[1]: score})), QUERY, DOCUMENTS)


def test_scores_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="scores must be a mapping from text to score, or a function, got list"):
        fake_provider([0.5])  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyError, ValueError("x"), 503, "RateLimitError", None])
def test_fail_with_something_else_is_refused(error: Any) -> None:
    with pytest.raises(ValueError, match=r"error must be an error of anyrerank\.errors, or its class, got"):
        fake_provider().fail(error)


@pytest.mark.parametrize("times", [0, -1, True, "1", 1.5])
def test_fail_with_times_that_is_not_positive_is_refused(times: Any) -> None:
    with pytest.raises(ValueError, match="times must be a positive integer"):
        fake_provider().fail(RateLimitError, times=times)


def test_a_router_falls_back_from_a_fake_that_fails(mode: Mode) -> None:
    broken, spare = fake_provider(), fake_provider(SCORES)
    broken.fail(InternalServerError)
    entries = [
        {"model_name": name, "litellm_params": {"model": "fake/any-model", "custom_llm_provider": fake}}
        for name, fake in (("best", broken), ("spare", spare))
    ]
    router = Router(entries, fallbacks=[{"best": ["spare"]}], num_retries=0)
    response = (
        mode.run(router.arerank("best", QUERY, DOCUMENTS))
        if mode.asynchronous
        else router.rerank("best", QUERY, DOCUMENTS)
    )
    assert response.results.indexes == (1, 0, 2)
    assert (len(broken.calls), len(spare.calls)) == (1, 1)


@pytest.mark.parametrize("face", FACES, ids=str)
def test_both_frameworks_rank_with_a_fake(face: Face) -> None:
    fake = fake_provider(SCORES)
    adapter = face.make(model="fake/any-model", custom_llm_provider=fake, api_key=None)
    assert face.ranked(adapter, DOCUMENTS)[:2] == [(DOCUMENTS[1], 0.9), (DOCUMENTS[0], 0.1)]
    fake.fail(RateLimitError, times=1)
    with pytest.raises(RateLimitError):
        face.rerank(adapter, DOCUMENTS)
    assert [call.query for call in fake.calls] == [fake.calls[0].query] * 2


def test_fakes_with_different_scores_share_no_cached_score(mode: Mode) -> None:
    cache = MemoryCache()
    high, low = fake_provider({"a": 0.9}), fake_provider({"a": 0.1})
    scores = [mode.rerank(made(mode, fake, cache=cache), QUERY, ["a"]).results.scores for fake in (high, low, high)]
    assert scores == [(0.9,), (0.1,), (0.9,)]
    assert (len(high.calls), len(low.calls)) == (1, 1)


def test_cost_is_that_of_one_search_unit(mode: Mode) -> None:
    response = mode.rerank(made(mode, fake_provider(), input_cost_per_query=0.002), QUERY, DOCUMENTS)
    assert response.cost == 0.002


def test_a_subclass_in_a_module_survives_pickling(mode: Mode) -> None:
    again = pickle.loads(pickle.dumps(Reranker("fake/any-model", custom_llm_provider=Shipped)))  # noqa: S301
    assert mode.rerank(again, QUERY, DOCUMENTS).results.scores == (0.9, 0.1, 0.0)
