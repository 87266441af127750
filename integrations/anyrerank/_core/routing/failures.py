"""What a failure says: about the call, about the deployment, and to the caller."""

from __future__ import annotations

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
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
)

_OF_THE_CALL = frozenset({400, 412, 413, 415, 422})
"""Statuses that say something about the request, and nothing about the deployment."""

_LASTING = (AuthenticationError, ConfigurationError, NotFoundError, PermissionDeniedError, RateLimitError)
"""Errors that the next call would meet too."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """How one deployment failed.

    Attributes:
        deployment: Its id in the `model_list`, if it has one, and its `provider/model`.
        error: What it raised.
        requests: How many requests failed there.
    """

    deployment: str
    error: RerankError
    requests: int = 1

    def __str__(self) -> str:
        status = f" {self.error.status_code}" if self.error.status_code is not None else ""
        times = f", {self.requests} times" if self.requests > 1 else ""
        return f"{self.deployment}: {type(self.error).__name__}{status}{times}: {self.error.message}"


def failure_of(error: RerankError, requests: int) -> Failure | None:
    """What an error says against a deployment; `None` if it is about the call.

    Args:
        error: What was raised.
        requests: How many requests failed.
    """
    if error.too_large or error.status_code in _OF_THE_CALL:
        return None
    if isinstance(error, BudgetExceededError | GuardrailRaisedError) or not error.should_fail_over:
        return None
    return Failure(
        count=max(1, requests),
        retry_after=error.retry_after,
        lasting=isinstance(error, _LASTING),
        rate_limited=isinstance(error, RateLimitError),
    )


def all_failed(failed: Sequence[FailedAttempt], attempts: Sequence[Attempt]) -> RerankError:
    """One error that holds all of them; the first one if it is the only one, or if all refused the call unsent."""
    if len(failed) == 1 or not any(each.error.should_fail_over for each in failed):
        return failed[0].error
    names = {each.deployment for each in failed}
    what = f"all {len(names)} deployments failed" if len(names) > 1 else f"{failed[0].deployment} failed each time"
    return FallbackError(
        f"{what}: {'; '.join(map(str, failed))}",
        errors=tuple(each.error for each in failed),
        attempts=tuple(attempts),
    )
