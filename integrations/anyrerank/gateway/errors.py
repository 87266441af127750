"""The errors of a gateway, before a dialect writes them into an answer."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from anyrerank._core.engine import causes
from anyrerank.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    GuardrailRaisedError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
    StateUnavailableError,
    UnknownPriceError,
)
from anyrerank.gateway.advice import for_operator

_log = logging.getLogger("anyrerank.gateway")

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "unknown_price": 400,
    "guardrail_raised": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found": 404,
    "unknown_model": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "too_large": 413,
    "unsupported_media_type": 415,
    "rate_limit_exceeded": 429,
    "budget_exceeded": 429,
    "client_closed_request": 499,
    "internal_error": 500,
    "upstream_error": 502,
    "upstream_authentication_error": 502,
    "overloaded": 503,
    "unavailable": 503,
    "upstream_timeout": 504,
}
"""Each kind of problem, and its HTTP status unless the dialect has another one for it."""


_LONGEST_WAIT = 60.0


@dataclass(eq=False, kw_only=True)
class GatewayError(Exception):
    """A request that is refused or failed.

    Attributes:
        kind: One of `STATUSES`.
        message: What happened, and what to do about it.
        param: Name of the field of the body that is wrong.
        retry_after: Seconds after which the same request may succeed. No header says more than a minute: clients cut
            a long wait short, and ask again in vain.
        headers: Further headers of the answer.
    """

    kind: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """The headers of the answer, those for retries included."""
        headers = dict(self.headers)
        if self.kind == "authentication_error":
            headers["www-authenticate"] = "Bearer"
        if self.retry_after is not None and self.retry_after <= _LONGEST_WAIT:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
            headers["retry-after-ms"] = str(max(1, math.ceil(self.retry_after * 1000)))
        elif self.kind == "budget_exceeded":
            headers["x-should-retry"] = "false"  # Stainless's SDKs, such as OpenAI's, repeat other answers with 429
        return headers


def internal_error(error: Exception, request_id: str) -> GatewayError:
    """A fault of ours. Its log line has everything but its message, which may quote the body."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("request %s failed: %s\n%s", request_id, type(error).__name__, where)
    message = f"the gateway failed; its log has the details under request {request_id}"
    return GatewayError(kind="internal_error", message=message)


def bad_request(message: str, param: str | None = None) -> GatewayError:
    """The error for a request that is itself wrong."""
    return GatewayError(kind="invalid_request_error", message=message, param=param)


def gateway_error(error: RerankError) -> GatewayError:
    """The error for the client of the gateway, for one of the router.

    Of several errors the last one decides, apart from unknown prices: the client cannot do anything about them.
    """
    errors = causes(error)
    message = "; ".join(dict.fromkeys(map(_message, errors)))
    last = [each for each in errors if not isinstance(each, UnknownPriceError)][-1:] or errors[-1:]
    return GatewayError(kind=_kind(last[0]), message=message, retry_after=last[0].retry_after)


def described(error: RerankError) -> str:
    """The class and the message of an error, for the one who runs the gateway; of several errors each one once."""
    errors = causes(error)
    return "; ".join(dict.fromkeys(f"{type(each).__name__}: {_message(each)}" for each in errors))


def log_messages(error: RerankError, about: str) -> None:
    """Log the words of vendors of which a client is told that they are in the log.

    Args:
        error: The error of the router.
        about: What failed.
    """
    kept = dict.fromkeys(f"{type(each).__name__}: {each.message}" for each in causes(error) if _is_in_log(each))
    for text in kept:
        _log.warning("%s failed: %s", about, text)


def _is_in_log(error: RerankError) -> bool:
    """Whether the message of a vendor may name the account of the gateway, and is not for clients."""
    return error.status_code is not None and isinstance(error, NotFoundError | InternalServerError | APITimeoutError)


def _message(error: RerankError) -> str:
    """The message for a client, which need not know the addresses, accounts and keys behind the gateway.

    The words of a vendor about a wrong request are for the client. Those about its limits, models and faults may name
    the account of the gateway: they are in the log.
    """
    where = f"{error.provider}/{error.model}"
    if isinstance(error, APIConnectionError):
        return f"{where} cannot be reached"
    if isinstance(error, AuthenticationError | PermissionDeniedError) and error.status_code is not None:
        return f"{where} refused the key of the gateway"
    if error.status_code is not None and isinstance(error, RateLimitError):
        return f"{where} answered {error.status_code}, because a limit of it is reached; try again later"
    if _is_in_log(error):
        return f"{where} answered {error.status_code}; the log of the gateway has its message"
    if isinstance(error, StateUnavailableError):
        return (
            "it is not known whether a budget allows this call, because Redis or the database does not answer the "
            "gateway; try again (allow_requests_on_db_unavailable decides whether such a call is refused)"
        )
    return for_operator(error.message)


def _kind(error: RerankError) -> str:
    if error.too_large:
        return "too_large"
    sent = error.status_code is not None
    if not sent and isinstance(error, AuthenticationError):
        return "unavailable"  # the gateway has no key for this deployment
    if not sent and isinstance(error, RateLimitError):
        return "unavailable"  # every deployment is cooling down, or at its limit
    return next((kind for classes, kind in _KINDS if isinstance(error, classes)), "upstream_error")


_KINDS: tuple[tuple[type[RerankError] | tuple[type[RerankError], ...], str], ...] = (
    (UnknownPriceError, "unknown_price"),
    (ConfigurationError, "unavailable"),
    (GuardrailRaisedError, "guardrail_raised"),
    (BudgetExceededError, "budget_exceeded"),
    (StateUnavailableError, "unavailable"),
    (BadRequestError, "invalid_request_error"),
    ((AuthenticationError, PermissionDeniedError), "upstream_authentication_error"),
    (RateLimitError, "rate_limit_exceeded"),
    (APITimeoutError, "upstream_timeout"),
    (NotFoundError, "upstream_error"),
)


def phrase(status: int) -> str:
    """The reason phrase of a status, such as `Not Found`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request"


def superset(message: str, kind: str, status: int, param: str | None = None) -> bytes:
    """The body of an error outside of the dialects."""
    return orjson.dumps(error_fields(message, kind, status, param))


def error_fields(message: str, kind: str, status: int, param: str | None = None) -> dict[str, Any]:
    """An error where the clients of LiteLLM, Cohere and Xinference each look for it."""
    error = {"message": message, "type": kind, "param": param, "code": str(status)}
    return {"error": error, "message": message, "detail": message}
