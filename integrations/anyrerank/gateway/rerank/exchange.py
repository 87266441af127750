"""One request for a reranking, from its headers to its answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from anyrerank._core.client import BaseReranker, fallbacks_before, scales_of, supported_options
from anyrerank._core.routing import NamedGuardrail
from anyrerank._core.types import RerankResponse, Scale
from anyrerank.errors import RerankError
from anyrerank.gateway.body import ClientGoneError, encoded, header, json_object
from anyrerank.gateway.dialects import Dialect, Fields, ParsedRequest, as_seconds, recognised
from anyrerank.gateway.errors import STATUSES, GatewayError, bad_request, gateway_error, internal_error, log_messages
from anyrerank.gateway.rerank.admission import Admission, Hold
from anyrerank.gateway.rerank.answers import ranked
from anyrerank.gateway.rerank.caller import Caller, Grant
from anyrerank.gateway.rerank.dry_run import dry_run, is_dry_run
from anyrerank.gateway.rerank.end_user import checked_end_user
from anyrerank.gateway.rerank.read_only_cache import ReadOnlyCache
from anyrerank.gateway.rerank.service import Service, check_scales, options_of_call
from anyrerank.gateway.rerank.warn_once import WarnOnce
from anyrerank.gateway.settings import GatewaySettings

T = TypeVar("T")

_LARGE = 2**16
"""Bytes of an answer for which the server does not wait until the client has read them."""

_END_USER_HEADERS = (b"x-litellm-end-user-id", b"x-litellm-customer-id", b"x-openwebui-user-id")


class Host(Protocol):
    """What a request needs of the gateway."""

    service: Service
    admission: Admission

    def ended(self, exchange: Exchange) -> None:
        """Gets each request when it was answered."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request and what became of it.

    Attributes:
        route: The path as it is served, such as `/tei/{model}/rerank`.
        dialect: In which the client speaks, as far as that is known.
        request_id: The client's id of the request, or one that was made for it.
        started: Start on the monotonic clock.
        caller: Who asked, once that is known.
        user: The end user, if there is one.
        model: The name of the model in the gateway, once that is known.
        asked: The request, once it was read.
        response: The router's response.
        error: The router's error.
        status: HTTP status of the answer.
        kind: The kind of the problem, if there was one.
        seconds: From the first byte of the headers that was handled to the answer.
        upstream: Seconds of these that the router needed.
        fallbacks: How many models were asked in vain before the one that answered.
        dropped: Options of the request that the deployment which answered does not have.
        guardrails: Names of the guardrails of the call.
        headers: Further headers of the answer.
    """

    route: str
    dialect: Dialect
    request_id: str
    started: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    user: str | None = None
    model: str | None = None
    asked: ParsedRequest | None = None
    response: RerankResponse | None = None
    error: RerankError | None = None
    status: int = 500
    kind: str | None = None
    seconds: float = 0.0
    upstream: float = 0.0
    fallbacks: int = 0
    dropped: tuple[str, ...] = ()
    guardrails: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class RerankEndpoint:
    """Answers requests for a reranking on one path, as an ASGI application.

    Args:
        host: The gateway.
        route: The path.
        dialect: The dialect of the path.
        shared: Whether the body may show that it is in another one.
    """

    def __init__(self, host: Host, route: str, dialect: Dialect, *, shared: bool) -> None:
        self._host = host
        self._route = route
        self._dialect = dialect
        self._shared = shared
        self._warnings = WarnOnce()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. It keeps its place until its client has read the answer."""
        async with AsyncExitStack() as held:
            await self._answer(scope, receive, send, held)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, held: AsyncExitStack) -> None:
        exchange = Exchange(route=self._route, dialect=self._dialect, request_id=request_id_of(scope))
        headers: Mapping[str, str]
        try:
            body = await self._answered(exchange, scope, receive, held)
            headers = _headers(exchange)
            exchange.status = 200
        except GatewayError as error:
            body, headers = refused(exchange, error)
        except ClientGoneError:
            exchange.status, exchange.kind = 499, "client_closed_request"
            body, headers = b"", {}
        except asyncio.CancelledError:  # the server stops, and the call has had its time
            stopped = GatewayError(kind="unavailable", message="the gateway is shutting down", retry_after=1)
            body, headers = refused(exchange, stopped)
        except Exception as error:  # noqa: BLE001  a fault of ours must not end the connection without an answer
            body, headers = refused(exchange, internal_error(error, exchange.request_id))
        exchange.seconds = time.perf_counter() - exchange.started
        self._host.ended(exchange)
        if exchange.status != 499:
            await respond(send, exchange.status, body, {"x-request-id": exchange.request_id, **headers})

    async def _answered(self, exchange: Exchange, scope: Scope, receive: Receive, held: AsyncExitStack) -> bytes:
        service = self._host.service
        exchange.caller = caller = service.access.caller(scope)
        # The key first: a caller without one, or at its limit, must not take a place.
        await held.enter_async_context(caller.present())
        hold = await held.enter_async_context(self._host.admission.place())
        exchange.asked = asked = await self._read(exchange, scope, receive, hold, service.settings)
        exchange.model, reranker = service.model(asked.model, caller, asked.other_names, asked.fallbacks)
        options = _options(asked, scope, caller, service, scales_of(reranker))
        exchange.user = options.get("user")
        guardrails = service.guardrails_for((*caller.guardrails, *asked.guardrails))
        exchange.guardrails = tuple(each.name for each in guardrails if isinstance(each, NamedGuardrail))
        if len(guardrails) > len(service.router.options.guardrails):
            options["guardrails"] = guardrails
        async with caller.admitted(asked, options, reranker.options) as grant:
            if is_dry_run(scope):
                return await self._estimated(service, exchange.model, reranker, asked, options)
            call = reranker.arerank(asked.query, asked.documents, return_documents=False, **grant.options)
            response = await self._response(exchange, call, receive, grant)
        exchange.fallbacks = fallbacks_before(reranker, response)
        supported = supported_options(reranker, asked.options, response.provider)
        exchange.dropped = tuple(sorted(asked.options.keys() - supported))
        self._warnings.ignored(exchange.dialect.name, asked.ignored)
        self._warnings.dropped(f"{response.provider}/{response.model}", exchange.dropped)
        answer = ranked(response, asked.documents, model=exchange.model, request_id=exchange.request_id)
        return encoded(exchange.dialect.answer(asked, answer))

    async def _read(
        self, exchange: Exchange, scope: Scope, receive: Receive, hold: Hold, settings: GatewaySettings
    ) -> ParsedRequest:
        """The request in the body, in the words of the dialect that it is in."""
        limit = int(settings.max_body_mb * 2**20)
        body = await json_object(scope, receive, max_bytes=limit, seconds=settings.body_seconds, hold=hold)
        if self._shared:
            exchange.dialect = recognised(body, self._dialect)
        fields = Fields(body)
        guardrails = fields.guardrails()
        asked = exchange.dialect.read(fields, scope.get("path_params", {}))
        if len(asked.documents) > settings.max_documents:
            raise GatewayError(
                kind="too_large",
                message=f"a request may have {settings.max_documents:,} documents, got {len(asked.documents):,}",
                param="documents",
            )
        return replace(asked, guardrails=guardrails) if guardrails else asked

    async def _response(
        self, exchange: Exchange, call: Coroutine[Any, Any, RerankResponse], receive: Receive, grant: Grant
    ) -> RerankResponse:
        """What the router answers; a client that goes away ends the call."""
        began = time.perf_counter()
        try:
            exchange.response = response = await unless_gone(call, receive)
            grant.settle(response)
        except RerankError as error:
            exchange.error = error
            log_messages(error, f"request {exchange.request_id}")
            raise gateway_error(error) from None
        finally:
            exchange.upstream = time.perf_counter() - began
            exchange.headers = grant.headers()
        return response

    async def _estimated(
        self, service: Service, model: str, reranker: BaseReranker, asked: ParsedRequest, options: Mapping[str, Any]
    ) -> bytes:
        try:
            return encoded(await dry_run(service, model, reranker, asked, options))
        except RerankError as error:
            raise gateway_error(error) from None


