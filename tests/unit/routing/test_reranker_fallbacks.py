"""`fallbacks=` of a `Reranker`: models of other providers that are asked when the first one fails."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from tests.support.clock import Clock
from tests.support.frameworks import Answer
from tests.support.harness import Mode

from anyrerank import (
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    MemoryCache,
    RateLimitError,
    Reranker,
)
from anyrerank.guardrails import DenyList
from anyrerank.testing import StubServer, fake_provider

COHERE, NIM = "cohere/rerank-v3.5", "nvidia_nim/nvidia/rerank-qa"
OWN_NIM = "nvidia_nim/ranking/nvidia/rerank-qa"


def cohere_ok(request: httpx.Request) -> httpx.Response:
    count = len(orjson.loads(request.content)["documents"])
    return httpx.Response(200, json={"results": [{"index": n, "relevance_score": 0.5} for n in range(count)]})


def nim_ok(request: httpx.Request) -> httpx.Response:
    count = len(orjson.loads(request.content)["passages"])
    return httpx.Response(200, json={"rankings": [{"index": n, "logit": 7.0} for n in range(count)]})


def status(code: int, **headers: str) -> Answer:
    return lambda request: httpx.Response(code, json={"message": "no"}, headers=headers)


def not_json(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>")


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


class Providers:
    """Cohere and NVIDIA, hosted and self-hosted, in sync; remembers every request."""

    def __init__(self, cohere: Answer = cohere_ok, nvidia: Answer = nim_ok) -> None:
        self.requests: list[httpx.Request] = []
        self.cohere, self.nvidia = cohere, nvidia
        self.http_client = httpx.Client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.cohere(request) if request.url.host == "api.cohere.com" else self.nvidia(request)

    def reranker(self, model: str = COHERE, **given: Any) -> Reranker:
        return Reranker(model, http_client=self.http_client, **{"max_retries": 0, **given})

    @property
    def hosts(self) -> list[str]:
        return [request.url.host for request in self.requests]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_NIM_API_KEY", "nvidia-secret")


SURVIVABLE: dict[str, Answer] = {
    **{
        str(code): status(code)
        for code in (400, 401, 402, 403, 404, 405, 408, 410, 413, 415, 422, 429, 451, 498, 500, 501, 503)
    },
    "unreachable": unreachable,
    "not JSON": not_json,
}


@pytest.mark.parametrize("cohere", list(SURVIVABLE.values()), ids=list(SURVIVABLE))
def test_a_model_that_fails_is_followed_by_the_next(cohere: Answer) -> None:
    providers = Providers(cohere)
    response = providers.reranker(api_key="cohere-secret", fallbacks=[NIM]).rerank("q", ["a"])
    assert (response.provider, response.model) == ("nvidia_nim", "nvidia/rerank-qa")
    assert response.results.scores == (7.0,)
    assert providers.hosts == ["api.cohere.com", "ai.api.nvidia.com"]
    assert [attempt.deployment for attempt in response.attempts] == [COHERE, NIM]
    assert response.attempts[0].error is not None
    assert response.attempts[1].error is None


def test_a_missing_key_asks_the_next_model_without_a_request() -> None:
    providers = Providers()
    response = providers.reranker(fallbacks=[NIM]).rerank("q", ["a"])
    assert response.provider == "nvidia_nim"
    assert providers.hosts == ["ai.api.nvidia.com"]


def test_a_limit_of_the_first_model_asks_the_next() -> None:
    """It has no known scale of scores, so it refuses the call before anything is sent."""
    providers = Providers()
    first = providers.reranker("cohere_compatible/unlisted", api_base="https://own.test", fallbacks=[NIM])
    assert first.rerank("q", ["a"], score_mode="unit").provider == "nvidia_nim"
    assert providers.hosts == ["ai.api.nvidia.com"]


def test_a_used_up_budget_of_the_first_model_asks_a_cheaper_one() -> None:
    providers = Providers()
    priced = providers.reranker(NIM, input_cost_per_query=0.0)
    response = providers.reranker(api_key="k", fallbacks=[priced], budget=Budget(0.001)).rerank("q", ["a"])
    assert response.provider == "nvidia_nim"


def test_a_budget_that_allows_no_model_is_raised_as_it_is() -> None:
    providers = Providers()
    reranker = providers.reranker(api_key="k", fallbacks=["cohere/rerank-v4.0-pro"], budget=Budget(0.001))
    with pytest.raises(BudgetExceededError):
        reranker.rerank("q", ["a"])
    assert providers.hosts == []


def test_a_budget_that_is_spent_names_the_first_model() -> None:
    priced = Providers().reranker(NIM, input_cost_per_query=0.5)
    with pytest.raises(BudgetExceededError) as caught:
        Providers().reranker(api_key="k", fallbacks=[priced], budget=Budget(0.001)).rerank("q", ["a"])
    assert (caught.value.provider, caught.value.model) == ("cohere", "rerank-v3.5")


def test_a_fallback_whose_price_a_budget_needs_is_warned_of_when_it_is_set(caplog: pytest.LogCaptureFixture) -> None:
    priced = Reranker(NIM, input_cost_per_query=0.0)
    Reranker(COHERE, fallbacks=["cohere/rerank-v4.0-pro", priced, "local/lexical"], budget=Budget(1))
    Reranker(COHERE, fallbacks=[NIM], budget=Budget(1), prices={NIM: {"input_cost_per_query": 0.1}})
    Reranker(COHERE, fallbacks=[NIM])
    assert caplog.records == []
    Reranker(COHERE, fallbacks=[NIM], budget=Budget(1))
    Reranker(COHERE, fallbacks=[NIM], user_budget=Budget(1))
    starts = [record.getMessage().partition(": ")[0] for record in caplog.records]
    assert starts == [f"the budget will refuse the fallback {NIM}, whose price is not known"] * 2


def test_cached_scores_of_a_model_that_cools_down_are_used(mode: Mode) -> None:
    first, spare = fake_provider(), fake_provider()
    reranker = mode.reranker(
        "fake/first",
        custom_llm_provider=first,
        fallbacks=[Reranker("fake/spare", custom_llm_provider=spare)],
        cache=MemoryCache(),
    )
    mode.rerank(reranker, "q", ["a", "b"])
    first.fail(RateLimitError("wait", status_code=429, retry_after=600))
    assert mode.rerank(reranker, "other", ["a"]).answered_by == "fake/spare"
    again = mode.rerank(reranker, "q", ["b", "a"])
    assert (again.answered_by, again.cached, again.attempts) == ("fake/first", 2, ())
    assert mode.rerank(reranker, "q", ["a", "b", "c"]).answered_by == "fake/spare"
    assert [len(first.calls), len(spare.calls)] == [2, 2]


def test_a_guardrail_that_refuses_asks_no_model() -> None:
    providers = Providers()
    with pytest.raises(GuardrailRaisedError):
        providers.reranker(api_key="k", fallbacks=[NIM], guardrails=[DenyList(terms=["q"])]).rerank("q", ["a"])
    assert providers.hosts == []


def test_a_guardrail_of_a_fallback_that_refuses_ends_the_call() -> None:
    providers = Providers(status(500))
    guarded = providers.reranker(NIM, guardrails=[DenyList(terms=["q"])])
    with pytest.raises(GuardrailRaisedError):
        providers.reranker(api_key="k", fallbacks=[guarded, "cohere/other"]).rerank("q", ["a"])
    assert providers.hosts == ["api.cohere.com"]


def test_a_wrong_call_asks_no_model() -> None:
    providers = Providers()
    for query, options in ((" ", {}), ("q", {"top_n": 0}), ("q", {"nonsense": 1})):
        given: dict[str, Any] = options
        with pytest.raises(BadRequestError):
            providers.reranker(api_key="k", fallbacks=[NIM], on_error="passthrough").rerank(query, ["a"], **given)
    assert providers.hosts == []


def test_an_error_of_another_kind_is_raised_as_it_is() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    providers = Providers(broken)
    with pytest.raises(ZeroDivisionError):
        providers.reranker(api_key="k", fallbacks=[NIM]).rerank("q", ["a"])
    assert providers.hosts == ["api.cohere.com"]


def test_failures_of_all_models_are_raised_as_one_error() -> None:
    providers = Providers(status(503), status(401))
    with pytest.raises(FallbackError) as caught:
        providers.reranker(api_key="cohere-secret", fallbacks=[NIM]).rerank("q", ["a"])
    assert [type(error) for error in caught.value.errors] == [InternalServerError, AuthenticationError]
    assert [(attempt.deployment, attempt.status) for attempt in caught.value.attempts] == [(COHERE, 503), (NIM, 401)]
    for part in ("all 2 deployments failed", f"{COHERE}: InternalServerError 503", f"{NIM}: AuthenticationError 401"):
        assert part in caught.value.message
    assert "secret" not in str(caught.value)


def test_an_only_model_raises_its_error_as_it_is() -> None:
    with pytest.raises(InternalServerError):
        Providers(status(503)).reranker(api_key="k").rerank("q", ["a"])


def test_fallbacks_are_asked_in_order() -> None:
    providers = Providers(status(500), status(500))
    with pytest.raises(FallbackError):
        providers.reranker(api_key="k", fallbacks=[NIM, "cohere/other"]).rerank("q", ["a"])
    assert providers.hosts == ["api.cohere.com", "ai.api.nvidia.com", "api.cohere.com"]
    models = [orjson.loads(request.content)["model"] for request in providers.requests]
    assert models == ["rerank-v3.5", "nvidia/rerank-qa", "other"]


def test_each_model_has_its_own_retries(clock: Clock) -> None:
    providers = Providers(status(500), status(503))
    with pytest.raises(FallbackError) as caught:
        providers.reranker(api_key="k", fallbacks=[NIM], max_retries=2, timeout=None).rerank("q", ["a"])
    assert providers.hosts == ["api.cohere.com"] * 3 + ["ai.api.nvidia.com"] * 3
    assert clock.waits == pytest.approx([0.25, 0.5] * 2)
    assert f"{COHERE}: InternalServerError 500, 3 times" in caught.value.message


def test_a_fallback_is_asked_at_once_if_the_first_model_asks_to_wait(clock: Clock) -> None:
    providers = Providers(status(429, **{"retry-after": "3"}))
    reranker = providers.reranker(api_key="k", fallbacks=[NIM], max_retries=2)
    assert reranker.rerank("q", ["a"]).provider == "nvidia_nim"
    assert (providers.hosts, clock.waits) == (["api.cohere.com", "ai.api.nvidia.com"], [])


def test_a_model_that_failed_cools_down(clock: Clock) -> None:
    providers = Providers(status(401))
    reranker = providers.reranker(api_key="k", fallbacks=[NIM])
    for _ in range(3):
        reranker.rerank("q", ["a"])
    assert providers.hosts == ["api.cohere.com", *["ai.api.nvidia.com"] * 3]
    clock.now += 5.0
    providers.cohere = cohere_ok
    assert reranker.rerank("q", ["a"]).provider == "cohere"


def test_each_model_has_an_equal_share_of_the_remaining_time(clock: Clock) -> None:
    given: list[float] = []

    def hang(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"]["read"])
        clock.now += given[-1]
        raise httpx.ReadTimeout("made by the test")

    def slow(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"]["read"])
        clock.now += 12.0
        return status(500)(request)

    providers = Providers(hang, hang)
    with pytest.raises(FallbackError) as caught:
        providers.reranker(api_key="k", fallbacks=[NIM, "cohere/other"], timeout=60.0).rerank("q", ["a"])
    assert given == pytest.approx([20.0, 20.0, 20.0])
    assert {type(each) for each in caught.value.errors} == {APITimeoutError}
    given.clear()
    providers = Providers(slow, slow)
    with pytest.raises(FallbackError):
        providers.reranker(api_key="k", fallbacks=[NIM, "cohere/other"], timeout=60.0).rerank("q", ["a"])
    assert given == pytest.approx([20.0, 24.0, 36.0])


# Connections and options.


def test_a_key_is_never_sent_to_another_provider() -> None:
    providers = Providers(status(401), status(401))
    headers = {"x-team": "cohere-team-secret"}
    with pytest.raises(FallbackError):
        providers.reranker(api_key="cohere-secret", headers=headers, fallbacks=[NIM, "cohere/other"]).rerank("q", ["a"])
    assert len(providers.requests) == 3
    for request in providers.requests:
        sent = str(request.headers.raw) + str(request.url) + request.content.decode()
        nvidia = request.url.host.endswith("nvidia.com")
        assert ("cohere-secret" in sent, "cohere-team-secret" in sent) == (not nvidia, not nvidia)
        assert ("nvidia-secret" in sent) is nvidia


def test_a_base_url_is_never_used_for_another_provider() -> None:
    providers = Providers(nvidia=status(500))
    with pytest.raises(FallbackError):
        providers.reranker(api_key="k", api_base="https://gateway.test", fallbacks=[NIM]).rerank("q", ["a"])
    assert providers.hosts == ["gateway.test", "ai.api.nvidia.com"]


def test_a_hosted_fallback_of_a_nim_of_your_own_asks_nvidia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_NIM_API_KEY")
    monkeypatch.setenv("NVIDIA_API_KEY", "nvidia-secret")
    providers = Providers(nvidia=status(500))
    with pytest.raises(FallbackError):
        providers.reranker(OWN_NIM, api_base="http://nim.test:8000", fallbacks=[NIM]).rerank("q", ["a"])
    sent = [(each.url.host, each.headers.get("authorization")) for each in providers.requests]
    assert sent == [("nim.test", None), ("ai.api.nvidia.com", "Bearer nvidia-secret")]


def test_a_key_in_the_environment_is_not_sent_to_a_self_hosted_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "cohere-secret")
    monkeypatch.setenv("NVIDIA_NIM_API_BASE", "http://nim.test:8000")
    providers = Providers(status(500))
    providers.reranker(fallbacks=[OWN_NIM]).rerank("q", ["a"])
    assert providers.hosts == ["api.cohere.com", "nim.test"]
    assert "cohere-secret" not in str(providers.requests[1].headers.raw)


def test_a_reranker_as_a_fallback_keeps_its_own_connection() -> None:
    providers, other = Providers(status(500)), Providers()
    fallback = Reranker(OWN_NIM, api_key="own-secret", api_base="http://nim.test:8000", http_client=other.http_client)
    response = providers.reranker(api_key="cohere-secret", fallbacks=[fallback]).rerank("q", ["a"])
    assert response.provider == "nvidia_nim"
    assert (providers.hosts, other.hosts) == (["api.cohere.com"], ["nim.test"])
    assert other.requests[0].headers["authorization"] == "Bearer own-secret"


def test_a_reranker_as_a_fallback_keeps_its_own_options() -> None:
    providers = Providers(status(500))
    fallback = providers.reranker(NIM, truncate="NONE")
    providers.reranker(api_key="cohere-secret", fallbacks=[fallback]).rerank("q", ["a"])
    assert orjson.loads(providers.requests[1].content)["truncate"] == "NONE"


def test_options_of_the_call_hold_for_whoever_answers() -> None:
    providers = Providers(status(500))
    reranker = providers.reranker(api_key="k", fallbacks=[NIM], top_n=1, return_documents=False)
    (result,) = reranker.rerank("q", ["a", "b"], score_mode="unit").results
    assert (result.index, result.document) == (0, None)
    assert result.relevance_score == pytest.approx(0.99909, abs=1e-5)


async def test_an_asynchronous_call_asks_the_next_model_too() -> None:
    providers = Providers(status(503))
    async with httpx.AsyncClient(transport=httpx.MockTransport(providers.answer)) as client:
        reranker = Reranker(COHERE, api_key="k", fallbacks=[NIM], max_retries=0, http_client=client)
        response = await reranker.arerank("q", ["a", "b"])
    assert response.provider == "nvidia_nim"
    assert providers.hosts == ["api.cohere.com", "ai.api.nvidia.com"]


def test_passthrough_comes_after_every_fallback(caplog: pytest.LogCaptureFixture) -> None:
    providers = Providers(status(503), status(503))
    response = providers.reranker(api_key="k", fallbacks=[NIM], on_error="passthrough").rerank("q", ["a", "", "b"])
    assert providers.hosts == ["api.cohere.com", "ai.api.nvidia.com"]
    assert response.degraded
    assert (response.results.indexes, response.results.scores) == ((0, 1, 2), (None, None, None))
    assert len(response.attempts) == 2
    assert [record.name for record in caplog.records] == ["anyrerank"]


def test_a_fallback_that_answered_is_logged_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    reranker = Providers(status(422)).reranker(api_key="k", fallbacks=[NIM])
    for _ in range(3):
        reranker.rerank("q", ["a"])
        clock.now += 30.0
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 2
    assert all(message.startswith(f"{NIM} answered as a fallback for {COHERE}") for message in messages)


def test_calls_of_the_functions_are_logged_once_a_minute_together(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    model = f"cohere/logged-once-{mode.asynchronous}"  # other calls of this process count
    given: dict[str, Any] = {"query": "q", "documents": ["a"], "api_key": "k", "fallbacks": ["local/lexical"]}
    with StubServer(handler=lambda exchange: exchange.respond(401, {"message": "expired"})) as server:
        for _ in range(3):
            assert mode.function(model=model, api_base=server.url, max_retries=0, **given).provider == "local"
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [message.split(":")[0] for message in messages] == [
        f"{model} starts to cool down",
        f"local/lexical answered as a fallback for {model}",
    ]


def test_an_unknown_fallback_is_refused_when_the_reranker_is_made() -> None:
    with pytest.raises(ConfigurationError, match="did you mean cohere"):
        Reranker(COHERE, fallbacks=["coherre/rerank-v3.5"])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda reranker: pickle.loads(pickle.dumps(reranker))])  # noqa: S301
def test_a_copy_of_a_reranker_has_its_fallbacks(copied: Callable[[Reranker], Reranker]) -> None:
    local = Reranker(COHERE, fallbacks=["local/lexical"])
    assert copied(local).rerank("q", ["q"]).provider == "local"
