"""The base class of every provider: pure functions from a request to bytes and from bytes to scores.

A provider is made from a `Connection` and does no I/O. What it must fetch first, such as a token, is an effect of its
flow.
"""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from typing_extensions import Self, override

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse
from anyrerank._core.types import Answer, RerankRequest, Scale, public
from anyrerank.errors import AuthenticationError, RerankError
from anyrerank.providers._base.answers import UnusableAnswerError, UnusableScoreError
from anyrerank.providers._base.connection import Connection, Setting
from anyrerank.providers._base.credentials import secrets_of
from anyrerank.providers._base.encoding import culprit, encoded, parsed
from anyrerank.providers._base.error_body import description_of
from anyrerank.providers._base.errors import ProviderErrors
from anyrerank.providers._base.urls import is_http_url

EMPTY_REQUEST = RerankRequest(query="", documents=())
"""For an exchange that sends neither query nor documents, such as a request for a token."""


@public("anyrerank.providers")
class Provider(ProviderErrors):
    """One provider; subclasses define what differs.

    The class attributes describe the provider. They are data, so that documentation and tests can be made from them.
    """

    key_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the key; the first one that is set is used."""
    key_page: ClassVar[str | None] = None
    """Page of the vendor where keys are made, or that says how; `None` for a server of your own."""
    key_headers: ClassVar[tuple[str, ...]] = ("authorization",)
    """Headers that may hold a key, in lower case. A caller who passes one needs no `api_key`."""
    key_file_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the path of a file with the key; read after `key_variables`."""
    base_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that may hold the base URL; the first one that is set is used."""
    default_base: ClassVar[str | None] = None
    """Base URL when none is given; `None` where there is no public one."""
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})
    """Further arguments of the connection, by name."""
    needs_key: ClassVar[bool] = True
    """Whether a call without a key is an error; see `key_required`."""
    extra: ClassVar[str | None] = None
    """The extra of this package that installs what the provider needs."""
    documents_per_request: ClassVar[int | None] = None
    """How many documents one request may hold; `None` where no limit is known. See `max_documents`."""
    tokens_per_document: ClassVar[int | None] = None
    """Tokens of a document that are read without `max_tokens_per_doc`; `None` if that is not known. For estimates."""
    unit_tokens: ClassVar[int | None] = None
    """A longer document counts as several in search units, of about this many tokens each. For estimates."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Options that are sent; any other option is an error."""
    free: ClassVar[bool] = False
    """Whether a call costs nothing because it runs on this machine."""
    scale: ClassVar[Scale] = "unknown"
    """What the scores mean, for `score_mode="unit"`. See `score_scale`."""
    listwise: ClassVar[bool] = False
    """Whether the score of a document depends on the other documents of the request. See `ranks_together`."""
    sends_mappings: ClassVar[bool] = False
    """Whether a mapping may be sent whole, so that its score may depend on every field."""
    ranks_mappings: ClassVar[bool] = False
    """Whether more of a mapping than its text is ranked when no `rank_fields` are given."""
    sends_top_n: ClassVar[bool] = True
    """Whether the server is told how many results are needed. If not, it must answer every document."""
    images: ClassVar[bool] = False
    """Whether some model ranks a mapping with an `image` and no `text`. See `reads_images`."""
    pipeline_fuse: ClassVar[Literal["rrf"] | None] = None
    """The default of `fuse` in the framework adapters, whose input is ranked already."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.deployment!r})"

    # What it is

    @property
    def deployment(self) -> str:
        """`provider/model`."""
        return f"{self.prefix}/{self.connection.model}"

    @property
    def price_names(self) -> tuple[str, ...]:
        """Names under which the price list may have this model, the most specific first."""
        return (self.deployment,)

    @property
    def identity(self) -> tuple[object, ...]:
        """What scores depend on besides the request, for caching; holds no secret."""
        connection = self.connection
        sent = {name.lower(): value for name, value in connection.headers.items()}
        headers = {name: value for name, value in sent.items() if name not in self.key_headers}
        settings = {name: value for name, value in connection.settings.items() if not self.settings[name].secret}
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        custom = None if kind.startswith("anyrerank.") else id(type(self))  # a notebook may define the class again
        return self.prefix, kind, custom, connection.model, connection.api_base or self.default_base, headers, settings

    @property
    def key_required(self) -> bool:
        """Whether a call without a key is an error, at this base URL and for this model."""
        return self.needs_key

    @property
    def sends_key(self) -> bool:
        """Whether the key that was found is meant for this base URL."""
        return True

    @property
    def key_alternative(self) -> str:
        """What to do where a key is missing and not wanted, for the end of the error."""
        return ""

    @property
    def ranks_together(self) -> bool:
        """Whether this model's score for a document depends on the other documents of the request."""
        return self.listwise

    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        """What the scores of this model mean when it is called with these options."""
        return self.scale

    def cuts_documents(self, options: Mapping[str, Any]) -> bool:
        """Whether the provider applies `max_tokens_per_doc`; otherwise documents are cut before they are sent."""
        return "max_tokens_per_doc" in self.options

    @classmethod
    def reads_images(cls, model: str) -> bool:
        """Whether this model ranks a mapping with an `image`; True for a model that is not known."""
        return cls.images

    @classmethod
    def same_server(cls, model: str, other: str) -> bool:
        """Whether a fallback to another model of this provider uses the same key and base URL."""
        return True

    # How a call is split into requests

    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        """How many documents one request with these options may hold; `None` where no limit is known."""
        return self.documents_per_request

    def fetch_max_documents(self, count: int, options: Mapping[str, Any]) -> Flow[int | None]:
        """Like `max_documents`; may ask the server first when a call has `count` documents."""
        yield from ()
        return self.max_documents(options)

    def batch_starts(self, request: RerankRequest, size: int) -> Sequence[int]:
        """The index at which each batch begins: by default every `size` documents."""
        return range(0, len(request.documents), size)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check the values of options, when a reranker is made and before each request.

        Raises:
            BadRequestError: The provider does not take a value.
        """

    def unsupported_document(self, request: RerankRequest) -> tuple[int, str] | None:
        """Index of the first document that cannot be ranked, and the reason; checked before anything is sent."""
        return None

    # One request

    def flow(self, request: RerankRequest) -> Flow[Answer]:
        """Everything that one request takes: by default one exchange."""
        ready = yield from self.authorized()
        response = yield ready.build_request(request)
        return ready.read(request, response)

    def authorized(self) -> Flow[Self]:
        """This provider, with a token if one has to be fetched first."""
        yield from ()
        return self

    def build_request(self, request: RerankRequest) -> HttpRequest:
        """The HTTP request. The same request gives the same bytes."""
        body = {**self.body(request), **request.extra_body}
        try:
            content = encoded(body)
        except (TypeError, RecursionError):
            raise self.bad_request(f"the request cannot be encoded as JSON: {culprit(request)}") from None
        base = self.base if self.connection.api_base else ""
        url = base[:-1] if base.endswith("#") else self.url(request)
        return HttpRequest(method="POST", url=url, headers=self.headers(), content=content)

    def url(self, request: RerankRequest) -> str:
        """The URL of the request."""
        raise NotImplementedError

    def body(self, request: RerankRequest) -> dict[str, Any]:
        """The JSON of the request, without `extra_body`."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """The headers of the request. Those of the caller override the provider's own."""
        headers = {"accept": "application/json", "content-type": "application/json", **self.authorization()}
        for name, value in self.connection.headers.items():
            headers[name.lower()] = value
        return headers

    def authorization(self) -> dict[str, str]:
        """The headers that authenticate the request."""
        key = self.connection.api_key if self.sends_key else None
        return {"authorization": f"Bearer {key}"} if key else {}

    def read(self, request: RerankRequest, response: HttpResponse) -> Answer:
        """The answer in a response.

        Raises:
            RerankError: The status is not 2xx.
            APIResponseValidationError: The body is not an answer with as many results as were asked for.
        """
        if not 200 <= response.status < 300:
            raise self.error(request, response)
        try:
            body = parsed(response.content)
        except (ValueError, RecursionError):
            problem = f"the response is not JSON but {description_of(response)}"
            raise self.invalid_response(request, response, problem) from None
        try:
            answer = self.parse_body(body, request)
        except UnusableScoreError as error:
            raise self.invalid_response(request, response, str(error), advice=_NO_SCORES) from None
        except UnusableAnswerError as error:
            raise self.invalid_response(request, response, str(error)) from None
        except RerankError:
            raise
        except Exception as error:  # noqa: BLE001  a provider of a caller may raise anything
            raise self.invalid_response(request, response, _place_of(error)) from None
        count = len(request.documents)
        expected = min(request.top_n or count, count) if self.sends_top_n else count  # else the best may be missing
        if len(answer.scores) < expected:
            problem = f"{len(answer.scores)} results came back where {expected} were asked for"
            raise self.invalid_response(request, response, problem, advice="the server left some out")
        return Answer(
            scores=answer.scores,
            spans=answer.spans,
            id=answer.id if isinstance(answer.id, str) else None,
            meta=answer.meta,
            request_id=response.request_id or answer.request_id,
            status=response.status,
            cost=answer.cost,
        )

    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        """Scores, id and usage in the JSON of the response.

        Raises:
            UnusableAnswerError: It does not have the documented form. The message must not quote the request.
        """
        raise NotImplementedError

    def secrets(self) -> list[str]:
        """What no error may quote, the longest first."""
        return secrets_of(
            self.connection,
            settings=self.settings,
            key_headers=self.key_headers,
            authorization=self.authorization().values(),
        )

    @override
    def advice_for(self, kind: type[RerankError]) -> str:
        if kind is not AuthenticationError:
            return ""
        key, variable = self.connection.api_key, self.connection.key_variable
        if key and any(key in value for value in self.headers().values()):
            return f" (the key came from {variable})" if variable else ""
        signs = self.has_auth_header or any(setting.secret for setting in self.settings.values())
        variable = f" or set {self.key_variables[0]}" if self.key_variables else ""
        return "" if self.key_required or signs else f" (no key was sent: pass api_key={variable})"

    # The connection

    def check(self) -> None:
        """Check the connection before anything is sent.

        Raises:
            AuthenticationError: There is no key.
            ConfigurationError: Something else is missing or malformed.
        """
        if self.key_required and not self.connection.api_key and not self.has_auth_header:
            variables = (*self.key_variables, *self.key_file_variables)
            advice = f"pass api_key={_or_set(variables)}{self.key_alternative}"
            raise self.authentication_error(f"no API key for {self.title}: {advice}")
        _ = self.base

    @property
    def base(self) -> str:
        """The base URL.

        Raises:
            ConfigurationError: There is none, or it is not an http(s) URL.
        """
        base = self.connection.api_base or self.default_base
        if base and is_http_url(base):
            return base
        source = f" in {self.connection.base_variable}" if self.connection.base_variable else ""
        problem = f"{source} must be an http(s) URL such as https://host/v1" if base else " is missing"
        raise self.configuration_error(
            f"the base URL for {self.title}{problem}: pass api_base={_or_set(self.base_variables)}"
        )

    @property
    def has_auth_header(self) -> bool:
        """Whether the headers that were passed authenticate the request."""
        return any(name.lower() in self.key_headers for name in self.connection.headers)

    def select_setting(self, *names: str) -> str | None:
        """Which of several settings (or `api_key`) to use: the first one passed, else the first in the environment."""
        connection = self.connection
        values = {"api_key": connection.api_key, **connection.settings}
        from_environment = connection.from_environment | ({"api_key"} if connection.key_variable else set())
        found = [name for name in names if values.get(name)]
        return next((name for name in found if name not in from_environment), found[0] if found else None)

    def required_setting(self, name: str) -> str:
        """The value of a setting.

        Raises:
            ConfigurationError: It is neither passed nor in the environment.
        """
        value = self.connection.settings.get(name)
        if value:
            return str(value)
        raise self.configuration_error(
            f"{name} for {self.title} is missing: pass {name}={_or_set(self.settings[name].variables)}"
        )


def _place_of(error: Exception) -> str:
    """What failed and where. Its message may quote the answer, and so a document, and is left out."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"parse_body raised a {type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


_NO_SCORES = "the server computes no usable scores for this input"


def _or_set(variables: Sequence[str]) -> str:
    return f", or set {' or '.join(variables)}" if variables else ""
