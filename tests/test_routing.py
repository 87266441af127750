from collections.abc import Callable, Sequence
from typing import Any

import httpx
import orjson
import pytest

from anyrerank import FallbackError, Reranker
from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    GuardrailRaisedError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
)
from anyrerank.flow import Call, Flow, run
from anyrerank.routing import Start, first_success
from anyrerank.schema import Attempt

COHERE, NIM = "cohere/rerank-v3.5", "nvidia_nim/nvidia/rerank-qa"
OWN_NIM = "nvidia_nim/ranking/nvidia/rerank-qa"
ATTEMPT = Attempt(deployment="cohere/m", status=503, seconds=0.5)


def outcome(result: Any) -> Flow[Any]:
    yield Call(lambda: None)
    if isinstance(result, Exception):
        raise result
    return result


def asked(results: Sequence[Any], *, deadline: float | None = None, takes: float = 0.0) -> tuple[Any, list[Any]]:
    """What `first_success` gives, and the deadline that each model was given."""
    deadlines: list[float | None] = []
    now = 100.0

    def starter(result: Any) -> Start[Any]:
        def start(share: float | None) -> Flow[Any]:
            nonlocal now
            deadlines.append(share)
            now += takes
            return outcome(result)

        return start

    flow = first_success(
        [starter(result) for result in results], deadline=deadline, clock=lambda: now, attempts=[ATTEMPT]
    )
    try:
        return run(flow), deadlines
    except RerankError as error:
        return error, deadlines


MOVES_ON = [
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    RateLimitError,
    APITimeoutError,
    APIConnectionError,
    InternalServerError,
    APIResponseValidationError,
    ConfigurationError,
    FallbackError,
]


def test_the_first_model_that_answers_is_enough() -> None:
    answer, deadlines = asked(["first", "second"])
    assert answer == "first"
    assert len(deadlines) == 1


@pytest.mark.parametrize("kind", MOVES_ON)
def test_a_failure_that_another_model_could_survive_moves_on(kind: type[RerankError]) -> None:
    assert asked([kind("failed"), kind("failed"), "third"])[0] == "third"


