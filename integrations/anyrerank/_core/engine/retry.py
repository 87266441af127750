"""Whether to try again, how long to wait first, and the one deadline over all of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from anyrerank._core.pricing import Spent
from anyrerank._core.runtime import Call, Do, Effect, Flow, HttpRequest, Sleep
from anyrerank._core.types import Answer, Attempt
from anyrerank.errors import APIConnectionError, APITimeoutError, BadRequestError, RateLimitError, RerankError

T = TypeVar("T")

_STATUSES = frozenset({408, 409, 425, 429})
_NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to try again and how long to wait in between.

    Exponential back-off with equal jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
    unless the server says how long to wait. A server that asks for more than `longest_wait` is not waited for.

    Attributes:
        max_retries: Tries after the first one.
        first_wait: Upper bound of the first wait, in seconds; it doubles with every try.
        longest_back_off: Upper bound of every wait that is ours to choose, in seconds.
        longest_wait: Most seconds to wait when the server asks for it.
        chance: Source of jitter, between 0 and 1.
        clock: Seconds of a clock that never goes back.
        wall: Seconds since 1970.
    """

    max_retries: int = 2
    first_wait: float = 0.5
    longest_back_off: float = 8.0
    longest_wait: float = 60.0
    chance: Callable[[], float] = field(default=random.random, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    wall: Callable[[], float] = field(default=time.time, repr=False)


def retryable(error: RerankError) -> bool:
    """Whether the same request may succeed a moment later."""
    status = error.status_code
    if status is None:
        return isinstance(error, APIConnectionError | APITimeoutError)
    passing = status >= 500 and status != _NOT_IMPLEMENTED and not isinstance(error, BadRequestError)
    return status in _STATUSES or passing or isinstance(error, RateLimitError)


def wait_before(retry: int, error: RerankError, policy: RetryPolicy) -> float | None:
    """Seconds to wait before try number `retry` (1 is the first one after a failure), or `None` to give up."""
    if retry > policy.max_retries or not retryable(error):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= policy.longest_wait else None
    bound = min(policy.longest_back_off, policy.first_wait * 2.0 ** min(retry - 1, 32))
    return bound * (0.5 + policy.chance() / 2)


def retried(
    start: Callable[[], Flow[Answer]],
    policy: RetryPolicy,
    *,
    deployment: str,
    model_id: str | None = None,
    deadline: float | None,
    attempts: list[Attempt],
    price: Callable[[Answer | None], Spent],
) -> Flow[Answer]:
    """Run the flow that `start` makes, again and again while that may help and the deadline allows it.

    Args:
        start: Makes a fresh flow for each try.
        deployment: `provider/model`, for `attempts` and for errors of the transport, which knows neither.
        model_id: Which entry of a router's `model_list` it is.
        deadline: Time of `policy.clock` by which all must be over.
        attempts: Gets an entry for every try.
        price: What an answer cost; of `None`, what one cost that was billed but could not be used.
    """
    retry = 0
    while True:
        began, started = policy.clock(), policy.wall()
        try:
            answer = yield from within(start(), deadline, policy.clock)
        except RerankError as error:
            if error.provider is None:
                error.provider, _, error.model = deployment.partition("/")
            tried = Attempt(
                deployment=deployment,
                model_id=model_id,
                status=error.status_code,
                error=type(error).__name__,
                started=started,
                seconds=policy.clock() - began,
            )
            attempts.append(_costing(tried, price(None)))
            retry += 1
            wait = wait_before(retry, error, policy)
            if wait is None or (deadline is not None and policy.clock() + wait >= deadline):
                raise
        else:
            seconds, cost = policy.clock() - began, price(answer)
            attempts.append(
                Attempt(
                    deployment=deployment,
                    model_id=model_id,
                    status=answer.status,
                    started=started,
                    seconds=seconds,
                    cost=cost.dollars,
                    estimated=cost.estimated,
                )
            )
            return answer
        yield Sleep(wait)


def _costing(attempt: Attempt, cost: Spent) -> Attempt:
    if not attempt.billed or cost.dollars is None:
        return attempt
    return attempt.model_copy(update={"cost": cost.dollars, "estimated": cost.estimated})


def within(flow: Flow[T], deadline: float | None, clock: Callable[[], float]) -> Flow[T]:
    """`flow`, every request of which carries the deadline, and no wait of which goes past it."""
    if deadline is None:
        return (yield from flow)
    try:
        effect = next(flow)
        while True:
            try:
                outcome = yield _limited(effect, deadline, clock)
            except BaseException as error:  # noqa: BLE001  a flow may clean up after anything
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        flow.close()


def _limited(effect: Effect, deadline: float, clock: Callable[[], float]) -> Effect:
    late = clock() >= deadline
    if isinstance(effect, HttpRequest):
        if late:
            raise APITimeoutError("the call's timeout is used up before this request could be sent", url=effect.url)
        return replace(effect, deadline=deadline)
    if isinstance(effect, Sleep) and (late or clock() + effect.seconds >= deadline):
        raise APITimeoutError("timed out: the provider was still working when the call's timeout was used up")
    if isinstance(effect, Call):
        if late:
            raise APITimeoutError("timed out: the call's timeout is used up before its work on this machine was done")
        return replace(effect, deadline=deadline) if effect.bounded else effect
    return replace(effect, deadline=deadline) if isinstance(effect, Do) else effect
