"""Retries: when to send a request again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from anyrerank._core.runtime import Flow, Sleep
from anyrerank._core.types import Answer
from anyrerank.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
)

_STATUSES = frozenset({408, 409, 425, 429})
_NOT_IMPLEMENTED = 501
_FINAL = (AuthenticationError, PermissionDeniedError, NotFoundError, ConfigurationError, BudgetExceededError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to retry, and how long to wait in between.

    Exponential back-off with equal jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    unless the server reports how long to wait. If that is more than `longest_wait`, there is no retry.

    Attributes:
        max_retries: Attempts after the first one.
        first_wait: Upper bound of the first wait in seconds; it doubles with every retry.
        longest_back_off: Upper bound of every such wait in seconds.
        longest_wait: Upper bound in seconds of a wait that the server reports.
    """

    max_retries: int = 2
    first_wait: float = 0.5
    longest_back_off: float = 8.0
    longest_wait: float = 60.0


def retryable(error: RerankError) -> bool:
    """Whether the same request may succeed later."""
    status = error.status_code
    if status is None:
        return isinstance(error, APIConnectionError | APITimeoutError)
    of_the_request = isinstance(error, BadRequestError) or error.too_large
    temporary = status >= 500 and status != _NOT_IMPLEMENTED and not of_the_request
    return status in _STATUSES or temporary or isinstance(error, RateLimitError)


def causes(error: RerankError) -> tuple[RerankError, ...]:
    """The errors behind a `FallbackError`; any other error alone."""
    return error.errors if isinstance(error, FallbackError) and error.errors else (error,)


def is_final(error: RerankError) -> bool:
    """Whether every further call to the same models would fail too."""
    return all(isinstance(each, _FINAL) for each in causes(error))


def wait_before(retry: int, error: RerankError, policy: RetryPolicy) -> float | None:
    """Seconds to wait before retry number `retry` (the first one is 1), or `None` to give up."""
    if retry > policy.max_retries or not retryable(error):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= policy.longest_wait else None
    bound = min(policy.longest_back_off, policy.first_wait * 2.0 ** min(retry - 1, 32))
    return bound * (0.5 + random.random() / 2)  # noqa: S311  jitter


def recorded(flow: Flow[Answer], on_attempt: Callable[[Answer | RerankError, float, float], None]) -> Flow[Answer]:
    """Run the flow of one attempt.

    Args:
        flow: Sends a request.
        on_attempt: Gets the outcome, the start in seconds since the epoch, and the duration.
    """
    began, started = time.monotonic(), time.time()
    try:
        answer = yield from flow
    except RerankError as error:
        on_attempt(error, started, time.monotonic() - began)
        raise
    on_attempt(answer, started, time.monotonic() - began)
    return answer


def retried(start: Callable[[], Flow[Answer]], policy: RetryPolicy) -> Flow[Answer]:
    """Run the flow that `start` returns, and again after a temporary error, if the deadline allows the wait.

    Args:
        start: Returns a new flow for each attempt.
        policy: How often to retry, and how long to wait.
    """
    retry = 0
    while True:
        try:
            return (yield from start())
        except RerankError as error:
            retry += 1
            wait = wait_before(retry, error, policy)
            if wait is None:
                raise
            failure = error
        yield Sleep(wait, otherwise=failure)
