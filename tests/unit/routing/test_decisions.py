import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyrerank import FallbackError, Reranker
from anyrerank._core.routing import STRATEGIES, Cooldowns, first_success
from anyrerank._core.routing.decisions import (
    Daring,
    Load,
    Moment,
    Need,
    Start,
    Terms,
    Window,
    free_at,
    in_order,
    next_step,
)
from anyrerank._core.runtime import Call, Flow, run
from anyrerank._core.types import Attempt
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
    """Cohere and NVIDIA, hosted and self-hosted, in sync and async; keeps every request."""

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


async def test_the_asynchronous_mode_moves_on_too() -> None:
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


# A router's decisions.


@dataclass(frozen=True)
class Place:
    """A deployment, as far as a decision sees one."""

    terms: Terms = field(default_factory=Terms)
    load: Load = field(default_factory=Load)


def place(**terms: Any) -> Place:
    return Place(Terms(**terms))


def at(now: float = 0.0, chance: float = 0.0, costs: Sequence[float | None] = (), **given: Any) -> Moment:
    return Moment(now=now, chance=lambda: chance, cost=lambda place: costs[place], **given)


ALMOST_1 = math.nextafter(1.0, 0.0)
RULES = Cooldowns(allowed_fails=3, cooldown_time=5.0)

unhurried = settings(deadline=None)
steps = st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(1, 4), st.integers(0, 50)), min_size=1, max_size=60)
"""Seconds since the call before, and the requests and tokens of each call."""


@unhurried
@given(steps, st.integers(1, 10), st.integers(1, 200))
def test_no_minute_holds_more_than_the_limits(calls: list[tuple[float, int, int]], rpm: int, tpm: int) -> None:
    window, now = Window(), 0.0
    taken: list[tuple[float, Need]] = []
    for pause, requests, tokens in calls:
        need = Need(requests, tokens)
        now = max(now + pause, window.room_at(now + pause, need, rpm, tpm))
        assert window.room_at(now, need, rpm, tpm) == now
        window.add(now, need)
        taken.append((now, need))
    for end, _ in taken:
        minute = [each for when, each in taken if when <= end < when + 60.0]
        assert sum(each.requests for each in minute) <= max(rpm, *(each.requests for each in minute))
        assert sum(each.tokens for each in minute) <= max(tpm, *(each.tokens for each in minute))


@unhurried
@given(steps)
def test_a_window_counts_what_is_in_it_and_forgets_all_of_it(calls: list[tuple[float, int, int]]) -> None:
    window, now = Window(), 0.0
    for pause, requests, tokens in calls:
        now += pause
        slot = window.add(now, Need(requests, tokens))
        window.change(slot, 2, -tokens)
        assert (window.requests, window.tokens) >= (requests + 2, 0)
    window.forget(now + 60.0)
    assert (window.requests, window.tokens) == (0, 0)


def test_room_comes_back_as_each_second_gets_old() -> None:
    window = Window()
    for now in (0.0, 0.9, 5.0, 10.0):
        window.add(now, Need(1))
    assert [window.room_at(11.0, Need(requests), 4, math.inf) for requests in (1, 2, 3, 4)] == [60.9, 60.9, 65.0, 70.0]


def test_a_correction_that_comes_after_a_minute_changes_nothing() -> None:
    window = Window()
    slot = window.add(0.0, Need(1, 30))
    window.forget(60.0)
    window.change(slot, 5, 5)
    assert (window.requests, window.tokens) == (0, 0)
    window.add(61.0, Need(1, 1))
    window.change(slot, 5, 5)
    assert (window.requests, window.tokens) == (1, 1)


def test_a_window_stays_small_at_any_rate() -> None:
    window = Window()
    for number in range(60_000):
        window.add(number / 1000, Need(1, 1))
    assert window.requests == 60_000
    assert len(window._slots) <= 61


def test_what_is_larger_than_a_limit_waits_for_an_empty_minute() -> None:
    window = Window()
    assert window.room_at(0.0, Need(50), 10, math.inf) == 0.0
    window.add(0.0, Need(1))
    window.add(30.0, Need(1))
    assert window.room_at(31.0, Need(50), 10, math.inf) == 90.0
    assert window.room_at(31.0, Need(9), 10, math.inf) == 60.0
    assert window.room_at(31.0, Need(8), 10, math.inf) == 31.0


def failing(load: Load, *errors: RerankError, now: float = 0.0) -> Load:
    for error in errors:
        load.failed(now, 0.1, error, RULES)
    return load


