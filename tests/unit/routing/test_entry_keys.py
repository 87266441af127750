"""What is next to `litellm_params` in an entry of a `model_list`, and in its `model_info`."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.unit.routing.test_entries import COHERE, entry, read, refused

from anyrerank import Router
from anyrerank._core.routing.load import Terms

OTHER = entry("other")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_name": "r", "litelm_params": {"model": COHERE}}, "litelm_params; did you mean litellm_params?"),
        ({**entry(), "model_inof": {"mode": "rerank"}}, "model_inof; did you mean model_info?"),
        ({**entry(), "max_budget": 5}, "max_budget belongs in litellm_params"),
        ({**entry(), "weight": 2}, "weight belongs in litellm_params"),
        ({**entry(), "model_info": {"team_id": "search"}}, "model_info: team_id is not supported"),
        ({**entry(), "model_info": {"input_cost_per_second": 0.1}}, "set input_cost_per_query"),
        (entry(score_scale="logit"), "score_scale is not what the scores of cohere/rerank-v3.5 are"),
        (entry(guardrails=["pii"]), "litellm_params has no guardrails"),
        (entry(itpm=5), "litellm_params has no itpm"),
    ],
    ids=str,
)
def test_what_must_not_be_ignored_is_refused_although_another_is_good(given: dict[str, Any], message: str) -> None:
    assert message in refused(given, OTHER)


@pytest.mark.parametrize("where", ["entry", "model_info"])
def test_rates_may_be_next_to_the_params_as_in_litellm(where: str) -> None:
    rates = {"rpm": 60, "tpm": 1000}
    (found,) = read({**entry(), **(rates if where == "entry" else {"model_info": rates})})
    assert found.terms == Terms(rpm=60, tpm=1000)
    (found,) = read({**entry(rpm=5), **rates})
    assert found.terms == Terms(rpm=5, tpm=1000)


def test_what_has_no_effect_is_named(caplog: pytest.LogCaptureFixture) -> None:
    given = entry(user="ann", mock_timeout=True, model_info={}, bedrock_tags={"a": "b"})
    with caplog.at_level(logging.WARNING):
        assert Router([{**given, "description": "ours"}]).model_names == ("r",)
    assert [record.getMessage() for record in caplog.records] == [
        "model_list[0] (r): ignored: bedrock_tags, mock_timeout, user, description"
    ]


@pytest.mark.parametrize(("environment", "names"), [("production", ("r", "other")), ("staging", ("other",))])
def test_entry_is_for_its_environments(
    environment: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_ENVIRONMENT", environment)
    given = {**entry(), "model_info": {"supported_environments": ["production"]}}
    assert Router([given, OTHER]).model_names == names


@pytest.mark.parametrize(
    ("duration", "days"), [("1mo", 30), ("2mo", 60), ("monthly", 30), ("weekly", 7), ("daily", 1), ("1MO", 30)]
)
def test_budget_may_start_anew_as_in_litellm(duration: str, days: int) -> None:
    (found,) = read(entry(max_budget=5, budget_duration=duration))
    budget = found.deployment.budget
    assert budget is not None
    assert budget.ends is not None
    assert budget.ends - budget.started == days * 86_400


def test_deployment_says_what_the_scores_of_its_server_are() -> None:
    (found,) = read(entry(model="hosted_vllm/m", api_base="http://own.test", score_scale="logit"))
    assert found.deployment.scale_of_results(Router([OTHER]).as_reranker().options) == "logit"
