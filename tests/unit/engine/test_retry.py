from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from tests.support.clock import Clock

from anyrerank._core.engine import RetryPolicy, retryable, wait_before, within
from anyrerank._core.engine.retry import retried
from anyrerank._core.pricing import Spent
from anyrerank._core.runtime import Call, Effect, Flow, HttpRequest, HttpResponse, Sleep
from anyrerank._core.types import Answer, Attempt
from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    RateLimitError,
    RerankError,
    class_for_status,
)

ANSWER = Answer(scores=[(0, 1.0)], status=200)
REQUEST = HttpRequest(method="POST", url="https://host.test/v1/rerank?key=secret", headers={})


def of_status(status: int, retry_after: float | None = None) -> RerankError:
    return class_for_status(status)("no", status_code=status, retry_after=retry_after)


@dataclass
class Driven:
    """What a flow asked for, and how it ended."""

    effects: list[Effect] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    answer: Any = None
    error: RerankError | None = None

    @property
    def waits(self) -> list[float]:
        return [effect.seconds for effect in self.effects if isinstance(effect, Sleep)]

    @property
    def requests(self) -> list[HttpRequest]:
        return [effect for effect in self.effects if isinstance(effect, HttpRequest)]


def drive(flow: Flow[Any], outcomes: Sequence[Any], clock: Clock, driven: Driven, seconds: float = 0.0) -> Driven:
    waiting = iter(outcomes)
    try:
        effect = next(flow)
        while True:
            driven.effects.append(effect)
            if isinstance(effect, Sleep):
                clock.now += effect.seconds
                effect = flow.send(None)
                continue
            clock.now += seconds
            outcome = next(waiting)
            effect = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
    except StopIteration as finished:
        driven.answer = finished.value
    except RerankError as error:
        driven.error = error
    return driven


def exchange() -> Flow[Answer]:
    answer: Answer = yield REQUEST
    return answer


def tried(
    outcomes: Sequence[Any],
    *,
    max_retries: int = 2,
    timeout: float | None = None,
    chance: float = 1.0,
    seconds: float = 0.0,
    longest_wait: float = 60.0,
) -> Driven:
    clock, driven = Clock(), Driven()
    policy = RetryPolicy(
        max_retries=max_retries, longest_wait=longest_wait, chance=lambda: chance, clock=clock, wall=lambda: 7.0
    )
    flow = retried(
        exchange,
        policy,
        deployment="cohere/m",
        deadline=None if timeout is None else clock.now + timeout,
        attempts=driven.attempts,
        price=lambda answer: Spent(None),
    )
    return drive(flow, outcomes, clock, driven, seconds)


def test_a_success_is_not_repeated() -> None:
    driven = tried([ANSWER])
    assert driven.answer is ANSWER
    assert driven.effects == [REQUEST]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529, 599])
def test_statuses_that_may_pass_are_retried(status: int) -> None:
    driven = tried([of_status(status), ANSWER])
    assert driven.answer is ANSWER
    assert len(driven.requests) == 2
    assert len(driven.waits) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 412, 413, 415, 422, 424, 451, 498, 499, 501])
def test_other_statuses_are_raised_at_once(status: int) -> None:
    error = of_status(status)
    driven = tried([error])
    assert driven.error is error
    assert driven.effects == [REQUEST]


@pytest.mark.parametrize("error", [APIConnectionError("reset"), APITimeoutError("slow")], ids=["connection", "timeout"])
def test_no_answer_is_retried(error: RerankError) -> None:
    assert tried([error, error, ANSWER]).answer is ANSWER


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no key"),
        BadRequestError("no such option"),
        ConfigurationError("no base URL"),
        APIResponseValidationError("not JSON", status_code=200),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_pass_is_raised_at_once(error: RerankError) -> None:
    assert not retryable(error)
    assert tried([error]).error is error


def test_a_quota_error_is_retried_whatever_its_status() -> None:
    assert retryable(RateLimitError("quota", status_code=403))


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_the_last_error_is_raised_when_the_retries_are_used_up(max_retries: int) -> None:
    errors = [of_status(503) for _ in range(max_retries + 1)]
    driven = tried(errors, max_retries=max_retries)
    assert driven.error is errors[-1]
    assert len(driven.requests) == max_retries + 1
    assert len(driven.waits) == max_retries


