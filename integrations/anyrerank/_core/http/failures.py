"""Translation of the HTTP libraries' exceptions. Their messages may contain URLs or headers, so few are repeated."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Mapping
from contextlib import suppress

import httpcore
import httpx

from anyrerank._core.http.proxies import Proxy
from anyrerank._core.http.settings import CONNECT_SECONDS
from anyrerank._core.runtime import Deadline, HttpRequest, timed_out
from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    ConfigurationError,
    RerankError,
)

_CLOSED = frozenset(
    {"Cannot send a request, as the client has been closed.", "Session is closed", "Event loop is closed"}
)
"""The messages of `RuntimeError`s of httpx, aiohttp and asyncio."""

_TIMEOUTS = (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError, asyncio.TimeoutError)
_CONNECTIONS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)
_TOLERANCE = 0.05
"""Seconds by which a timeout may come before the deadline from which it was computed."""


PROXY_LOGIN = 407
"""The status of a proxy that asks for a login."""


def translated(error: Exception, request: HttpRequest, deadline: Deadline, proxy: Proxy | None = None) -> Exception:
    """Our error for one of an HTTP library, for a request (through `proxy`); any other error unchanged."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, RuntimeError):
        return _of_event_loop(error, request)
    if isinstance(error, _TIMEOUTS):
        return _timeout_error(error, request, deadline, proxy)
    if isinstance(error, httpx.DecodingError) or type(error.__cause__).__name__ == "ContentEncodingError":
        return APIResponseValidationError("the response cannot be decompressed", url=request.url)
    if isinstance(error, _CONNECTIONS) or type(error).__module__.startswith("aiohttp."):
        return _connection_error(error, request, proxy)
    return error


def _connection_error(error: Exception, request: HttpRequest, proxy: Proxy | None) -> APIConnectionError:
    reason = _reason(error)
    if proxy is None:
        message = f"the connection failed: {reason}{_advice(reason, request)}"
    elif type(error).__name__ in _PROXY_REFUSALS:
        return refused_by(proxy, _status_of(error), request)
    elif _UNREACHABLE.search(reason):
        message = f"the proxy {proxy} cannot be reached: {reason}; check its address, or add the server to NO_PROXY"
    else:
        message = f"the connection through the proxy {proxy} failed: {reason}{_advice(reason, request)}"
    return APIConnectionError(message, url=request.url)


def refused_by(proxy: Proxy, status: int | None, request: HttpRequest) -> APIConnectionError:
    """The error for a proxy that does not let a request through."""
    advice = "check that it lets connections to this server through, or add the server to NO_PROXY"
    if status == PROXY_LOGIN:
        advice = "write user and password into its URL, as in http://user:password@proxy:3128"
    answered = "" if status is None else f": it answered {status}"
    message = f"the proxy {proxy} refused the connection{answered}; {advice}"
    return APIConnectionError(message, url=request.url, status_code=status)  # which decides whether it is retried


def _status_of(error: Exception) -> int | None:
    """The status with which a proxy refused a tunnel: an attribute in aiohttp, the start of the text in httpcore."""
    status = getattr(error, "status", None)
    found = re.match(r"\d{3}\b", str(error))
    return status if isinstance(status, int) else int(found[0]) if found else None


def _of_event_loop(error: RuntimeError, request: HttpRequest) -> Exception:
    if str(error) in _CLOSED:
        return APIConnectionError("the connection failed: it was closed during the request", url=request.url)
    if str(error) == "no running event loop":
        return ConfigurationError(
            "asynchronous calls need asyncio: under trio, call the synchronous method in a thread"
        )
    return error


def _timeout_error(error: Exception, request: HttpRequest, deadline: Deadline, proxy: Proxy | None) -> APITimeoutError:
    if deadline.allows(_TOLERANCE):
        through = "" if proxy is None else f", through the proxy {proxy}"
        return APITimeoutError(f"timed out: {_exceeded_limit(error)}{through}", url=request.url)
    return timed_out(deadline, "no complete response was received", request.url)


