"""Failures: how they count for a deployment, and the error that the caller gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from anyrerank._core.routing.state import Failure
from anyrerank._core.types import Attempt
from anyrerank.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    LimitReachedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
    StateUnavailableError,
    UnknownPriceError,
)

_OF_THE_REQUEST = frozenset({400, 412, 413, 415, 422})
"""Statuses that are caused by the request, not by the deployment."""

_LASTING_STATUSES = frozenset({418, 451})
"""Statuses, besides 410 (a `NotFoundError`), of services that no longer offer a model here."""

_REFUSED = (BudgetExceededError, LimitReachedError, StateUnavailableError, UnknownPriceError)
"""Errors of budgets and limits: nothing was sent, and another call may be allowed."""

_LASTING = (AuthenticationError, ConfigurationError, NotFoundError, PermissionDeniedError, RateLimitError)
"""Errors that the next call would get too."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A failed attempt to use a deployment.

    Attributes:
        deployment: Its id in the `model_list`, if it has one, and its `provider/model`.
        error: The error.
        requests: Number of requests that failed.
    """

    deployment: str
    error: RerankError
    requests: int = 1


def failure_of(error: RerankError, requests: int) -> Failure | None:
    """How a deployment failed, or `None` if it did not cause the error.

    Args:
        error: The error.
        requests: Number of requests that failed.
    """
    if error.too_large or error.status_code in _OF_THE_REQUEST:
        return None
    if isinstance(error, (*_REFUSED, GuardrailRaisedError)) or not error.should_fail_over:
        return None
    return Failure(
        count=max(1, requests),
        retry_after=error.retry_after,
        lasting=isinstance(error, _LASTING) or error.status_code in _LASTING_STATUSES,
        rate_limited=isinstance(error, RateLimitError),
    )


def all_failed(failed: Sequence[FailedAttempt], attempts: Sequence[Attempt]) -> RerankError:
    """The error of a call that failed everywhere.

    It is the first failure if there is no other, or if the call was refused everywhere before it was sent; else a
    `FallbackError`.

    Args:
        failed: All failures of the call, in order.
        attempts: All attempts of the call.
    """
    if len(failed) == 1 or all(_is_refusal(each.error) for each in failed):
        return failed[0].error
    names = {each.deployment for each in failed}
    what = f"all {len(names)} deployments failed" if len(names) > 1 else "every attempt failed"
    return FallbackError(
        f"{what}: {summary(failed)}", errors=tuple(each.error for each in failed), attempts=tuple(attempts)
    )


def no_price(failed: Sequence[FailedAttempt]) -> bool:
    """Whether a call failed only because a budget needs a price that is not known."""
    return bool(failed) and all(isinstance(each.error, UnknownPriceError) for each in failed)


def _is_refusal(error: RerankError) -> bool:
    """Whether the call was refused by this process, before anything was sent."""
    return isinstance(error, _REFUSED) or not error.should_fail_over


def summary(failed: Sequence[FailedAttempt]) -> str:
    """The deployments that failed, with the error of each; repeated errors are shown once, with their number."""
    counted: Counter[str] = Counter()
    messages: dict[str, str] = {}
    for each in failed:
        status = "" if each.error.status_code is None else f" {each.error.status_code}"
        what = f"{each.deployment}: {type(each.error).__name__}{status}"
        counted[what] += max(1, each.requests)
        messages[what] = each.error.message
    return "; ".join(f"{what}{_times(count)}: {messages[what]}" for what, count in counted.items())


def _times(count: int) -> str:
    return f", {count} times" if count > 1 else ""