def test_each_try_is_a_fresh_flow() -> None:
    made: list[int] = []

    def start() -> Flow[Answer]:
        made.append(len(made))
        return exchange()

    clock, driven = Clock(), Driven()
    policy = RetryPolicy(clock=clock)
    flow = retried(start, policy, deployment="d", deadline=None, attempts=[], price=lambda answer: Spent(None))
    drive(flow, [of_status(503), ANSWER], clock, driven)
    assert made == [0, 1]


@pytest.mark.parametrize(
    ("chance", "waits"), [(0.0, [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]), (1.0, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0])]
)
def test_the_back_off_doubles_up_to_a_bound_and_half_of_it_is_chance(chance: float, waits: list[float]) -> None:
    assert tried([of_status(503)] * 7, max_retries=6, chance=chance).waits == waits


def test_the_back_off_of_any_retry_is_bounded() -> None:
    policy = RetryPolicy(max_retries=10**6, chance=lambda: 1.0)
    assert wait_before(10**6, of_status(503), policy) == policy.longest_back_off


def test_chance_spreads_the_waits() -> None:
    policy = RetryPolicy(max_retries=3)
    waits = {wait_before(3, of_status(503), policy) for _ in range(20)}
    assert len(waits) > 10
    assert all(wait is not None and 1.0 <= wait <= 2.0 for wait in waits)


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("asked", [0.0, 0.125, 30.0, 60.0])
def test_the_server_says_how_long_to_wait(status: int, asked: float) -> None:
    driven = tried([of_status(status, asked), ANSWER], chance=0.3)
    assert driven.waits == [asked]
    assert driven.answer is ANSWER


def test_a_server_that_asks_for_too_long_is_not_waited_for() -> None:
    error = of_status(429, 60.5)
    driven = tried([error])
    assert driven.error is error
    assert driven.effects == [REQUEST]


@pytest.mark.parametrize("asked", [10.0, 11.0, 59.0])
def test_a_wait_past_the_deadline_gives_up_at_once_with_the_original_error(asked: float) -> None:
    error = of_status(429, asked)
    driven = tried([error], timeout=10.0)
    assert driven.error is error
    assert driven.waits == []


def test_a_back_off_past_the_deadline_gives_up_at_once_with_the_original_error() -> None:
    error = of_status(503)
    assert tried([of_status(503), error], timeout=1.4).error is error


def test_a_wait_that_fits_the_deadline_is_made() -> None:
    assert tried([of_status(429, 9.5), ANSWER], timeout=10.0).answer is ANSWER


def test_requests_carry_the_deadline_of_the_whole_call() -> None:
    driven = tried([of_status(503), of_status(503), ANSWER], timeout=30.0, seconds=2.0)
    assert [request.deadline for request in driven.requests] == [1030.0] * 3
    assert [request.url for request in driven.requests] == [REQUEST.url] * 3


def test_no_deadline_leaves_requests_without() -> None:
    assert tried([ANSWER]).requests[0].deadline is None


def test_the_time_that_exchanges_take_counts() -> None:
    driven = tried([of_status(503)] * 3, timeout=3.0, seconds=2.0, max_retries=9)
    assert driven.error is not None
    assert driven.error.status_code == 503
    assert len(driven.requests) == 2


def test_nothing_is_sent_after_the_deadline() -> None:
    driven = tried([], timeout=0.0)
    assert isinstance(driven.error, APITimeoutError)
    assert driven.effects == []
    assert "secret" not in str(driven.error)


def polling(wait: float, times: int) -> Flow[Answer]:
    for _ in range(times):
        yield REQUEST
        yield Sleep(wait)
    answer: Answer = yield REQUEST
    return answer


def test_a_wait_of_the_provider_that_goes_past_the_deadline_is_a_timeout() -> None:
    clock, driven = Clock(), Driven()
    drive(within(polling(2.0, 9), clock.now + 5.0, clock), ["202"] * 9, clock, driven)
    assert isinstance(driven.error, APITimeoutError)
    assert driven.waits == [2.0, 2.0]
    assert [request.deadline for request in driven.requests] == [1005.0] * 3


