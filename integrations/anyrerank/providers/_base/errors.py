"""The errors of a provider: from a response that cannot be used to the error that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.errors import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    RerankError,
    class_for_status,
)
from anyrerank.providers._base.connection import Connection
from anyrerank.providers._base.error_body import (
    error_code_in,
    json_or_none,
    message_in,
    plain_text,
    redirect_host,
    request_id_in,
)
from anyrerank.providers._base.redaction import Redactor
from anyrerank.providers._base.sizes import has_no_memory, speaks_of_size

CHECK_BASE = "check that the base URL is the reranking endpoint of this provider"
_NO_MESSAGE: Mapping[type[RerankError], str] = {
    AuthenticationError: "no message; the key is wrong or missing",
}


class ProviderErrors:
    """The errors of a provider; subclasses change what differs."""

    prefix: ClassVar[str]
    """The part before the slash in a model string."""
    title: ClassVar[str]
    """The name of the vendor or server, for tables and messages."""
    connection: Connection

    def secrets(self) -> list[str]:
        """The secrets that no error may quote, the longest first."""
        raise NotImplementedError

    def error(self, request: RerankRequest, response: HttpResponse) -> RerankError:
        """The error for a response whose status is not 2xx."""
        body = json_or_none(response.content)
        message = message_in(body, response.content)
        redactor = Redactor(request, self.secrets())
        kind = self.error_class(response, body)
        if response.status < 400:
            text = (
                f"redirected to {redirect_host(response)}; redirects are not followed, so that the key is sent to no "
                "other host: set api_base to the final address"
            )
        elif message:
            text = redactor.message(message, self.error_code(response, body))
        else:
            text = _NO_MESSAGE.get(kind, "no message")
        return kind(
            f"{self.title} answered {response.status}: {text}{self.advice_for(kind)}",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=redactor.request_id(response.request_id or request_id_in(body)),
            retry_after=self.retry_after(response, body),
            url=response.url,
            too_large=self.is_too_large(response.status, kind, f"{message} {self.error_code(response, body)}".lower()),
        )

    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        """The class of that error; overridden where a status has another meaning."""
        return class_for_status(response.status)

    def error_code(self, response: HttpResponse, body: Any) -> str | None:
        """The provider's short name for the error, shown when its message is withheld."""
        return error_code_in(body)

    def retry_after(self, response: HttpResponse, body: Any) -> float | None:
        """Seconds to wait before a retry; overridden where the body holds them."""
        return response.retry_after

    def is_too_large(self, status: int, error_class: type[RerankError], message: str) -> bool:
        """Whether a request with fewer documents could pass; `message` is in lower case."""
        refused = status == 500 or (status in (400, 422) and error_class is BadRequestError)
        no_memory = has_no_memory(message)
        return status == 413 or (refused and (no_memory or speaks_of_size(message))) or (status > 500 and no_memory)

    def invalid_response(
        self,
        request: RerankRequest,
        response: HttpResponse,
        problem: str,
        *,
        advice: str = CHECK_BASE,
    ) -> APIResponseValidationError:
        """The error for a 2xx response that is not an answer to `request`.

        Args:
            request: The request.
            response: The response.
            problem: Why it cannot be used.
            advice: What to do about it, unless the response contains a message.
        """
        redactor = Redactor(request, self.secrets())
        body = json_or_none(response.content)
        if reported := message_in(body, plain_text(response)):
            advice = f"the response reports: {redactor.message(reported, self.error_code(response, body))}"
        return APIResponseValidationError(
            f"{self.title}: {problem}; {advice}",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=redactor.request_id(response.request_id),
            url=response.url,
        )

    def bad_request(self, problem: str) -> BadRequestError:
        """The error for a call that this provider cannot take; nothing was sent."""
        return BadRequestError(problem, provider=self.prefix, model=self.connection.model)

    def configuration_error(self, problem: str) -> ConfigurationError:
        """The error for settings that cannot work."""
        return ConfigurationError(problem, provider=self.prefix, model=self.connection.model)

    def authentication_error(self, problem: str) -> AuthenticationError:
        """The error for credentials that are missing or unusable."""
        return AuthenticationError(problem, provider=self.prefix, model=self.connection.model)

    def advice_for(self, kind: type[RerankError]) -> str:
        """What helps against an error of this class, such as where a refused key came from, to end its message."""
        raise NotImplementedError