@pytest.mark.parametrize(
    "error",
    [
        BadRequestError("your mistake", status_code=400),
        GuardrailRaisedError("your mistake"),
        BudgetExceededError("your mistake"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("before", [[], [RateLimitError("slow down")]], ids=["first", "second"])
def test_a_mistake_of_the_caller_is_raised_as_it_is(error: RerankError, before: list[RerankError]) -> None:
    answer, deadlines = asked([*before, error, "not asked"])
    assert answer is error
    assert len(deadlines) == len(before) + 1


def test_what_only_a_later_model_cannot_take_moves_on() -> None:
    outage, unfit = RateLimitError("slow down"), BadRequestError("this model takes no such thing")
    assert asked([outage, unfit, "third"])[0] == "third"
    answer, _ = asked([outage, unfit])
    assert isinstance(answer, FallbackError)
    assert answer.errors == (outage, unfit)
    assert asked([unfit, "second"])[0] is unfit


@pytest.mark.parametrize("kind", MOVES_ON)
def test_the_error_of_an_only_model_is_raised_as_it_is(kind: type[RerankError]) -> None:
    error = kind("failed")
    assert asked([error])[0] is error


def test_an_error_of_another_kind_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        asked([ZeroDivisionError(), "second"])


def test_when_all_fail_one_error_holds_all() -> None:
    errors = (RateLimitError("slow down"), AuthenticationError("no key"), InternalServerError("broken"))
    answer, _ = asked(errors)
    assert isinstance(answer, FallbackError)
    assert answer.errors == errors
    assert answer.attempts == (ATTEMPT,)
    for part in ("RateLimitError: slow down", "AuthenticationError: no key", "InternalServerError: broken"):
        assert part in str(answer)


def test_each_model_has_an_equal_share_of_the_time_that_is_left() -> None:
    failing = [InternalServerError("broken")] * 3
    assert asked(failing, deadline=160.0)[1] == [120.0, 130.0, 160.0]
    assert asked(failing, deadline=160.0, takes=12.0)[1] == [120.0, 136.0, 160.0]


def test_the_only_model_has_all_the_time() -> None:
    assert asked(["answer"], deadline=160.0)[1] == [160.0]


def test_no_deadline_is_no_share() -> None:
    assert asked([InternalServerError("broken"), "second"])[1] == [None, None]


def test_a_deadline_that_has_passed_is_not_moved() -> None:
    assert asked([InternalServerError("broken"), "second"], deadline=90.0)[1] == [100.0, 100.0]


Answer = Callable[[httpx.Request], httpx.Response]


def cohere_ok(request: httpx.Request) -> httpx.Response:
    count = len(orjson.loads(request.content)["documents"])
    return httpx.Response(200, json={"results": [{"index": n, "relevance_score": 0.5} for n in range(count)]})


def nim_ok(request: httpx.Request) -> httpx.Response:
    count = len(orjson.loads(request.content)["passages"])
    return httpx.Response(200, json={"rankings": [{"index": n, "logit": 7.0} for n in range(count)]})


def status(code: int) -> Answer:
    return lambda request: httpx.Response(code, json={"message": "no"})


def not_json(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>")


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


class World:
    """Cohere and NVIDIA, hosted and self-hosted, in both colours; keeps every request."""

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
    for name in ("COHERE_API_KEY", "CO_API_KEY", "NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("COHERE_API_BASE", "CO_API_URL", "NVIDIA_NIM_API_BASE", "NVIDIA_BASE_URL", "NVIDIA_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NVIDIA_NIM_API_KEY", "nvidia-secret")


@pytest.mark.parametrize(
    "cohere",
    [*map(status, (401, 402, 403, 404, 408, 429, 498, 500, 501, 503)), unreachable, not_json],
    ids=["401", "402", "403", "404", "408", "429", "498", "500", "501", "503", "unreachable", "not JSON"],
)
def test_a_model_that_fails_is_followed_by_the_next(cohere: Answer) -> None:
    world = World(cohere)
    response = world.reranker(api_key="cohere-secret", fallbacks=[NIM]).rerank("q", ["a", "b"])
    assert (response.provider, response.model) == ("nvidia_nim", "nvidia/rerank-qa")
    assert response.results.scores == (7.0, 7.0)
    assert world.hosts == ["api.cohere.com", "ai.api.nvidia.com"]
    assert [attempt.deployment for attempt in response.attempts] == [COHERE, NIM]
    assert response.attempts[0].error is not None
    assert response.attempts[1].error is None


def test_a_missing_key_moves_on_without_a_request() -> None:
    world = World()
    response = world.reranker(fallbacks=[NIM]).rerank("q", ["a"])
    assert response.provider == "nvidia_nim"
    assert world.hosts == ["ai.api.nvidia.com"]


@pytest.mark.parametrize("code", [400, 422])
def test_a_bad_request_does_not_move_on(code: int) -> None:
    world = World(status(code))
    with pytest.raises(BadRequestError):
        world.reranker(api_key="cohere-secret", fallbacks=[NIM]).rerank("q", ["a"])
    assert world.hosts == ["api.cohere.com"]


def test_when_all_models_fail_the_error_holds_every_attempt() -> None:
    world = World(status(503), status(401))
    with pytest.raises(FallbackError) as caught:
        world.reranker(api_key="cohere-secret", fallbacks=[NIM], max_retries=0).rerank("q", ["a"])
    assert [type(error) for error in caught.value.errors] == [InternalServerError, AuthenticationError]
    assert [(attempt.deployment, attempt.status) for attempt in caught.value.attempts] == [(COHERE, 503), (NIM, 401)]
    assert "secret" not in str(caught.value)


def test_fallbacks_are_tried_in_order() -> None:
    world = World(status(500), status(500))
    with pytest.raises(FallbackError):
        world.reranker(api_key="k", fallbacks=[NIM, "cohere/other"]).rerank("q", ["a"])
    assert world.hosts == ["api.cohere.com", "ai.api.nvidia.com", "api.cohere.com"]
    assert [orjson.loads(request.content)["model"] for request in world.requests] == [
        "rerank-v3.5",
        "nvidia/rerank-qa",
        "other",
    ]


def test_a_key_is_never_sent_to_another_provider() -> None:
    world = World(status(401), status(401))
    headers = {"x-team": "cohere-team-secret"}
    with pytest.raises(FallbackError):
        world.reranker(api_key="cohere-secret", headers=headers, fallbacks=[NIM, "cohere/other"]).rerank("q", ["a"])
    for request in world.requests:
        sent = str(request.headers.raw) + str(request.url) + request.content.decode()
        nvidia = request.url.host.endswith("nvidia.com")
        assert ("cohere-secret" in sent, "cohere-team-secret" in sent) == (not nvidia, not nvidia)
        assert ("nvidia-secret" in sent) is nvidia


def test_a_base_url_is_never_used_for_another_provider() -> None:
    world = World(nvidia=status(500))
    with pytest.raises(FallbackError):
        world.reranker(api_key="k", api_base="https://gateway.test", fallbacks=[NIM]).rerank("q", ["a"])
    assert world.hosts == ["gateway.test", "ai.api.nvidia.com"]


def test_a_key_in_the_environment_is_not_sent_to_a_server_of_ones_own_of_another_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "cohere-secret")
    monkeypatch.setenv("NVIDIA_NIM_API_BASE", "http://nim.test:8000")
    world = World(status(500))
    world.reranker(fallbacks=[OWN_NIM]).rerank("q", ["a"])
    assert world.hosts == ["api.cohere.com", "nim.test"]
    assert "cohere-secret" not in str(world.requests[1].headers.raw)


def test_a_reranker_as_a_fallback_keeps_its_own_connection() -> None:
    world, other = World(status(500)), World()
    fallback = Reranker(OWN_NIM, api_key="own-secret", api_base="http://nim.test:8000", http_client=other.http_client)
    response = world.reranker(api_key="cohere-secret", fallbacks=[fallback]).rerank("q", ["a"])
    assert response.provider == "nvidia_nim"
    assert (world.hosts, other.hosts) == (["api.cohere.com"], ["nim.test"])
    assert other.requests[0].headers["authorization"] == "Bearer own-secret"


def test_a_reranker_as_a_fallback_keeps_its_own_options() -> None:
    world = World(status(500))
    fallback = world.reranker(NIM, truncate="NONE")
    world.reranker(api_key="cohere-secret", fallbacks=[fallback]).rerank("q", ["a"])
    assert orjson.loads(world.requests[1].content)["truncate"] == "NONE"


def test_options_of_the_call_hold_for_whoever_answers() -> None:
    world = World(status(500))
    reranker = world.reranker(api_key="k", fallbacks=[NIM], top_n=1, return_documents=False)
    response = reranker.rerank("q", ["a", "b"], score_mode="unit")
    [result] = response.results
    assert (result.index, result.document) == (0, None)
    assert result.relevance_score == pytest.approx(0.99909, abs=1e-5)


async def test_the_asynchronous_colour_moves_on_too() -> None:
    world = World(status(503))
    async with httpx.AsyncClient(transport=httpx.MockTransport(world.answer)) as client:
        reranker = Reranker(COHERE, api_key="k", fallbacks=[NIM], max_retries=0, http_client=client)
        response = await reranker.arerank("q", ["a", "b"])
    assert response.provider == "nvidia_nim"
    assert world.hosts == ["api.cohere.com", "ai.api.nvidia.com"]


def test_passing_through_comes_after_every_fallback(caplog: pytest.LogCaptureFixture) -> None:
    world = World(status(503), status(503))
    response = world.reranker(api_key="k", fallbacks=[NIM], on_error="passthrough").rerank("q", ["a", "", "b"])
    assert world.hosts == ["api.cohere.com", "ai.api.nvidia.com"]
    assert response.degraded
    assert (response.results.indexes, response.results.scores) == ((0, 1, 2), (None, None, None))
    assert len(response.attempts) == 2
    assert [record.name for record in caplog.records] == ["anyrerank"]


def test_passing_through_does_not_hide_a_mistake_that_was_found_before_sending() -> None:
    world = World()
    with pytest.raises(BadRequestError):
        world.reranker(api_key="k", on_error="passthrough").rerank(" ", ["a"])
    assert world.hosts == []


def test_an_unknown_fallback_is_refused_when_the_reranker_is_made() -> None:
    with pytest.raises(ConfigurationError, match="did you mean cohere"):
        Reranker(COHERE, fallbacks=["coherre/rerank-v3.5"])
