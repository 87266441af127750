"""What every provider is: pure functions from a request to bytes and from bytes to scores.

A provider reads no environment, opens no socket and keeps nothing between calls. It is made from a `Connection`, which
`anyrerank.config` fills in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

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
from anyrerank.schema import BilledUnits, Document, Meta, RerankRequest, Tokens
from anyrerank.wire import HttpRequest, HttpResponse

Scale: TypeAlias = Literal["unit", "logit", "unknown"]
"""What a score means: calibrated to 0..1, a logit, or nothing that can be mapped to 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a provider is and how to get in. The key is never part of a `repr`."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider made of one request: (index, score) pairs, each index at most once, every score finite."""

    scores: Sequence[tuple[int, float]]
    id: str | None = None
    meta: Meta = Meta()
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
            self.reject(response, f"the answer is not JSON, it starts with {_kind(response)}")
        try:
            answer = self.parse_body(body, request)
        except _Unusable as problem:
            self.reject(response, str(problem))
        expected = min(request.top_n or len(request.documents), len(request.documents))
        if len(answer.scores) < expected:
            self.reject(response, f"{len(answer.scores)} results came back where {expected} were asked for")
        return replace(answer, request_id=response.request_id or answer.request_id, status=response.status)

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
        )

    def error(self, request: RerankRequest, response: HttpResponse) -> RerankError:
        """The error that an answer with a status outside 200..299 stands for."""
        body = _json_or_none(response.content)
        if response.status < 400:
            text = f"redirected to {_host(response.headers.get('location', ''))}; redirects are not followed, so that the key stays with the host it is for: set api_base to the final address"
        else:
            text = redact(message_in(body, response.content), self.connection, request) or "no message"
        return self.error_class(response.status, body)(
            f"{self.title} answered {response.status}: {text}",
            provider=self.prefix,
            model=self.connection.model,
            status_code=response.status,
            request_id=response.request_id or _request_id_in(body),
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
        if self.key_required and not self.connection.api_key:
            raise AuthenticationError(
                f"no API key for {self.title}: pass api_key=, or set {' or '.join(self.key_variables)}",
                provider=self.prefix,
                model=self.connection.model,
            )
        require_base(self)


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


class _Unusable(Exception):
    """The answer does not have the shape that it should have."""


def _as_dict(value: Any) -> dict[str, Any]:
    """A mapping that is no dict, for the JSON encoder."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def dig(body: Any, *path: str) -> Any:
    """The value at `path` in nested mappings, or `None`."""
    for key in path:
        if not isinstance(body, Mapping):
            return None
        body = body.get(key)
    return body


def ranked(body: Any, request: RerankRequest, *, rows: str, score: str) -> list[tuple[int, float]]:
    """The (index, score) pairs in `body[rows]`, checked one by one.

    Args:
        rows: Key of the list of results.
        score: Key of the score in a result.

    Raises:
        An error that `Provider.read` turns into `APIResponseValidationError`: for an index that is out of range,
        negative, repeated or not an integer, and for a score that is missing, not a number, NaN or infinite.
    """
    items = body.get(rows) if isinstance(body, dict) else None
    if not isinstance(items, list):
        raise _Unusable(f"the answer has no list '{rows}'")
    count = len(request.documents)
    if not items:
        return []
    try:
        pairs = list(map(itemgetter("index", score), items))
        indexes, values = zip(*pairs, strict=True)
        kinds = set(map(type, values))
        sound = (
            set(map(type, indexes)) == _INTEGER
            and kinds <= _NUMBERS
            and len(set(indexes)) == len(indexes)
            and min(indexes) >= 0
            and max(indexes) < count
            and all(map(math.isfinite, values))
        )
    except (KeyError, TypeError, IndexError, OverflowError):
        sound = False
    if not sound:
        raise _Unusable(_fault(items, count, rows, score))
    return pairs if kinds == _FLOAT else [(index, float(value)) for index, value in pairs]


_INTEGER, _FLOAT, _NUMBERS = frozenset({int}), frozenset({float}), frozenset({int, float})


def _fault(items: Sequence[Any], count: int, rows: str, score: str) -> str:
    """What is wrong with a list of results: the first result that is not what it should be."""
    seen: set[int] = set()
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            return f"{rows}[{place}] is not an object"
        index, value = item.get("index"), item.get(score)
        if type(index) is not int or not 0 <= index < count:
            return f"{rows}[{place}].index is not an integer from 0 to {count - 1}"
        if index in seen:
            return f"{rows}[{place}].index repeats {index}"
        seen.add(index)
        try:
            finite(value, f"{rows}[{place}].{score}")
        except _Unusable as problem:
            return str(problem)
    return f"'{rows}' cannot be read"


def finite(value: Any, name: str) -> float:
    """`value` as a float, if it is a finite number and not a bool."""
    if type(value) is not float and type(value) is not int:
        raise _Unusable(f"{name} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Unusable(f"{name} is not finite")
    return number


def number(value: Any) -> int | float | None:
    """A count that the provider gave, or `None`: never a made-up 0."""
    usable = type(value) in (int, float) and 0 <= value < math.inf
    return value if usable else None


def usage(
    *,
    search_units: Any = None,
    total_tokens: Any = None,
    input_tokens: Any = None,
    output_tokens: Any = None,
    api_version: Any = None,
    warnings: Any = None,
) -> Meta:
    """`Meta` of what is there and is what it should be; anything else is left out."""
    billed = {"search_units": number(search_units), "total_tokens": number(total_tokens)}
    tokens = {"input_tokens": number(input_tokens), "output_tokens": number(output_tokens)}
    return Meta(
        billed_units=BilledUnits(**billed) if any(v is not None for v in billed.values()) else None,
        tokens=Tokens(**tokens) if any(v is not None for v in tokens.values()) else None,
        api_version=api_version if isinstance(api_version, Mapping) else None,
        warnings=tuple(w for w in warnings if isinstance(w, str)) if isinstance(warnings, list) else (),
    )


def text_of(document: Document, rank_fields: Sequence[str] | None) -> str:
    """What a string-only model reads of a document: the string, its `text`, or `key: value` lines of `rank_fields`."""
    if isinstance(document, str):
        return document
    if rank_fields:
        return "".join(f"{name}: {document[name]}\n" for name in rank_fields if document.get(name) is not None)
    text: str = document["text"]
    return text


def texts_of(request: RerankRequest) -> Sequence[str]:
    """`text_of` every document; strings alone are handed on without a copy."""
    if set(map(type, request.documents)) == {str}:
        return cast("Sequence[str]", request.documents)
    return [text_of(document, request.rank_fields) for document in request.documents]


@lru_cache(maxsize=1024)
def endpoint(base: str, operation: str = "rerank", *, root: str = "/v1") -> str:
    """The full URL of `operation` under `base`: no segment twice, no path prefix or query string lost.

    Args:
        base: With or without trailing slashes. Used as it is when it ends in `operation`; only the operation is
            appended when it ends in a version such as `/v1`.
        root: Goes before the operation otherwise.
    """
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if not path.endswith(f"/{operation}"):
        path += f"/{operation}" if _VERSION.search(path) else f"{root}/{operation}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


_VERSION = re.compile(r"/v\d+$")


def require_base(provider: Provider) -> str:
    """The base URL of `provider`, checked to be one."""
    base = provider.connection.api_base or provider.default_base
    where = f"pass api_base= or set {' or '.join(provider.base_variables)}"
    problem = None
    if not base:
        problem = f"no base URL for {provider.title}: {where}"
    elif not _is_http_url(base):
        problem = f"the base URL for {provider.title} is not an http(s) address such as https://host/v1: {where}"
    if problem or not base:
        raise ConfigurationError(str(problem), provider=provider.prefix, model=provider.connection.model)
    return base


def whole_option(provider: Provider, options: Mapping[str, Any], name: str, *, at_least: int) -> int | None:
    """The option `name` as an integer of `at_least` or more, or `None` when it is not given."""
    value = options.get(name)
    if value is None or (type(value) is int and value >= at_least):
        return value
    raise BadRequestError(
        f"{name} is an integer of at least {at_least}", provider=provider.prefix, model=provider.connection.model
    )


@lru_cache(maxsize=1024)
def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def message_in(body: Any, content: bytes) -> str:
    """The provider's own words in an error body, whatever its shape; of validation lists only place and message."""
    for path in (("error", "message"), ("error",), ("detail", "error"), ("detail",), ("errors",), ("message",), ("Message",), ("title",)):
        found = dig(body, *path)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if isinstance(found, list) and found:
            return "; ".join(_validation_line(item) for item in found[:5])
    return " ".join(content[:1200].decode("utf-8", "replace").split())[:300]


def _validation_line(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)[:200]
    place = item.get("loc")
    prefix = f"{'.'.join(map(str, place))}: " if isinstance(place, list) else ""
    return f"{prefix}{item.get('msg') or item.get('message') or 'refused'}"


REDACTED = "[...]"


def redact(message: str, connection: Connection, request: RerankRequest) -> str:
    """`message` (at most 300 characters of it) without the key, and without anything of the query and documents.

    Servers quote their input in errors. A run of words is taken for a quotation when it is the whole query or document,
    or when 24 characters of it in a row are.
    """
    message = message[:400]
    secrets = [connection.api_key, *connection.headers.values()]
    for secret in secrets:
        if secret and len(secret) > 3:
            message = message.replace(secret, REDACTED)
    texts = [request.query, *(_all_text(document) for document in request.documents)]
    for text in texts:
        if len(text) > 3 and text in message:
            message = message.replace(text, REDACTED)
    haystack = "\0".join(texts)
    quoted = bytearray(len(message))
    for start in range(len(message) - 23):
        if message[start : start + 24] in haystack:
            quoted[start : start + 24] = b"\1" * 24
    kept = "".join("\0" if mark else letter for letter, mark in zip(message, quoted, strict=True))
    return REDACTED.join(part for part in _split_runs(kept))[:300]


def _split_runs(text: str) -> list[str]:
    parts, inside = [""], False
    for letter in text:
        if letter != "\0":
            parts[-1] += letter
        elif not inside:
            parts.append("")
        inside = letter == "\0"
    return parts


def _all_text(document: Document) -> str:
    return document if isinstance(document, str) else "\0".join(str(value) for value in document.values())


def _json_or_none(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def _request_id_in(body: Any) -> str | None:
    for name in ("requestId", "request_id", "id"):
        found = dig(body, name)
        if isinstance(found, str) and found:
            return found
    return None


def _kind(response: HttpResponse) -> str:
    start = response.content[:64].lstrip().lower()
    if not response.content:
        return "nothing: the body is empty"
    if start.startswith(b"<"):
        return "'<': an HTML page"
    return f"neither '{{' nor valid JSON ({len(response.content)} bytes of {response.headers.get('content-type', 'unknown type')})"


def _host(location: str) -> str:
    return urlsplit(location).netloc.rpartition("@")[2] or "the same host"
