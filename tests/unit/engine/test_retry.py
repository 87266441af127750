from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from tests.support.clock import Clock, replace_time

from anyrerank._core.engine import RetryPolicy, retryable, wait_before
from anyrerank._core.engine.retry import retried
from anyrerank._core.runtime import Deadline, Flow, HttpRequest, HttpResponse, run
from anyrerank._core.types import Answer
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
    """What a flow sent, how it ended, and what it reported."""

    deadlines: list[Deadline] = field(default_factory=list)
    outcomes: list[tuple[Any, float, float]] = field(default_factory=list)
    answer: Any = None
    error: RerankError | None = None
    waits: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return len(self.deadlines)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    replace_time(monkeypatch, made)
    return made


def exchange() -> Flow[Answer]:
    answer: Answer = yield REQUEST
    return answer


def tried(
    clock: Clock,
    outcomes: Sequence[Any],
    *,
    max_retries: int = 2,
    timeout: float | None = None,
    random: float = 1.0,
    seconds: float = 0.0,
) -> Driven:
    """Drive a retried request whose attempts take `seconds` and end with `outcomes`."""
    driven, waiting = Driven(waits=clock.waits), iter(outcomes)
    clock.rng = lambda: random

    def send(_: HttpRequest, deadline: Deadline) -> Any:
        driven.deadlines.append(deadline)
        clock.now += seconds
        outcome = next(waiting)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def report(outcome: Any, started: float, took: float) -> None:
        driven.outcomes.append((outcome, started, took))

    try:
        driven.answer = run(
            retried(exchange, RetryPolicy(max_retries=max_retries), report), send, Deadline.after(timeout)
        )
    except RerankError as error:
        driven.error = error
    return driven


def test_a_success_is_not_repeated(clock: Clock) -> None:
    driven = tried(clock, [ANSWER])
    assert driven.answer is ANSWER
    assert driven.sent == 1


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529, 599])
def test_statuses_that_may_pass_are_retried(status: int, clock: Clock) -> None:
    driven = tried(clock, [of_status(status), ANSWER])
    assert driven.answer is ANSWER
    assert driven.sent == 2
    assert len(driven.waits) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 412, 413, 415, 422, 424, 451, 498, 499, 501])
def test_other_statuses_are_raised_at_once(status: int, clock: Clock) -> None:
    error = of_status(status)
    driven = tried(clock, [error])
    assert driven.error is error
    assert driven.sent == 1


@pytest.mark.parametrize("error", [APIConnectionError("reset"), APITimeoutError("slow")], ids=["connection", "timeout"])
def test_no_answer_is_retried(error: RerankError, clock: Clock) -> None:
    assert tried(clock, [error, error, ANSWER]).answer is ANSWER


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
def test_what_cannot_pass_is_raised_at_once(error: RerankError, clock: Clock) -> None:
    assert not retryable(error)
    assert tried(clock, [error]).error is error


def test_a_quota_error_is_retried_whatever_its_status() -> None:
    assert retryable(RateLimitError("quota", status_code=403))


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_the_last_error_is_raised_when_the_retries_are_used_up(max_retries: int, clock: Clock) -> None:
    errors = [of_status(503) for _ in range(max_retries + 1)]
    driven = tried(clock, errors, max_retries=max_retries)
    assert driven.error is errors[-1]
    assert driven.sent == max_retries + 1
    assert len(driven.waits) == max_retries


def test_each_attempt_is_a_new_flow(clock: Clock) -> None:
    made: list[int] = []

    def start() -> Flow[Answer]:
        made.append(len(made))
        return exchange()

    def send(_: HttpRequest, deadline: Deadline) -> Any:
        if len(made) == 1:
            raise of_status(503)
        return ANSWER

    run(retried(start, RetryPolicy(), lambda *_: None), send)
    assert made == [0, 1]


@pytest.mark.parametrize(
    ("random", "waits"), [(0.0, [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]), (1.0, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0])]
)
def test_the_back_off_doubles_up_to_a_bound_and_half_of_it_is_random(
    random: float, waits: list[float], clock: Clock
) -> None:
    assert tried(clock, [of_status(503)] * 7, max_retries=6, random=random).waits == waits


def test_the_back_off_of_any_retry_is_bounded(clock: Clock) -> None:
    clock.rng = lambda: 1.0
    policy = RetryPolicy(max_retries=10**6)
    assert wait_before(10**6, of_status(503), policy) == policy.longest_back_off


def test_random_spreads_the_waits() -> None:
    policy = RetryPolicy(max_retries=3)
    waits = {wait_before(3, of_status(503), policy) for _ in range(20)}
    assert len(waits) > 10
    assert all(wait is not None and 1.0 <= wait <= 2.0 for wait in waits)


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("asked", [0.0, 0.125, 30.0, 60.0])
def test_the_server_says_how_long_to_wait(status: int, asked: float, clock: Clock) -> None:
    driven = tried(clock, [of_status(status, asked), ANSWER], random=0.3)
    assert driven.waits == [asked]
    assert driven.answer is ANSWER


def test_a_server_that_asks_for_too_long_is_not_waited_for(clock: Clock) -> None:
    error = of_status(429, 60.5)
    driven = tried(clock, [error])
    assert driven.error is error
    assert driven.sent == 1


@pytest.mark.parametrize("asked", [10.0, 11.0, 59.0])
def test_a_wait_past_the_deadline_gives_up_at_once_with_the_original_error(asked: float, clock: Clock) -> None:
    error = of_status(429, asked)
    driven = tried(clock, [error], timeout=10.0)
    assert driven.error is error
    assert driven.waits == []


def test_a_back_off_past_the_deadline_gives_up_at_once_with_the_original_error(clock: Clock) -> None:
    error = of_status(503)
    assert tried(clock, [of_status(503), error], timeout=1.4).error is error


def test_a_wait_that_fits_the_deadline_is_made(clock: Clock) -> None:
    assert tried(clock, [of_status(429, 9.5), ANSWER], timeout=10.0).answer is ANSWER


def test_every_attempt_has_the_deadline_of_the_whole_call(clock: Clock) -> None:
    driven = tried(clock, [of_status(503), of_status(503), ANSWER], timeout=30.0, seconds=2.0)
    assert [deadline.at for deadline in driven.deadlines] == [1030.0] * 3


def test_the_time_that_exchanges_take_counts(clock: Clock) -> None:
    driven = tried(clock, [of_status(503)] * 3, timeout=3.0, seconds=2.0, max_retries=9)
    assert driven.error is not None
    assert driven.error.status_code == 503
    assert driven.sent == 2


def test_nothing_is_sent_after_the_deadline(clock: Clock) -> None:
    driven = tried(clock, [], timeout=0.0)
    assert isinstance(driven.error, APITimeoutError)
    assert driven.sent == 0
    assert "secret" not in str(driven.error)


def test_every_attempt_is_reported_with_its_start_and_duration(clock: Clock) -> None:
    errors = [of_status(429, 1.0), APIConnectionError("reset")]
    driven = tried(clock, [*errors, ANSWER], seconds=0.5, timeout=60.0, random=1.0)
    assert driven.outcomes == [(errors[0], 1000.0, 0.5), (errors[1], 1001.5, 0.5), (ANSWER, 1003.0, 0.5)]


def test_the_last_failure_is_reported_too(clock: Clock) -> None:
    errors = [of_status(503), of_status(400)]
    assert [outcome for outcome, _, _ in tried(clock, errors).outcomes] == errors


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