def _text_in_header(scope: Scope, name: bytes) -> str | None:
    """The text of a header, so that a name means the same there and in a body."""
    text = header(scope, name)
    try:
        return None if text is None else text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _timeout(scope: Scope) -> dict[str, float]:
    """The timeout in LiteLLM's header.

    Raises:
        GatewayError: It is not a number of seconds.
    """
    given = header(scope, b"x-litellm-timeout")
    if given is None:
        return {}
    try:
        seconds = as_seconds(float(given))
    except ValueError:
        seconds = None
    if seconds is None:
        raise bad_request("the header x-litellm-timeout must be a positive number of seconds")
    return {"timeout": seconds}


def request_id_of(scope: Scope) -> str:
    """The id that the client gave its request if it is printable and not too long, otherwise a new one."""
    given = header(scope, b"x-request-id") or header(scope, b"x-litellm-call-id")
    if given and len(given) <= 128 and given.isascii() and given.isprintable():
        return given
    return uuid.uuid4().hex


async def unless_gone(call: Coroutine[Any, Any, T], receive: Receive) -> T:
    """The result of `call`, which is cancelled when the client goes away.

    Raises:
        ClientGoneError: It did.
    """
    work = asyncio.ensure_future(call)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientGoneError
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _options(
    asked: ParsedRequest, scope: Scope, caller: Caller, service: Service, scales: Collection[Scale]
) -> dict[str, Any]:
    """The options of the call.

    Raises:
        GatewayError: The scales of the models differ, and the settings refuse that; or the end user has a wrong name.
    """
    check_scales(scales, service.settings)
    options = {**asked.options, **options_of_call(service, {**_timeout(scope), **asked.settings})}
    if asked.top_n is not None:
        options["top_n"] = asked.top_n
    user = (
        caller.user
        or asked.user
        or next(filter(None, (_text_in_header(scope, name) for name in _END_USER_HEADERS)), None)
    )
    if user is not None:
        options["user"] = checked_end_user(user, "user")
    if "unknown" not in scales and (asked.unit_scores or len(scales) > 1):
        options["score_mode"] = "unit"
    if service.isolation is not None and "cache" not in options:
        options["cache"] = service.isolation.of(caller.owner)
    cache = options.get("cache", service.router.options.cache)
    if asked.no_store and cache is not None:
        options["cache"] = ReadOnlyCache(cache)
    return options