@pytest.mark.parametrize(
    "error",
    [kind("no") for kind in (AuthenticationError, PermissionDeniedError, NotFoundError, ConfigurationError)],
    ids=lambda error: type(error).__name__,
)
def test_what_the_next_call_would_meet_too_cools_down_at_once(error: RerankError) -> None:
    load = failing(Load(), error)
    assert (load.cooling_until, load.told_until, load.on_trial) == (5.0, -math.inf, True)


@pytest.mark.parametrize(
    "error",
    [kind("no") for kind in (APITimeoutError, APIConnectionError, InternalServerError, APIResponseValidationError)],
    ids=lambda error: type(error).__name__,
)
def test_other_failures_are_borne_up_to_a_number_in_a_minute(error: RerankError) -> None:
    load = failing(Load(), error, error, error)
    assert free_at(Place(load=load), Need(), 0.0) == 0.0
    assert free_at(Place(load=failing(load, error)), Need(), 0.0) == 5.0
    later = failing(Load(), error, error, error)
    assert free_at(Place(load=failing(later, error, now=60.0)), Need(), 60.0) == 60.0


def test_a_server_says_how_long_it_cools_down() -> None:
    limited = failing(Load(), RateLimitError("slow down", retry_after=30.0))
    assert (limited.cooling_until, limited.told_until) == (30.0, 30.0)
    assert failing(Load(), RateLimitError("slow down")).told_until == 5.0
    assert failing(Load(), InternalServerError("busy", retry_after=7.0)).told_until == 7.0


def test_a_failure_of_another_call_does_not_take_back_what_a_server_asked_for() -> None:
    load = failing(Load(), RateLimitError("slow down", retry_after=30.0), InternalServerError("broken"))
    assert free_at(Place(load=load), Need(), 1.0, Daring.COOLING) == 30.0
    load = failing(Load(), InternalServerError("busy", retry_after=2.0), InternalServerError("broken"))
    assert (load.told_until, load.cooling_until) == (2.0, 5.0)
    assert free_at(Place(load=load), Need(), 3.0, Daring.COOLING) == 3.0


def test_after_a_cooldown_one_failure_is_enough_until_it_answers() -> None:
    load = failing(Load(), *[InternalServerError("broken")] * 4)
    failing(load, InternalServerError("broken"), now=100.0)
    assert load.cooling_until == 105.0
    load.answered(110.0, 0.1)
    failing(load, InternalServerError("broken"), now=200.0)
    assert load.cooling_until == 105.0


def test_one_call_at_a_time_tries_what_cooled_down() -> None:
    there = Place(load=failing(Load(), *[InternalServerError("broken")] * 4))
    assert free_at(there, Need(), 1.0) == 5.0
    slot = there.load.took(6.0, Need())
    assert free_at(there, Need(), 6.0) == math.inf
    assert free_at(there, Need(), 6.0, Daring.ON_TRIAL) == 6.0
    there.load.answered(7.0, 0.5)
    assert free_at(there, Need(), 7.0) == 7.0
    there.load.ended(slot, Need(), requests=1, tokens=None)
    assert (there.load.in_flight, there.load.used.requests) == (0, 1)


def test_a_cooldown_that_is_known_is_waited_for_though_another_call_is_under_way() -> None:
    there = Place(load=failing(Load(), RateLimitError("slow down", retry_after=30.0)))
    there.load.took(0.0, Need())
    assert free_at(there, Need(), 1.0) == 30.0


@unhurried
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 10.0),
            st.sampled_from([RateLimitError, InternalServerError, AuthenticationError]),
            st.none() | st.floats(0.0, 20.0),
        ),
        min_size=1,
        max_size=20,
    ),
    st.floats(0.0, 30.0),
)
def test_nobody_is_ever_asked_before_the_time_that_it_asked_for(
    failures: list[tuple[float, type[RerankError], float | None]], pause: float
) -> None:
    there, now, asked_for = place(), 0.0, 0.0
    for wait, kind, retry_after in failures:
        now += wait
        there.load.failed(now, 0.1, kind("no", retry_after=retry_after), RULES)
        asked_for = max(asked_for, now + (retry_after or 0.0))
        for bold in Daring:
            assert free_at(there, Need(), now, bold) >= asked_for
    for bold in Daring:
        assert free_at(there, Need(), asked_for + pause + 5.0, bold) == asked_for + pause + 5.0


