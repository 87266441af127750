"""From a response that cannot be used to the error that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.errors import APIResponseValidationError, AuthenticationError, RerankError
from anyrerank.providers._base.error_body import json_or_none, message_in, redirect_host, request_id_in
from anyrerank.providers._base.redaction import Redactor

if TYPE_CHECKING:
    from anyrerank.providers._base.provider import Provider

_NO_MESSAGE: Mapping[type[RerankError], str] = {
    AuthenticationError: "no message; the key is wrong or missing",
}
TOO_LARGE = (
    "too large",
    "too many tokens",
    "too many documents",
    "token limit",
    "maximum allowed token size",
    "max allowed tokens",
    "maximum context length",
    "context size",
    "batch size",
    "list should have at most",
)
"""What providers write in a 400 or 422 when fewer documents could pass, in lower case."""


def status_error(provider: Provider, request: RerankRequest, response: HttpResponse) -> RerankError:
    """The error for a response whose status is not 2xx."""
    body = json_or_none(response.content)
    message = message_in(body, response.content)
    redactor = Redactor(request, provider.secrets())
    kind = provider.error_class(response, body)
    if response.status < 400:
        text = (
            f"redirected to {redirect_host(response)}; redirects are not followed, so that the key is sent to no other "
            "host: set api_base to the final address"
        )
    elif message:
        text = redactor.message(message, provider.error_code(response, body))
    else:
        text = _NO_MESSAGE.get(kind, "no message")
    return kind(
        f"{provider.title} answered {response.status}: {text}{_key_source(provider, kind)}",
        provider=provider.prefix,
        model=provider.connection.model,
        status_code=response.status,
        request_id=redactor.request_id(response.request_id or request_id_in(body)),
        retry_after=provider.retry_after(response, body),
        url=response.url,
        too_large=provider.is_too_large(response.status, kind, message.lower()),
    )


def _key_source(provider: Provider, kind: type[RerankError]) -> str:
    """Which environment variable a key came from that the provider refused."""
    key, variable = provider.connection.api_key, provider.connection.key_variable
    is_sent = key and variable and any(key in value for value in provider.headers().values())
    return f" (the key came from {variable})" if is_sent and kind is AuthenticationError else ""


def invalid_response_error(
    provider: Provider, request: RerankRequest, response: HttpResponse, problem: str
) -> APIResponseValidationError:
    """The error for a 2xx response that cannot be read as an answer."""
    return APIResponseValidationError(
        f"{provider.title}: {problem}; check that the base URL is the reranking endpoint of this provider",
        provider=provider.prefix,
        model=provider.connection.model,
        status_code=response.status,
        request_id=Redactor(request, provider.secrets()).request_id(response.request_id),
        url=response.url,
    )