def _headers(exchange: Exchange) -> Mapping[str, str]:
    """The headers of an answer."""
    response = exchange.response
    if response is None:
        return exchange.headers
    headers = {
        **exchange.headers,
        "x-litellm-call-id": exchange.request_id,
        "x-anyrerank-deployment": f"{response.provider}/{response.model}",
        "x-anyrerank-score-mode": response.score_scale,
        "x-litellm-attempted-fallbacks": str(exchange.fallbacks),
        "x-litellm-attempted-retries": str(sum(each.error is not None for each in response.attempts)),
        "x-litellm-model-group": _header_value((exchange.model or "",)),
    }
    if response.model_id is not None:
        headers["x-litellm-model-id"] = _header_value((response.model_id,))
    if response.cost is not None:
        headers["x-anyrerank-cost"] = headers["x-litellm-response-cost"] = f"{response.cost:.12g}"
    if response.cost_estimated:
        headers["x-anyrerank-estimated"] = "true"
    if response.cached:
        headers["x-anyrerank-cache"] = f"{response.cached} of {len(exchange.asked.documents) if exchange.asked else 0}"
    if response.degraded:
        headers["x-anyrerank-degraded"] = "true"
    if exchange.asked is not None and exchange.asked.ignored:
        headers["x-anyrerank-ignored"] = _header_value(exchange.asked.ignored)
    if exchange.guardrails:
        headers["x-litellm-applied-guardrails"] = _header_value(exchange.guardrails, ",")
    if exchange.dropped:
        headers["x-anyrerank-dropped"] = _header_value(exchange.dropped)
    return headers


def _header_value(names: tuple[str, ...], separator: str = ", ") -> str:
    """Names in a header, without those that a header cannot hold."""
    return separator.join(name for name in names if name.isascii() and name.isprintable())[:500]


def refused(exchange: Exchange, error: GatewayError) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers of an answer that says what is wrong."""
    dialect = exchange.dialect
    exchange.kind = error.kind
    exchange.status = status = dialect.statuses.get(error.kind, STATUSES[error.kind])
    return encoded(dialect.error(error, status, exchange.request_id)), {**exchange.headers, **error.all_headers()}


async def respond(
    send: Send, status: int, body: bytes, headers: Mapping[str, str], content_type: str = "application/json"
) -> None:
    """Send an answer."""
    lines = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    lines += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    if len(body) > _LARGE:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""  # which is sent when most of the answer was read
    await send({"type": "http.response.body", "body": body})


Listener = Callable[[Exchange], None]
"""Gets each request when it was answered, for metrics and logs."""
