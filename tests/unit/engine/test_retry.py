from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from tests.support.clock import Clock

from anyrerank._core.engine import RetryPolicy, retryable, wait_before
from anyrerank._core.engine.retry import recorded, retried
from anyrerank._core.runtime import Deadline, Effect, Flow, HttpRequest, HttpResponse, Sleep, run
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


@pytest.fixture(autouse=True)
def full_jitter(clock: Clock) -> None:
    """Let each back-off be its upper bound."""
    clock.rng = lambda: 1.0


@dataclass
class Driven:
    """The effects of a flow, its attempts, and its outcome."""

    effects: list[Effect] = field(default_factory=list)
    attempts: list[tuple[Answer | RerankError, float, float]] = field(default_factory=list)
    answer: Any = None
    error: RerankError | None = None

    @property
    def waits(self) -> list[float]:
        return [effect.seconds for effect in self.effects if isinstance(effect, Sleep)]

    @property
    def requests(self) -> list[HttpRequest]:
        return [effect for effect in self.effects if isinstance(effect, HttpRequest)]

    def record(self, outcome: Answer | RerankError, started: float, seconds: float) -> None:
        self.attempts.append((outcome, started, seconds))

    def drive(self, flow: Flow[Any], outcomes: Sequence[Any]) -> Driven:
        """Send `outcomes`, or throw those that are errors, in answer to the requests of a flow."""
        waiting = iter(outcomes)
        try:
            effect = next(flow)
            while True:
                self.effects.append(effect)
                outcome = None if isinstance(effect, Sleep) else next(waiting)
                effect = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
        except StopIteration as finished:
            self.answer = finished.value
        except RerankError as error:
            self.error = error
        return self


def exchange() -> Flow[Answer]:
    answer: Answer = yield REQUEST
    return answer


def tried(outcomes: Sequence[Any], **policy: Any) -> Driven:
    """What `retried` does when requests have these outcomes."""
    driven = Driven()
    return driven.drive(retried(lambda: recorded(exchange(), driven.record), RetryPolicy(**policy)), outcomes)


def test_success_is_not_retried() -> None:
    driven = tried([ANSWER])
    assert driven.answer is ANSWER
    assert driven.effects == [REQUEST]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529, 599])
def test_temporary_status_is_retried(status: int) -> None:
    driven = tried([of_status(status), ANSWER])
    assert driven.answer is ANSWER
    assert len(driven.requests) == 2
    assert len(driven.waits) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 412, 413, 415, 422, 424, 451, 498, 499, 501])
def test_other_status_is_raised_at_once(status: int) -> None:
    error = of_status(status)
    driven = tried([error])
    assert driven.error is error
    assert driven.effects == [REQUEST]


@pytest.mark.parametrize("error", [APIConnectionError("reset"), APITimeoutError("slow")], ids=["connection", "timeout"])
def test_request_without_a_response_is_retried(error: RerankError) -> None:
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
def test_lasting_error_is_raised_at_once(error: RerankError) -> None:
    assert not retryable(error)
    assert tried([error]).error is error


def test_rate_limit_error_is_retried_with_any_status() -> None:
    assert retryable(RateLimitError("quota", status_code=403))


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_last_error_is_raised_after_max_retries(max_retries: int) -> None:
    errors = [of_status(503) for _ in range(max_retries + 1)]
    driven = tried(errors, max_retries=max_retries)
    assert driven.error is errors[-1]
    assert len(driven.requests) == max_retries + 1
    assert len(driven.waits) == max_retries


def test_each_attempt_starts_a_new_flow() -> None:
    started: list[int] = []

    def start() -> Flow[Answer]:
        started.append(len(started))
        return exchange()

    driven = Driven()
    driven.drive(retried(lambda: recorded(start(), driven.record), RetryPolicy()), [of_status(503), ANSWER])
    assert started == [0, 1]


@pytest.mark.parametrize(
    ("jitter", "waits"), [(0.0, [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]), (1.0, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0])]
)
def test_back_off_doubles_up_to_a_bound_and_half_of_it_is_random(
    jitter: float, waits: list[float], clock: Clock
) -> None:
    clock.rng = lambda: jitter
    assert tried([of_status(503)] * 7, max_retries=6).waits == waits


