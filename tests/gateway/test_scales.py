"""One scale for the scores of a model and its fallbacks."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.testing import StubServer

ASK = {"model": "best", "query": "red planet", "documents": ["Venus", "Mars"], "return_documents": False}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture
def nim() -> Iterator[StubServer]:
    with StubServer({"Venus": -2.0, "Mars": 3.0}) as server:
        yield server


def models(nim: StubServer, spare: str) -> list[dict[str, Any]]:
    known = entry("best", "nvidia_nim/ranking/m", api_key="k", api_base=nim.url)
    return [known, entry("spare", spare, api_key="k", api_base=nim.url)]


def ask(nim: StubServer, spare: str, allow: bool | None = None, **body: Any) -> httpx.Response:
    gateway = gateway_of(
        models(nim, spare), fallbacks=[{"best": ["spare"]}], settings={"allow_score_scale_change": allow}
    )
    with running(gateway) as url:
        return httpx.post(f"{url}/rerank", json={**ASK, **body}, headers=HEADERS)


def test_scores_are_from_0_to_1_if_a_fallback_has_another_scale(nim: StubServer) -> None:
    answer = ask(nim, "cohere/rerank-v3.5")

    assert answer.headers["x-anyrerank-score-mode"] == "unit"
    assert [row["relevance_score"] for row in answer.json()["results"]] == pytest.approx([0.953, 0.119], abs=1e-3)


def test_scores_stay_logits_if_the_scale_of_a_fallback_is_unknown(nim: StubServer) -> None:
    answer = ask(nim, "cohere_compatible/m")

    assert answer.headers["x-anyrerank-score-mode"] == "logit"
    assert [row["relevance_score"] for row in answer.json()["results"]] == [3.0, -2.0]


def test_unknown_scale_is_refused_if_the_settings_say_so(nim: StubServer) -> None:
    answer = ask(nim, "cohere_compatible/m", allow=False)

    assert answer.status_code == 400
    assert "allow_score_scale_change" in answer.json()["message"]
    assert nim.requests == []


def test_model_without_the_fallback_is_answered_although_scales_may_not_change(nim: StubServer) -> None:
    assert ask(nim, "cohere_compatible/m", allow=False, fallbacks=[]).status_code == 200