_LIMITS: Mapping[type[Exception], tuple[str, str]] = {
    httpx.ReadTimeout: ("read", "no data was received for {:g} s, the read timeout of http_client"),
    httpx.WriteTimeout: ("write", "no data could be sent for {:g} s, the write timeout of http_client"),
    httpx.PoolTimeout: ("pool", "http_client had no free connection for {:g} s, its pool timeout"),
}
"""For each timeout of a user's client: its name in httpx, and our message."""


def _exceeded_limit(error: Exception) -> str:
    """The message for a limit that ended a request before its deadline."""
    name, text = _LIMITS.get(type(error), ("connect", "no connection within {:g} s"))
    seconds = None
    if isinstance(error, httpx.TimeoutException):
        with suppress(RuntimeError):  # httpx raises it for an error without a request
            seconds = error.request.extensions.get("timeout", {}).get(name)
    return text.format(CONNECT_SECONDS if seconds is None else seconds)


_UNREACHABLE = re.compile("refused|connection attempts failed|unreachable|[Nn]ame|getaddrinfo|address associated")
_ADVICE = (
    (re.compile("refused|connection attempts failed"), "check that a server runs at this address"),
    (re.compile("mismatch"), "use a host in the URL that the certificate names"),
    (re.compile("expired"), "the server needs a new certificate"),
    (re.compile("certificate", re.IGNORECASE), "pass ssl_verify= with the file of its certificate authority"),
    (re.compile("WRONG_VERSION_NUMBER"), "the server may speak http, not https"),
    (re.compile("[Nn]ame|getaddrinfo|address associated"), "check the host in api_base"),
)
"""What to do, by a word in the reason."""


def _advice(reason: str, request: HttpRequest) -> str:
    if reason in (_NO_ANSWER, _NOT_HTTP) and request.url.startswith("http://"):
        return "; if the server speaks https, write https:// in its URL"
    return next((f"; {advice}" for word, advice in _ADVICE if word.search(reason)), "")


_NO_ANSWER = "the server closed the connection before it had answered"
_NOT_HTTP = "the answer is not valid HTTP"
_REASONS: Mapping[str, str] = {
    "ClientConnectionResetError": _NO_ANSWER,
    "ClientPayloadError": _NO_ANSWER,
    "ClientResponseError": _NOT_HTTP,
    "ReadError": _NO_ANSWER,
    "ServerDisconnectedError": _NO_ANSWER,
    "WriteError": _NO_ANSWER,
}
"""What the errors of httpx, httpcore and aiohttp mean, by the names of their classes."""
_PROXY_REFUSALS = frozenset({"ClientHttpProxyError", "ProxyError"})
"""Errors of a proxy that does not open a tunnel."""
_DISCONNECTED = ("Server disconnected", "peer closed connection")
"""How the text of a `RemoteProtocolError` starts, unless the answer is malformed."""
_RESET = frozenset({errno.ECONNRESET, errno.EPIPE})


def _reason(error: Exception) -> str:
    """The reason, in the same words for all libraries, unless it may contain a URL or a header."""
    name = type(error).__name__
    if name in _PROXY_REFUSALS:
        return "the proxy refused the connection"
    if name == "RemoteProtocolError":
        return _NO_ANSWER if str(error).startswith(_DISCONNECTED) else _NOT_HTTP
    if name in _REASONS:
        return _REASONS[name]
    if isinstance(error, httpx.ConnectError | httpcore.ConnectError):
        return str(error) or name
    found = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)  # where aiohttp keeps it
    return _reason_of_system(found) if isinstance(found, OSError) else name


def _reason_of_system(error: OSError) -> str:
    reset = isinstance(error, ConnectionResetError) and error.errno is None  # while TLS is set up
    if reset or error.errno in _RESET:
        return _NO_ANSWER
    if isinstance(error, ConnectionError) and error.errno is not None:
        return f"[Errno {error.errno}] {os.strerror(error.errno)}"  # asyncio's own text is the address
    return (error.errno is not None and error.strerror) or type(error).__name__
