"""Thresholds and scales of fallbacks: the scores of each model are compared with what was meant for them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.harness import Mode

from anyrerank import RateLimitError, Reranker, Router
from anyrerank.testing import FakeProvider, StubServer, fake_provider

UNIT = {"good": 0.9, "fair": 0.3, "bad": 0.01}
LOGITS = {"good": 2.0, "fair": -1.0, "bad": -9.0}
DOCUMENTS = list(UNIT)


class First(FakeProvider, scores=UNIT):
    """The first model, with scores from 0 to 1."""


class Logits(FakeProvider, scores=LOGITS, scale="logit"):
    """The fallback; its class can be pickled."""


@pytest.fixture(autouse=True)
def _rate_limited() -> Iterator[None]:
    First.fail(RateLimitError)
    yield
    First.recover()


def spare(**options: Any) -> Reranker:
    return Reranker("fake/logits", custom_llm_provider=Logits, **options)


def first(mode: Mode, *fallbacks: Reranker, **options: Any) -> Reranker:
    return mode.reranker("fake/unit", custom_llm_provider=First, fallbacks=[*fallbacks], **options)


def kept(mode: Mode, reranker: Reranker, **overrides: Any) -> dict[str, float | None]:
    """The documents that reach the threshold, with their scores."""
    response = mode.rerank(reranker, "q", DOCUMENTS, **overrides)
    assert response.answered_by == "fake/logits"
    return {DOCUMENTS[result.index]: result.relevance_score for result in response.results}


def test_a_fallback_has_its_own_threshold(mode: Mode) -> None:
    reranker = first(mode, spare(score_threshold=-2.0), score_threshold=0.15)
    assert kept(mode, reranker) == {"good": 2.0, "fair": -1.0}
    assert kept(mode, pickle.loads(pickle.dumps(reranker))) == {"good": 2.0, "fair": -1.0}  # noqa: S301


def test_its_own_threshold_and_its_mode_hold_against_those_of_the_call(mode: Mode) -> None:
    reranker = first(mode, spare(score_threshold=-2.0))
    assert kept(mode, reranker, score_threshold=0.15, score_mode="unit") == {"good": 2.0, "fair": -1.0}
    assert kept(mode, reranker, score_threshold=None).keys() == {"good", "fair"}


def test_a_fallback_without_a_threshold_has_the_one_of_the_call(mode: Mode) -> None:
    assert kept(mode, first(mode, spare(), score_threshold=-1.5)) == {"good": 2.0, "fair": -1.0}
    assert kept(mode, first(mode, spare()), score_threshold=-1.5).keys() == {"good", "fair"}


@pytest.mark.parametrize(("own", "outer", "is_unit"), [("unit", "raw", True), ("raw", "unit", False)])
def test_a_fallback_has_its_own_mode(mode: Mode, own: Any, outer: Any, is_unit: bool) -> None:
    reranker = first(mode, spare(score_mode=own), score_mode=outer)
    assert kept(mode, reranker)["good"] == (pytest.approx(0.8808, abs=1e-4) if is_unit else 2.0)
    assert mode.rerank(reranker, "q", DOCUMENTS).score_scale == ("unit" if is_unit else "logit")


def test_the_threshold_of_the_call_is_on_the_own_scale_of_a_fallback(mode: Mode) -> None:
    assert kept(mode, first(mode, spare(score_mode="unit"), score_threshold=0.15)).keys() == {"good", "fair"}


def test_a_fallback_has_its_own_scale(mode: Mode) -> None:
    with StubServer(lambda _, text: LOGITS[text]) as server:
        own = Reranker("cohere_compatible/mine", api_base=server.url, score_scale="logit")
        response = mode.rerank(first(mode, own, score_mode="unit", score_threshold=0.15), "q", DOCUMENTS)
    assert (response.provider, response.results.indexes) == ("cohere_compatible", (0, 1))


def test_the_own_threshold_of_a_fallback_holds_for_its_fallbacks_too(mode: Mode) -> None:
    broken = fake_provider()
    broken.fail(RateLimitError)
    between = Reranker("fake/between", custom_llm_provider=broken, fallbacks=[spare()], score_threshold=0.0)
    assert kept(mode, first(mode, between)) == {"good": 2.0}


MIXED = (
    "score_threshold=0.15 is compared with scores on different scales: fake/unit (unit), fake/logits (logit); in "
    "fallbacks pass a Reranker with its own score_threshold (a Router has one for all models)"
)


def test_a_threshold_for_two_scales_is_warned_of_when_it_is_set(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    first(mode, spare(), score_threshold=0.15)
    (record,) = caplog.records
    assert record.getMessage() == MIXED


@pytest.mark.parametrize(
    ("own", "outer"),
    [
        ({"score_threshold": -2.0}, {"score_threshold": 0.15}),
        ({"score_mode": "unit"}, {"score_threshold": 0.15}),
        ({}, {"score_threshold": 0.15, "score_mode": "unit"}),
        ({}, {}),
    ],
    ids=str,
)
def test_a_threshold_for_one_scale_is_not_warned_of(
    mode: Mode, caplog: pytest.LogCaptureFixture, own: dict[str, Any], outer: dict[str, Any]
) -> None:
    first(mode, spare(**own), **outer)
    first(mode, Reranker("cohere_compatible/mine", api_base="http://own.test"), **outer)
    assert caplog.records == []


def test_a_scale_is_known_without_a_key(caplog: pytest.LogCaptureFixture) -> None:
    Reranker("cohere/rerank-v3.5", fallbacks=["nvidia_nim/nvidia/rerank-qa"], score_threshold=0.15)
    (record,) = caplog.records
    assert "cohere/rerank-v3.5 (unit), nvidia_nim/nvidia/rerank-qa (logit)" in record.getMessage()


def test_a_fallback_of_a_router_has_the_scale_of_its_deployment(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    with StubServer(lambda _, text: LOGITS[text]) as server:
        mine = {"model": "cohere_compatible/mine", "api_base": server.url, "score_scale": "logit"}
        entries = [
            {"model_name": "r", "litellm_params": {"model": "fake/unit", "custom_llm_provider": First}},
            {"model_name": "spare", "litellm_params": mine},
        ]
        options: dict[str, Any] = {"default_fallbacks": ["spare"], "score_threshold": 0.15}
        with Router(entries, score_mode="unit", **options) as router:
            assert mode.rerank(router.as_reranker("r"), "q", DOCUMENTS).results.indexes == (0, 1)
        caplog.clear()
        Router(entries, **options).close()
    (record,) = caplog.records
    assert "different scales: fake/unit (unit), cohere_compatible/mine (logit); in fallbacks" in record.getMessage()