@pytest.mark.parametrize("bold", Daring)
@pytest.mark.parametrize(("terms", "need"), [({"rpm": 10}, Need(5)), ({"tpm": 100}, Need(1, 60))])
def test_no_boldness_goes_beyond_a_limit(bold: Daring, terms: dict[str, int], need: Need) -> None:
    there = place(**terms)
    there.load.took(0.0, Need(8, 80))
    assert free_at(there, need, 1.0, bold) == 60.0


def test_what_a_call_really_used_takes_the_place_of_the_estimate() -> None:
    load = Load()
    load.ended(load.took(0.0, Need(1, 100)), Need(1, 100), requests=3, tokens=40.2)
    assert (load.used.requests, load.used.tokens) == (3, 41)
    load.ended(load.took(0.0, Need(1, 100)), Need(1, 100), requests=1, tokens=None)
    assert (load.used.requests, load.used.tokens) == (4, 141)
    load.ended(load.took(0.0, Need(2, 100)), Need(2, 100), requests=0, tokens=0)
    assert (load.used.requests, load.used.tokens) == (4, 141)


def test_latency_is_the_mean_of_the_last_ten_calls_that_are_not_too_old() -> None:
    load = Load()
    assert load.latency(0.0, 3600.0) == 0.0
    load.answered(0.0, 9.0)
    load.answered(50.0, 1.0)
    assert load.latency(100.0, 3600.0) == 5.0
    assert load.latency(100.0, 60.0) == 1.0
    for _ in range(10):
        load.answered(100.0, 2.0)
    assert load.latency(100.0, 3600.0) == 2.0


# Which of some is asked.


def shares(*places: Place, points: int = 1000) -> list[int]:
    """How often each is chosen, for evenly spaced chance."""
    strategy = STRATEGIES["simple-shuffle"]
    found = Counter(strategy(places, at(chance=(number + 0.5) / points)) for number in range(points))
    return [found[number] for number in range(len(places))]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([{}, {}], [500, 500]),
        ([{"weight": 3}, {"weight": 1}], [750, 250]),
        ([{"weight": 3}, {}], [750, 250]),
        ([{"weight": 0}, {"weight": 2}], [0, 1000]),
        ([{"weight": 0}, {}], [0, 1000]),
        ([{}, {"weight": 0}], [1000, 0]),
        ([{"weight": 0}, {"weight": 0}], [500, 500]),
        ([{"rpm": 900}, {"rpm": 100}], [900, 100]),
        ([{"rpm": 900}, {}], [500, 500]),
        ([{"tpm": 900}, {"tpm": 100}], [900, 100]),
        ([{"rpm": 1, "tpm": 900}, {"rpm": 1, "tpm": 100}], [500, 500]),
        ([{"weight": 1, "rpm": 900}, {"weight": 1, "rpm": 100}], [500, 500]),
    ],
)
def test_shares_follow_weights_then_rpm_then_tpm(terms: list[dict[str, Any]], expected: list[int]) -> None:
    assert shares(*(place(**each) for each in terms)) == expected


@unhurried
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
def test_shares_are_exactly_the_weights(weights: list[int]) -> None:
    points = sum(weights)
    assert shares(*(place(weight=weight) for weight in weights), points=points) == weights


@unhurried
@given(
    st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8).filter(lambda weights: max(weights) > 1e-3),
    st.floats(0.0, ALMOST_1) | st.sampled_from([0.0, ALMOST_1]),
)
def test_a_weight_of_0_is_never_chosen_beside_another(weights: list[float], chance: float) -> None:
    chosen = STRATEGIES["simple-shuffle"]([place(weight=weight) for weight in weights], at(chance=chance))
    assert weights[chosen] > 0


@unhurried
@given(
    st.sampled_from(sorted(STRATEGIES)),
    st.lists(st.sampled_from([{}, {"weight": 0}, {"weight": 2}, {"rpm": 5}, {"tpm": 9, "rpm": 1}]), min_size=1),
    st.floats(0.0, ALMOST_1) | st.just(ALMOST_1),
)
def test_every_strategy_chooses_one_of_the_candidates(
    strategy: str, terms: list[dict[str, Any]], chance: float
) -> None:
    places = [place(**each) for each in terms]
    assert 0 <= STRATEGIES[strategy](places, at(chance=chance, costs=[None] * len(places))) < len(places)


def test_the_least_busy_has_the_fewest_calls_under_way() -> None:
    places = [place(), place(), place()]
    for busy in (0, 0, 1, 2):
        places[busy].load.took(0.0, Need())
    assert {STRATEGIES["least-busy"](places, at(chance=chance)) for chance in (0.0, 0.49)} == {1}
    assert STRATEGIES["least-busy"](places, at(chance=ALMOST_1)) == 2