def test_a_wait_of_the_provider_that_fits_is_made() -> None:
    clock, driven = Clock(), Driven()
    drive(within(polling(2.0, 2), clock.now + 5.0, clock), ["202", "202", ANSWER], clock, driven)
    assert driven.answer is ANSWER


def test_a_flow_may_catch_what_the_deadline_raises_and_is_closed_when_left() -> None:
    released: list[str] = []

    def flow() -> Flow[str]:
        try:
            yield Sleep(9.0)
        except APITimeoutError:
            return "caught"
        finally:
            released.append("lock")
        return "missed"

    clock, driven = Clock(), Driven()
    assert drive(within(flow(), clock.now + 5.0, clock), [], clock, driven).answer == "caught"
    left = within(flow(), clock.now + 50.0, clock)
    next(left)
    left.close()
    assert released == ["lock", "lock"]


def test_every_try_is_recorded() -> None:
    driven = tried([of_status(429, 1.0), APIConnectionError("reset"), ANSWER], seconds=0.5, timeout=60.0)
    assert driven.attempts == [
        Attempt(deployment="cohere/m", status=429, error="RateLimitError", seconds=0.5, started=7.0),
        Attempt(deployment="cohere/m", status=None, error="APIConnectionError", seconds=0.5, started=7.0),
        Attempt(deployment="cohere/m", status=200, error=None, seconds=0.5, started=7.0),
    ]


def test_the_last_failure_is_recorded_too() -> None:
    driven = tried([of_status(503), of_status(400)])
    assert [(attempt.status, attempt.error) for attempt in driven.attempts] == [
        (503, "InternalServerError"),
        (400, "BadRequestError"),
    ]


def test_an_error_of_the_transport_is_given_the_name_of_the_deployment() -> None:
    unnamed, named = APIConnectionError("reset"), APIConnectionError("reset", provider="other", model="n")
    tried([unnamed, named], max_retries=1)
    assert [(error.provider, error.model) for error in (unnamed, named)] == [("cohere", "m"), ("other", "n")]


NOW = datetime(2015, 10, 21, 7, 28, tzinfo=timezone.utc)


def answered(headers: dict[str, str], status: int = 429) -> HttpResponse:
    return HttpResponse(status=status, headers=headers, received=NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"x-ratelimit-reset": "3"}, 3.0),
        ({"x-ratelimit-reset": "3", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wednesday, 21-Oct-15 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed Oct 21 07:28:30 2015"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0.0),
        ({"retry-after": format_datetime(NOW)}, 0.0),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "later", "x-ratelimit-reset": "3"}, 3.0),
        ({"x-ratelimit-reset": "1445412492"}, 12.0),
        ({"x-ratelimit-reset": "1445412492500"}, 12.5),
        ({"x-ratelimit-reset": "1400000000"}, 0.0),
    ],
)
def test_retry_after_is_read_in_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert answered(headers).retry_after == seconds


def test_when_more_requests_are_allowed_says_nothing_of_a_failure() -> None:
    assert answered({"x-ratelimit-reset": "3000"}, 500).retry_after is None
    assert answered({"x-ratelimit-reset": "3000", "retry-after": "2"}, 503).retry_after == 2.0


def test_the_class_of_a_status_decides_nothing_alone() -> None:
    assert retryable(InternalServerError("failed", status_code=500))
    assert not retryable(InternalServerError("not implemented", status_code=501))


def test_only_a_bounded_call_has_the_deadline() -> None:
    def flow() -> Flow[None]:
        yield Call(int)
        yield Call(int, bounded=True)

    driven = within(flow(), 10.0, lambda: 0.0)
    assert next(driven) == Call(int)
    assert driven.send(0) == Call(int, bounded=True, deadline=10.0)


def test_a_call_after_the_deadline_is_not_made() -> None:
    def flow() -> Flow[None]:
        yield Call(int)

    with pytest.raises(APITimeoutError, match="before its work on this machine was done"):
        next(within(flow(), 10.0, lambda: 10.0))
