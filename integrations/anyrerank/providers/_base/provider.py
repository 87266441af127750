"""What every provider is: pure functions from a request to bytes and from bytes to scores.

A provider is made from a `Connection` and does no I/O itself: what it has to fetch first, such as a token, is an effect
of its flow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NoReturn

import orjson
from typing_extensions import Self

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse
from anyrerank._core.types import Answer, RerankRequest, Scale
from anyrerank.errors import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    RerankError,
    class_for_status,
)
from anyrerank.providers._base.answers import UnusableAnswerError
from anyrerank.providers._base.connection import Connection, Setting
from anyrerank.providers._base.redaction import Redactor
from anyrerank.providers._base.refusals import (
    error_code_in,
    host_of,
    json_or_none,
    login_in,
    message_in,
    query_values,
    request_id_in,
    start_of,
)
from anyrerank.providers._base.urls import is_http_url

NOTHING_ASKED = RerankRequest(query="", documents=())
"""For an exchange that is about no query and no documents."""


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
    key_headers: ClassVar[tuple[str, ...]] = ("authorization",)
    """Headers, in lower case, that a key may be in; with one of the caller's own no key is needed."""
    key_file_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the path of a file with the key; looked at after `key_variables`."""
    base_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the base URL; the first that is set wins."""
    default_base: ClassVar[str | None] = None
    """Base URL when the caller names none; `None` where there is no public one."""
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})
    """What a connection can hold besides key and base URL, by the name of the argument."""
    needs_key: ClassVar[bool] = True
    """Whether a call without a key is refused before it is sent."""
    extra: ClassVar[str | None] = None
    """The extra of this package that holds what the provider is made of."""
    documents_per_request: ClassVar[int | None] = None
    """How many documents one request may hold; `None` where no limit is known."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Options that reach the wire; every other one is refused."""
    free: ClassVar[bool] = False
    """Whether it costs nothing, as what runs on this machine."""
    scale: ClassVar[Scale] = "unknown"
    """What the scores mean, for `score_mode="unit"`."""
    listwise: ClassVar[bool] = False
    """Whether a document's score depends on the documents beside it."""
    sends_mappings: ClassVar[bool] = False
    """Whether a mapping may be sent as it is, so that a score may depend on all of it."""
    ranks_mappings: ClassVar[bool] = False
    """Whether more of a mapping is ranked than its text, without `rank_fields`."""
    images: ClassVar[bool] = False
    """Whether some model ranks a mapping with an `image` and no `text`; see `reads_images`."""
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
    def price_names(self) -> tuple[str, ...]:
        """The names under which the table of prices may have this model, the closest first."""
        return (self.deployment,)

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this model from every other: calls that differ in it share no score. Nothing that gets in."""
        connection = self.connection
        sent = {name.lower(): value for name, value in connection.headers.items()}
        headers = {name: value for name, value in sent.items() if name not in self.key_headers}
        settings = {name: value for name, value in connection.settings.items() if not self.settings[name].secret}
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        mine = id(type(self)) if not kind.startswith("anyrerank.") else None  # a notebook may have changed it meanwhile
        return self.prefix, kind, mine, connection.model, connection.api_base or self.default_base, headers, settings

    @property
    def key_required(self) -> bool:
        """Whether a call without a key is refused before it is sent, at this base URL and for this model."""
        return self.needs_key

    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        """How many documents one request may hold with these options; `None` where no limit is known."""
        return self.documents_per_request

    @classmethod
    def reads_images(cls, model: str) -> bool:
        """Whether this model ranks a mapping with an `image`; one that is not known gets the benefit of the doubt."""
        return cls.images

    def learnt_max_documents(self, count: int, options: Mapping[str, Any]) -> Flow[int | None]:
        """`max_documents`, for a provider that can ask its server when a call has `count` documents."""
        yield from ()
        return self.max_documents(options)

    def starts(self, request: RerankRequest, size: int) -> Sequence[int]:
        """Where each request begins when `request` is split: by default every `size` documents."""
        return range(0, len(request.documents), size)

    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        """What the scores of this model mean with these options."""
        return self.scale

    @property
    def ranks_together(self) -> bool:
        """Whether this model's score for a document depends on the documents beside it."""
        return self.listwise

    def unfit(self, request: RerankRequest) -> tuple[int, str] | None:
        """The first document that this provider cannot take, and why; asked before anything is sent."""
        return None

    def flow(self, request: RerankRequest) -> Flow[Answer]:
        """Everything one request needs: by default one exchange."""
        ready = yield from self.authorized()
        response = yield ready.build_request(request)
        return ready.read(request, response)

    def authorized(self) -> Flow[Self]:
        """This provider with a token, where one has to be fetched first."""
        yield from ()
        return self

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
            self.reject(response, f"the answer is not JSON, it starts with {start_of(response)}", request)
        try:
            answer = self.parse_body(body, request)
        except UnusableAnswerError as problem:
            self.reject(response, str(problem), request)
        expected = min(request.top_n or len(request.documents), len(request.documents))
        if len(answer.scores) < expected:
            self.reject(response, f"{len(answer.scores)} results came back where {expected} were asked for", request)
        named = answer.id if isinstance(answer.id, str) else None
        return replace(answer, id=named, request_id=response.request_id or answer.request_id, status=response.status)

    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        """Scores, id and usage in the answer's JSON."""
        raise NotImplementedError

    def reject(self, response: HttpResponse, problem: str, request: RerankRequest = NOTHING_ASKED) -> NoReturn:
        """Raise: the answer cannot be used. With the `request`, an id that quotes it stays out of the error."""
        raise APIResponseValidationError(
            f"{self.title}: {problem}; check that the base URL is the reranking endpoint of this provider",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=Redactor(request, self.secrets()).request_id(response.request_id),
            url=response.url,
        ) from None

    def error(self, request: RerankRequest, response: HttpResponse) -> RerankError:
        """The error that an answer with a status outside 200..299 stands for."""
        body = json_or_none(response.content)
        message = message_in(body, response.content)
        redactor = Redactor(request, self.secrets())
        kind = self.error_class(response, body)
        if response.status < 400:
            text = (
                f"redirected to {host_of(response.headers.get('location', ''))}; redirects are not followed, so that "
                "the key stays with the host it is for: set api_base to the final address"
            )
        elif not message:
            text = _WITHOUT_MESSAGE.get(kind, "no message")
        else:
            text = redactor.message(message, self.error_code(response, body))
        key, variable = self.connection.api_key, self.connection.key_variable
        if kind is AuthenticationError and key and variable and any(key in sent for sent in self.headers().values()):
            text += f" (the key came from {variable})"
        return kind(
            f"{self.title} answered {response.status}: {text}",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=redactor.request_id(response.request_id or request_id_in(body)),
            retry_after=self.retry_after(response, body),
            url=response.url,
            too_large=self.is_too_large(response.status, kind, message.lower()),
        )

    def error_code(self, response: HttpResponse, body: Any) -> str | None:
        """The provider's own short name for an error, shown when its message must be withheld."""
        return error_code_in(body)

    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        """The class for a status; overridden where the provider means something else by it."""
        return class_for_status(response.status)

    def retry_after(self, response: HttpResponse, body: Any) -> float | None:
        """Seconds that the provider asks to wait; overridden where it says so in the body."""
        return response.retry_after

    def is_too_large(self, status: int, kind: type[RerankError], words: str) -> bool:
        """Whether fewer documents in the request could help, by the status and what the provider said in lower case."""
        return status == 413 or (kind is BadRequestError and any(sign in words for sign in TOO_LARGE))

    def check(self) -> None:
        """Raise what is wrong with the connection, before anything is sent."""
        if self.key_required and not self.connection.api_key and not self.has_own_header:
            looked_at = (*self.key_variables, *self.key_file_variables)
            raise self.locked_out(f"no API key for {self.title}: pass api_key={_or_set(looked_at)}")
        _ = self.base

    @property
    def base(self) -> str:
        """The base URL; raises `ConfigurationError` when there is none, or it is not one."""
        base = self.connection.api_base or self.default_base
        if base and is_http_url(base):
            return base
        source = f" in {self.connection.base_variable}" if self.connection.base_variable else ""
        problem = f"{source} is not an http(s) address such as https://host/v1" if base else " is missing"
        raise self.misconfigured(
            f"the base URL for {self.title}{problem}: pass api_base={_or_set(self.base_variables)}"
        )

    @property
    def has_own_header(self) -> bool:
        """Whether the caller's headers get in by themselves."""
        return any(name.lower() in self.key_headers for name in self.connection.headers)

    def chosen(self, *names: str) -> str | None:
        """Which of some settings, or of them and the `api_key`, is used where one must be.

        The first that the caller gave; without any, the first that the environment holds.
        """
        connection = self.connection
        held = {"api_key": connection.api_key, **connection.settings}
        outside = connection.from_environment | ({"api_key"} if connection.key_variable else set())
        known = [name for name in names if held.get(name)]
        return next((name for name in known if name not in outside), known[0] if known else None)

    def setting(self, name: str) -> str:
        """A setting that a call cannot do without.

        Raises:
            ConfigurationError: It is neither given nor in the environment.
        """
        value = self.connection.settings.get(name)
        if value:
            return str(value)
        raise self.misconfigured(
            f"{name} for {self.title} is missing: pass {name}={_or_set(self.settings[name].variables)}"
        )

    def refuse(self, problem: str) -> BadRequestError:
        """The error for a call that this provider cannot take, made before anything is sent."""
        return BadRequestError(problem, provider=self.prefix, model=self.connection.model)

    def misconfigured(self, problem: str) -> ConfigurationError:
        """The error for a connection that cannot be made."""
        return ConfigurationError(problem, provider=self.prefix, model=self.connection.model)

    def locked_out(self, problem: str) -> AuthenticationError:
        """The error for credentials that are missing or cannot be used."""
        return AuthenticationError(problem, provider=self.prefix, model=self.connection.model)

    def whole_option(self, options: Mapping[str, Any], name: str, *, at_least: int) -> int | None:
        """The option `name` as an integer of `at_least` or more, or `None` when it is not given."""
        value: int | None = options.get(name)
        if value is None or (type(value) is int and value >= at_least):
            return value
        raise self.refuse(f"{name} is an integer of at least {at_least}")

    def secrets(self) -> list[str]:
        """Whatever gets in, whole and in parts, the longest first."""
        connection = self.connection
        own = connection.headers
        parts = {str(value) for name, value in connection.settings.items() if self.settings[name].secret}
        keys = [*self.authorization().values(), *(own[name] for name in own if name.lower() in self.key_headers)]
        parts |= {part for value in keys for part in (value, *value.split()[1:])}
        others = [own[name] for name in own if name.lower() not in {*self.key_headers, *_SAID_BY_ALL}]
        others += query_values(connection.api_base or "")
        parts |= {part for value in others for part in (value, *value.split()) if len(part) >= _SHORTEST_SECRET}
        parts |= {part for value in own.values() for part in login_in(value)}
        parts |= {connection.api_key or ""}
        return sorted(parts - {""}, key=len, reverse=True)


_SAID_BY_ALL = ("accept", "content-type", "user-agent")


_SHORTEST_SECRET = 8
"""What is shorter in the caller's headers and base URL is a word, and would be cut out of every message that has it."""


_WITHOUT_MESSAGE: Mapping[type[RerankError], str] = {
    AuthenticationError: "no message; the key is wrong, or there is none"
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
"""What providers write in a 400 or 422 when a request, not its form, is the problem."""


def _or_set(variables: Sequence[str]) -> str:
    return f", or set {' or '.join(variables)}" if variables else ""


def _as_dict(value: Any) -> dict[str, Any]:
    """A mapping that is no dict, for the JSON encoder."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
