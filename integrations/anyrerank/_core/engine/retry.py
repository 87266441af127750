"""Retries: whether to repeat a request, and how long to wait first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from anyrerank._core.pricing import Spent
from anyrerank._core.runtime import Flow, Sleep
from anyrerank._core.types import Answer, Attempt
from anyrerank.errors import APIConnectionError, APITimeoutError, BadRequestError, RateLimitError, RerankError

_STATUSES = frozenset({408, 409, 425, 429})
_NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to retry and how long to wait in between.

    Exponential back-off with equal jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    unless the server says how long to wait. If it asks for more than `longest_wait`, there is no retry.

    Attributes:
        max_retries: Attempts after the first one.
        first_wait: Upper bound of the first wait in seconds; it doubles with every retry.
        longest_back_off: Upper bound in seconds of the waits that are not the server's.
        longest_wait: Upper bound in seconds of the waits that the server asks for.
    """

    max_retries: int = 2
    first_wait: float = 0.5
    longest_back_off: float = 8.0
    longest_wait: float = 60.0


def retryable(error: RerankError) -> bool:
    """Whether the same request may succeed a moment later."""
    status = error.status_code
    if status is None:
        return isinstance(error, APIConnectionError | APITimeoutError)
    temporary = status >= 500 and status != _NOT_IMPLEMENTED and not isinstance(error, BadRequestError)
    return status in _STATUSES or temporary or isinstance(error, RateLimitError)


def wait_before(retry: int, error: RerankError, policy: RetryPolicy) -> float | None:
    """Seconds to wait before retry number `retry` (the first one is 1), or `None` to give up."""
    if retry > policy.max_retries or not retryable(error):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= policy.longest_wait else None
    bound = min(policy.longest_back_off, policy.first_wait * 2.0 ** min(retry - 1, 32))
    return bound * (0.5 + random.random() / 2)  # noqa: S311  jitter


def retried(
    start: Callable[[], Flow[Answer]],
    policy: RetryPolicy,
    *,
    deployment: str,
    model_id: str | None = None,
    attempts: list[Attempt],
    price: Callable[[Answer | None], Spent],
) -> Flow[Answer]:
    """Run the flow that `start` makes, and again while that may help and the deadline allows it.

    Args:
        start: Makes a fresh flow for each attempt.
        policy: How often, and how long to wait.
        deployment: `provider/model`, for `attempts` and for errors of the transport, which knows neither.
        model_id: Id of the entry in a router's `model_list`.
        attempts: Gets an entry for every attempt.
        price: What an answer cost; with `None`, what a billed answer cost that could not be used.
    """
    retry = 0
    while True:
        began, started = time.monotonic(), time.time()
        try:
            answer = yield from start()
        except RerankError as error:
            if error.provider is None:
                error.provider, _, error.model = deployment.partition("/")
            seconds = time.monotonic() - began
            attempt = Attempt(deployment=deployment, model_id=model_id, started=started, seconds=seconds)
            attempts.append(_failed(error, attempt, price(None)))
            retry += 1
            wait = wait_before(retry, error, policy)
            if wait is None:
                raise
            failure = error
        else:
            cost = price(answer)
            attempts.append(
                Attempt(
                    deployment=deployment,
                    model_id=model_id,
                    status=answer.status,
                    started=started,
                    seconds=time.monotonic() - began,
                    cost=cost.dollars,
                    estimated=cost.estimated,
                )
            )
            return answer
        yield Sleep(wait, otherwise=failure)


def _failed(error: RerankError, attempt: Attempt, cost: Spent) -> Attempt:
    """`attempt`, which failed with `error`; it has a cost if it was billed all the same."""
    failed = attempt.model_copy(update={"status": error.status_code, "error": type(error).__name__})
    if not failed.billed or cost.dollars is None:
        return failed
    return failed.model_copy(update={"cost": cost.dollars, "estimated": cost.estimated})
