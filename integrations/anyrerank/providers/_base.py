"""What every provider is: pure functions from a request to bytes and from bytes to scores.

A provider reads no environment, opens no socket and keeps nothing between calls. It is made from a `Connection`, which
`anyrerank.config` fills in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias

import orjson

from anyrerank.errors import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    RerankError,
    class_for_status,
)
from anyrerank.flow import Flow
from anyrerank.providers._answers import UnusableAnswerError
from anyrerank.providers._refusals import (
    host_of,
    json_or_none,
    login_in,
    message_in,
    redact,
    request_id_in,
    start_of,
)
from anyrerank.providers._urls import is_http_url
from anyrerank.schema import Meta, RerankRequest
from anyrerank.wire import HttpRequest, HttpResponse

Scale: TypeAlias = Literal["unit", "logit", "unknown"]
"""What a score means: calibrated to 0..1, a logit, or nothing that can be mapped to 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a provider is and how to get in. The key is never part of a `repr`."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


_NO_META = Meta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider made of one request: (index, score) pairs, each index at most once, every score finite."""

    scores: Sequence[tuple[int, float]]
    id: str | None = None
    meta: Meta = _NO_META
    request_id: str | None = None
    status: int | None = None


class Provider:
    """One back end. Subclasses say what differs; the file's name is the prefix.

    Class attributes are the provider's card. They are data, so that documentation and tests can be made from them.
    """

    prefix: ClassVar[str]
    """The name before the slash in a model string."""
    title: ClassVar[str]
    """The vendor's own name, for tables."""
    key_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the key; the first that is set wins."""
    base_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the base URL; the first that is set wins."""
    default_base: ClassVar[str | None] = None
    """Base URL when the caller names none; `None` where there is no public one."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Options that reach the wire; every other one is refused."""
    scale: ClassVar[Scale] = "unknown"
    """What the scores mean, for `score_mode="unit"`."""
    listwise: ClassVar[bool] = False
    """Whether a document's score depends on the documents beside it."""
    images: ClassVar[bool] = False
    """Whether a mapping with an `image` and no `text` can be ranked."""
    pipeline_fuse: ClassVar[Literal["rrf"] | None] = None
    """What the framework adapters use for `fuse`, their input being ranked already."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.deployment!r})"

    @property
    def deployment(self) -> str:
        """`provider/model`."""
        return f"{self.prefix}/{self.connection.model}"

    @property
    def key_required(self) -> bool:
        """Whether a call without a key is refused before it is sent."""
        return True

    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        """How many documents one request may hold; `None` for no limit."""
        return None

    def flow(self, request: RerankRequest) -> Flow[Answer]:
        """Everything one request needs: by default one exchange."""
        response = yield self.build_request(request)
        return self.read(request, response)

    def build_request(self, request: RerankRequest) -> HttpRequest:
        """The HTTP request: the same bytes for the same request."""
        body = {**self.body(request), **request.extra_body}
        try:
            content = orjson.dumps(body, default=_as_dict)
        except TypeError:
            raise BadRequestError(
                "the query, a document or an option cannot be written as JSON (unpaired surrogate characters, or a "
                "value that is not JSON)",
                provider=self.prefix,
                model=self.connection.model,
            ) from None
        return HttpRequest(method="POST", url=self.url(request), headers=self.headers(), content=content)

    def url(self, request: RerankRequest) -> str:
        """Where the request goes."""
        raise NotImplementedError

    def body(self, request: RerankRequest) -> dict[str, Any]:
        """The request's JSON, without `extra_body`."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Headers of a request; the caller's own win, whatever their case."""
        own = {"accept": "application/json", "content-type": "application/json", **self.authorization()}
        for name, value in self.connection.headers.items():
            own[name.lower()] = value
        return own

    def authorization(self) -> dict[str, str]:
        """The header that carries the key."""
        key = self.connection.api_key
        return {"authorization": f"Bearer {key}"} if key else {}

    def read(self, request: RerankRequest, response: HttpResponse) -> Answer:
        """The answer in `response`, or the error that it is."""
        if not 200 <= response.status < 300:
            raise self.error(request, response)
        try:
            body = orjson.loads(response.content)
        except ValueError:
            self.reject(response, f"the answer is not JSON, it starts with {start_of(response)}")
        try:
            answer = self.parse_body(body, request)
        except UnusableAnswerError as problem:
            self.reject(response, str(problem))
        expected = min(request.top_n or len(request.documents), len(request.documents))
        if len(answer.scores) < expected:
            self.reject(response, f"{len(answer.scores)} results came back where {expected} were asked for")
        named = answer.id if isinstance(answer.id, str) else None
        return replace(answer, id=named, request_id=response.request_id or answer.request_id, status=response.status)

    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        """Scores, id and usage in the answer's JSON."""
        raise NotImplementedError

    def reject(self, response: HttpResponse, problem: str) -> NoReturn:
        """Raise: the answer cannot be used."""
        raise APIResponseValidationError(
            f"{self.title}: {problem}; check that the base URL is the reranking endpoint of this provider",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=response.request_id,
            url=response.url,
        ) from None

    def error(self, request: RerankRequest, response: HttpResponse) -> RerankError:
        """The error that an answer with a status outside 200..299 stands for."""
        body = json_or_none(response.content)
        if response.status < 400:
            text = (
                f"redirected to {host_of(response.headers.get('location', ''))}; redirects are not followed, so that "
                "the key stays with the host it is for: set api_base to the final address"
            )
        else:
            text = redact(message_in(body, response.content), self._secrets(), request) or "no message"
        return self.error_class(response.status, body)(
            f"{self.title} answered {response.status}: {text}",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=response.request_id or request_id_in(body),
            retry_after=response.retry_after,
            url=response.url,
        )

    def error_class(self, status: int, body: Any) -> type[RerankError]:
        """The class for a status; overridden where the provider means something else by it."""
        return class_for_status(status)

    def too_large(self, error: RerankError) -> bool:
        """Whether fewer documents in the request could help."""
        if error.status_code == 413:
            return True
        return isinstance(error, BadRequestError) and any(sign in error.message.lower() for sign in TOO_LARGE)

    def check(self) -> None:
        """Raise what is wrong with the connection, before anything is sent."""
        if self.key_required and not self.connection.api_key and "authorization" not in self.headers():
            raise AuthenticationError(
                f"no API key for {self.title}: pass api_key=, or set {' or '.join(self.key_variables)}",
                provider=self.prefix,
                model=self.connection.model,
            )
        _ = self.base

    @property
    def base(self) -> str:
        """The base URL; raises `ConfigurationError` when there is none, or it is not one."""
        base = self.connection.api_base or self.default_base
        if base and is_http_url(base):
            return base
        problem = "is not an http(s) address such as https://host/v1" if base else "is missing"
        raise ConfigurationError(
            f"the base URL for {self.title} {problem}: pass api_base= or set {' or '.join(self.base_variables)}",
            provider=self.prefix,
            model=self.connection.model,
        )

    def refuse(self, problem: str) -> BadRequestError:
        """The error for a call that this provider cannot take, made before anything is sent."""
        return BadRequestError(problem, provider=self.prefix, model=self.connection.model)

    def whole_option(self, options: Mapping[str, Any], name: str, *, at_least: int) -> int | None:
        """The option `name` as an integer of `at_least` or more, or `None` when it is not given."""
        value: int | None = options.get(name)
        if value is None or (type(value) is int and value >= at_least):
            return value
        raise self.refuse(f"{name} is an integer of at least {at_least}")

    def _secrets(self) -> list[str]:
        """Whatever of the headers gets in, whole and in parts, the longest first."""
        values = [*self.authorization().values(), *self.connection.headers.values()]
        parts = {part for value in values for part in (value, *value.split(), *login_in(value))}
        return sorted(parts, key=len, reverse=True)


TOO_LARGE = (
    "too large",
    "too many tokens",
    "too many documents",
    "token limit",
    "maximum allowed token size",
    "maximum context length",
    "batch size",
)
"""What providers write in a 400 or 422 when a request, not its form, is the problem."""


def _as_dict(value: Any) -> dict[str, Any]:
    """A mapping that is no dict, for the JSON encoder."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
