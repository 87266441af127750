"""The exceptions of anyrerank, with the names of OpenAI and LiteLLM.

    RerankError
      +-- AuthenticationError          no key, or the provider refused it
      +-- PermissionDeniedError        the key does not allow this, or there is no credit left
      +-- NotFoundError                no such model or path
      +-- BadRequestError              the call is wrong; sending it again will not help
      |     +-- InvalidArgumentError   an argument of a framework adapter is wrong; also a ValueError
      +-- RateLimitError               too many requests, or a quota is used up
      |     +-- LimitReachedError      by a `Limit`, it would be sent too late; nothing was sent
      +-- APITimeoutError              no answer within `timeout`
      +-- APIConnectionError           refused, reset, DNS, TLS
      +-- InternalServerError          the provider failed
      +-- APIResponseValidationError   a response that cannot be used
      +-- ConfigurationError           wrong base URL, provider name or config file
      |     +-- MissingExtraError      an optional library is not installed; also an ImportError
      |     +-- UnknownPriceError      there is a budget, and the price of the model is unknown
      +-- GuardrailRaisedError         a guardrail stopped the query
      +-- BudgetExceededError          the call would exceed a budget
      +-- StateUnavailableError        a shared state, such as that of a budget, cannot be reached
      +-- FallbackError                every model that was tried failed

No message, `repr` or pickle of an error holds an API key, a query or a document.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from anyrerank._core.types import Attempt, repaired


class RerankError(Exception):
    """Base class of all errors of anyrerank.

    Attributes:
        message: What happened, and what to do about it.
        provider: Prefix of the provider, if one was involved.
        model: The model without the prefix.
        status_code: HTTP status, if there was a response.
        request_id: The provider's id of the request.
        retry_after: Seconds that the provider asks to wait.
        url: URL of the request, without user info and query string.
        too_large: Whether a request with fewer documents may succeed.
        attempts: Every attempt of the call, including the one that failed with this error.
    """

    attempts: tuple[Attempt, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        url: str | None = None,
        too_large: bool = False,
    ) -> None:
        message = repaired(message)  # it may name what a caller wrote, and must be printable
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.model = model
        self.status_code = status_code
        self.request_id = request_id
        self.retry_after = retry_after
        self.url = None if url is None else public_url(url)
        self.too_large = too_large

    @property
    def should_fail_over(self) -> bool:
        """Whether another model might succeed: not if the call was refused before anything was sent."""
        return self.status_code is not None or self.too_large or not isinstance(self, _CALLER_ERRORS)

    def __str__(self) -> str:
        details = [
            f"{name}={value}"
            for name, value in (
                ("provider", self.provider),
                ("model", self.model),
                ("status", self.status_code),
                ("attempts", len(self.attempts) if len(self.attempts) > 1 else None),
                ("request_id", self.request_id),
                ("retry_after", None if self.retry_after is None else round(self.retry_after, 1)),
                ("url", self.url),
            )
            if value is not None
        ]
        return f"{self.message} [{', '.join(details)}]" if details else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.message, dict(self.__dict__)))


def _restore(kind: type[RerankError], message: str, state: dict[str, Any]) -> RerankError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


class AuthenticationError(RerankError):
    """No key was found, or the provider refused it (401, 498)."""


class PermissionDeniedError(RerankError):
    """The key does not allow this, or the account has no credit left (402, 403)."""


class NotFoundError(RerankError):
    """No such model, or a wrong path (404, 410)."""


class BadRequestError(RerankError):
    """The call is wrong (400, 405, 409, 412, 413, 415, 422), or was refused before anything was sent."""


class InvalidArgumentError(BadRequestError, ValueError):
    """A field or an argument of a framework adapter is wrong or missing; nothing was sent.

    It is also a `ValueError`, the class that the frameworks raise.
    """


class RateLimitError(RerankError):
    """Too many requests or tokens (429); `retry_after` is the wait in seconds that the provider asks for."""


class LimitReachedError(RateLimitError):
    """By a `Limit`, a request would be sent after the timeout of its call; it was not sent."""


class APITimeoutError(RerankError):
    """No complete response within `timeout`, or the provider itself timed out (408, 504)."""


class APIConnectionError(RerankError):
    """The server could not be reached, or the connection broke (DNS, TLS, refused, reset)."""


class InternalServerError(RerankError):
    """The provider failed (424, 499, 5xx)."""


class APIResponseValidationError(RerankError):
    """A response that cannot be used: not JSON, or with results that are missing, repeated or out of range."""


class ConfigurationError(RerankError):
    """The configuration is wrong: base URL, provider name, or a config file that cannot be read."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional library is not installed; the message contains the command that installs it."""


class UnknownPriceError(ConfigurationError):
    """A budget needs the price of the model, which is unknown; nothing was sent."""


class GuardrailRaisedError(RerankError):
    """A guardrail refused the query; nothing was sent."""


class BudgetExceededError(RerankError):
    """The call would exceed a budget; nothing was sent."""

    owner: str | None = None
    """Whose budget it is at a gateway: `key`, `end user`, `deployment` or `gateway`; otherwise `None`."""


class StateUnavailableError(RerankError):
    """A state that several processes share, such as that of a budget, cannot be reached; nothing was sent."""


_CALLER_ERRORS = (BadRequestError, GuardrailRaisedError)


class FallbackError(RerankError):
    """Every model that was tried failed.

    Attributes:
        errors: The error of each model, in the order in which they were tried.
    """

    def __init__(
        self,
        message: str,
        *,
        errors: tuple[RerankError, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.errors = errors
        self.attempts = attempts


_CLASSES: dict[int, type[RerankError]] = {
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    408: APITimeoutError,
    424: InternalServerError,
    429: RateLimitError,
    498: AuthenticationError,
    499: InternalServerError,
    504: APITimeoutError,
}


def class_for_status(status: int) -> type[RerankError]:
    """The error class of an HTTP status; a redirect is a response that cannot be used."""
    if status < 400:
        return APIResponseValidationError
    return _CLASSES.get(status) or (InternalServerError if status >= 500 else BadRequestError)


def public_url(url: str) -> str:
    """`url` without user info, query string and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(malformed URL)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