def test_the_fastest_is_asked_and_what_nobody_knows_is_tried() -> None:
    fast, slow, unknown = place(), place(), place()
    fast.load.answered(0.0, 1.0)
    slow.load.answered(0.0, 1.2)
    latency = STRATEGIES["latency-based-routing"]
    assert latency([slow, fast], at()) == 1
    assert latency([slow, fast, unknown], at()) == 2
    assert [latency([slow, fast], at(chance=chance, buffer=0.3)) for chance in (0.0, 0.9)] == [0, 1]
    assert latency([slow, fast], at(now=4000.0, chance=0.0)) == 0


@pytest.mark.parametrize("name", ["usage-based-routing", "usage-based-routing-v2"])
def test_the_least_used_is_asked(name: str) -> None:
    used, unused = place(), place()
    used.load.took(0.0, Need(1, 50))
    assert STRATEGIES[name]([used, unused], at(now=1.0)) == 1
    assert STRATEGIES[name]([used, unused], at(now=61.0)) == 0
    large, small = place(rpm=100), place(rpm=10, tpm=1000)
    large.load.took(0.0, Need(20, 0))
    small.load.took(0.0, Need(1, 300))
    assert STRATEGIES[name]([small, large], at(now=1.0)) == 1
    small.load.used.forget(100.0)
    assert STRATEGIES[name]([small, large], at(now=1.0)) == 0


def test_the_cheapest_is_asked_and_an_unknown_price_comes_last() -> None:
    cheapest = STRATEGIES["cost-based-routing"]
    assert cheapest([place()] * 3, at(costs=[None, 0.5, 0.002])) == 2
    assert cheapest([place()] * 2, at(costs=[None, 99.0])) == 1
    assert cheapest([place()] * 2, at(costs=[0.1, 0.0])) == 1
    assert [cheapest([place()] * 2, at(costs=[None, None], chance=chance)) for chance in (0.0, 0.9)] == [0, 1]


def test_those_of_the_lowest_order_are_used() -> None:
    first, second, other = place(order=2), place(order=3), place(order=2)
    assert in_order([second, first, other]) == [first, other]
    assert in_order([second]) == [second]


# What is next.


def test_those_that_were_not_tried_come_first() -> None:
    tried, fresh, later = place(), place(), place()
    assert next_step([(tried, 0.0, False), (fresh, 5.0, True), (later, 9.0, True)], 5.0) == [fresh]
    assert next_step([(tried, 0.0, False), (fresh, 6.0, True)], 5.0) == [tried]
    assert next_step([(tried, 8.0, False), (fresh, 6.0, True)], 5.0) == 1.0


@pytest.mark.parametrize("times", [[], [None], [math.inf], [None, math.inf]])
def test_there_is_nothing_to_wait_for_where_nobody_knows_a_time(times: list[float | None]) -> None:
    assert next_step([(place(), when, True) for when in times], 5.0) is None


@unhurried
@given(
    st.lists(st.tuples(st.none() | st.just(math.inf) | st.floats(0.0, 20.0), st.booleans()), max_size=6),
    st.floats(0.0, 20.0),
)
def test_nobody_is_given_before_its_time(times: list[tuple[float | None, bool]], now: float) -> None:
    candidates = [(place(), when, fresh) for when, fresh in times]
    step = next_step(candidates, now)
    if step is None:
        assert all(when is None or when == math.inf for when, _ in times)
    elif isinstance(step, float):
        assert step > 0
        assert now + step == pytest.approx(min(when for when, _ in times if when is not None))
    else:
        ready = [(each, fresh) for each, when, fresh in candidates if when is not None and when <= now]
        assert step
        assert all(any(each is other for other, _ in ready) for each in step)
        assert len({fresh for each, fresh in ready if each in step}) == 1


def test_what_was_asked_too_often_is_not_on_trial_afterwards() -> None:
    """It works, so all who wait for it may go there at once."""
    there = Place(load=failing(Load(), RateLimitError("slow down", retry_after=2.0)))
    assert free_at(there, Need(), 1.0) == 2.0
    there.load.took(2.0, Need())
    assert free_at(there, Need(), 2.0) == 2.0


def test_what_another_call_tries_out_is_asked_by_the_most_daring_alone() -> None:
    there = Place(load=failing(Load(), *[InternalServerError("broken")] * 4))
    there.load.took(5.0, Need())
    assert [free_at(there, Need(), 6.0, daring) for daring in Daring] == [math.inf, math.inf, 6.0]
