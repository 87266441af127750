"""The exception tree, in OpenAI's and LiteLLM's words.

    RerankError
      +-- AuthenticationError          no key, or the provider refused it
      +-- PermissionDeniedError        the key may not do this, or there is no credit left
      +-- NotFoundError                no such model or path
      +-- BadRequestError              the call itself is wrong; sending it again will not help
      +-- RateLimitError               too many requests, or a quota is used up
      +-- APITimeoutError              no answer within `timeout`
      +-- APIConnectionError           refused, reset, DNS, TLS
      +-- InternalServerError          the provider failed
      +-- APIResponseValidationError   an answer that cannot be trusted
      +-- ConfigurationError           base URL, provider name, extra or config file
      +-- GuardrailRaisedError         a guardrail stopped the query
      +-- BudgetExceededError          the call would exceed a budget
      +-- FallbackError                everything that was tried failed

No message, `repr` or pickle of these holds an API key, a query or a document.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from anyrerank._core.types import Attempt


class RerankError(Exception):
    """Base of everything that anyrerank raises on purpose.

    Attributes:
        message: What happened and what to do about it.
        provider: Prefix of the provider, when one was involved.
        model: Model without the prefix.
        status_code: HTTP status, when there was an answer.
        request_id: The provider's id of the request.
        retry_after: Seconds the provider asked to wait.
        url: Where the request went, without user info and query string.
        too_large: Whether a request with fewer documents could pass.
        attempts: Every try of the call that failed, this one among them.
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
        return self.status_code is not None or self.too_large or not isinstance(self, _AGAINST_THE_CALL)

    def __str__(self) -> str:
        details = [
            f"{name}={value}"
            for name, value in (
                ("provider", self.provider),
                ("model", self.model),
                ("status", self.status_code),
                ("request_id", self.request_id),
                ("retry_after", self.retry_after),
                ("url", self.url),
            )
            if value is not None
        ]
        return f"{self.message} [{', '.join(details)}]" if details else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.message, dict(self.__dict__)))

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show: the caller's own lines and the message, without the frames of libraries."""
        frames = [frame for frame in traceback.extract_tb(self.__traceback__) if _is_the_callers(frame.filename)]
        places = [f"line {frame.lineno}: {frame.line}" for frame in frames if frame.line]
        return [*places, *self._lines()]

    def _lines(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def _is_the_callers(file: str) -> bool:
    """Whether a frame is of a cell, or of a file that is not installed."""
    installed = sysconfig.get_paths()
    libraries = (os.path.dirname(__file__), *(installed[name] for name in ("stdlib", "purelib", "platlib")))  # noqa: PTH120
    return not file.startswith(tuple(f"{folder}{os.sep}" for folder in libraries))


def _restore(kind: type[RerankError], message: str, state: dict[str, Any]) -> RerankError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


class AuthenticationError(RerankError):
    """There is no key, or the provider refused it (401, 498)."""


class PermissionDeniedError(RerankError):
    """The key may not do this, or the account has no credit left (402, 403)."""


class NotFoundError(RerankError):
    """No such model, or a wrong path (404)."""


class BadRequestError(RerankError):
    """The call is wrong (400, 405, 409, 412, 413, 415, 422), or was refused before anything was sent."""


class RateLimitError(RerankError):
    """Too many requests or tokens (429); `retry_after` says how long the provider asks to wait."""


class APITimeoutError(RerankError):
    """No complete answer within `timeout`, or the provider's own time ran out (408, 504)."""


class APIConnectionError(RerankError):
    """The server could not be reached, or the connection broke (DNS, TLS, refused, reset)."""


class InternalServerError(RerankError):
    """The provider failed (424, 499, 5xx)."""


class APIResponseValidationError(RerankError):
    """An answer that is not what was asked for: not JSON, results missing, doubled, out of range or without a score."""


class ConfigurationError(RerankError):
    """The set-up is wrong: base URL, provider name, missing extra, unreadable config file."""


class GuardrailRaisedError(RerankError):
    """A guardrail refused the query; nothing was sent."""


class BudgetExceededError(RerankError):
    """The call would exceed a budget; nothing was sent."""


_AGAINST_THE_CALL = (BadRequestError, GuardrailRaisedError)


class FallbackError(RerankError):
    """Every model that was tried failed.

    Attributes:
        errors: What each of them raised, in the order in which they were tried.
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

    def _lines(self) -> list[str]:
        each = [f"  - {type(error).__name__}: {error}" for error in self.errors]
        return ["FallbackError: every model failed", *each] if each else super()._lines()


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
    """The error class of an HTTP status; a redirect is an answer that cannot be used."""
    if status < 400:
        return APIResponseValidationError
    return _CLASSES.get(status) or (InternalServerError if status >= 500 else BadRequestError)


def public_url(url: str) -> str:
    """`url` without user info, query string and fragment: the parts in which secrets travel."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(malformed URL)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