def test_back_off_of_any_retry_is_bounded() -> None:
    policy = RetryPolicy(max_retries=10**6)
    assert wait_before(10**6, of_status(503), policy) == policy.longest_back_off


def test_back_off_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    policy = RetryPolicy(max_retries=3)
    waits = {wait_before(3, of_status(503), policy) for _ in range(20)}
    assert len(waits) > 10
    assert all(wait is not None and 1.0 <= wait <= 2.0 for wait in waits)


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("asked", [0.0, 0.125, 30.0, 60.0])
def test_server_says_how_long_to_wait(status: int, asked: float) -> None:
    driven = tried([of_status(status, asked), ANSWER])
    assert driven.waits == [asked]
    assert driven.answer is ANSWER


def test_server_that_asks_for_too_long_a_wait_is_not_retried() -> None:
    error = of_status(429, 60.5)
    driven = tried([error])
    assert driven.error is error
    assert driven.effects == [REQUEST]


@pytest.mark.parametrize("asked", [10.0, 11.0, 59.0])
def test_wait_past_the_deadline_raises_the_original_error_at_once(asked: float, clock: Clock) -> None:
    error = of_status(429, asked)
    flow = retried(lambda: recorded(exchange(), Driven().record), RetryPolicy())
    with pytest.raises(RateLimitError) as caught:
        run(flow, failing(error, clock), Deadline.after(10.0))
    assert caught.value is error
    assert clock.now == 1000.0


def test_wait_before_the_deadline_is_made(clock: Clock) -> None:
    with pytest.raises(RateLimitError):
        run(
            retried(lambda: recorded(exchange(), Driven().record), RetryPolicy(max_retries=1)),
            failing(of_status(429, 9.5), clock),
            Deadline.after(10.0),
        )
    assert clock.now == 1009.5


def test_duration_of_requests_counts_towards_the_deadline(clock: Clock) -> None:
    driven = Driven()
    with pytest.raises(InternalServerError):
        run(
            retried(lambda: recorded(exchange(), driven.record), RetryPolicy(max_retries=9)),
            failing(of_status(503), clock, seconds=2.0),
            Deadline.after(3.0),
        )
    assert len(driven.attempts) == 2


def failing(error: RerankError, clock: Clock, seconds: float = 0.0) -> Any:
    """A sender that fails after some seconds."""

    def send(request: HttpRequest, deadline: Deadline) -> HttpResponse:
        clock.now += seconds
        raise error

    return send


def test_nothing_is_sent_after_the_deadline(clock: Clock) -> None:
    with pytest.raises(APITimeoutError) as caught:
        run(retried(lambda: recorded(exchange(), Driven().record), RetryPolicy()), deadline=Deadline(clock.now, 10.0))
    assert "secret" not in str(caught.value)


def test_each_attempt_is_reported_with_start_and_duration(clock: Clock) -> None:
    errors = [of_status(429, 1.0), APIConnectionError("reset")]
    waiting = iter([*errors, ANSWER])

    def send(request: HttpRequest, deadline: Deadline) -> Any:
        clock.now += 0.5
        outcome = next(waiting)
        if isinstance(outcome, RerankError):
            raise outcome
        return outcome

    driven = Driven()
    run(retried(lambda: recorded(exchange(), driven.record), RetryPolicy()), send, Deadline.after(60.0))
    assert driven.attempts == [(errors[0], 1000.0, 0.5), (errors[1], 1001.5, 0.5), (ANSWER, 1003.0, 0.5)]


def test_last_error_is_reported_too() -> None:
    errors = [of_status(503), of_status(400)]
    assert [outcome for outcome, _, _ in tried(errors).attempts] == errors


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
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert answered(headers).retry_after == seconds


def test_rate_limit_reset_counts_with_status_429_only() -> None:
    assert answered({"x-ratelimit-reset": "3000"}, 500).retry_after is None
    assert answered({"x-ratelimit-reset": "3000", "retry-after": "2"}, 503).retry_after == 2.0


def test_status_501_is_not_retried() -> None:
    assert retryable(InternalServerError("failed", status_code=500))
    assert not retryable(InternalServerError("not implemented", status_code=501))
