"""`anyrerank.testing.forbid_network`: an error for every request that would leave the process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from anyrerank._core.types import public


@public("anyrerank.testing")
class NetworkForbiddenError(RuntimeError):
    """A request would have left the process while `anyrerank.testing.forbid_network` was in force; nothing was sent.

    It is a mistake in a test and not a `RerankError`, so a fallback, `on_error="passthrough"` or `except RerankError`
    does not hide it.
    """


_LOCK = threading.Lock()
_in_force: list[bool] = []
"""Whether each block that is open allows loopback."""


@contextmanager
def forbid_network(*, allow_loopback: bool = False) -> Iterator[None]:
    """Raise `NetworkForbiddenError` for every request to a provider that would leave the process. Also a decorator.

    It applies to the whole process, with all threads and event loops. If blocks are nested, or open in several threads,
    the strictest one applies.

    An `http_client` with an `httpx.MockTransport`, `ASGITransport` or `WSGITransport` sends nothing and is allowed, and
    so are providers that run on this machine. The credential libraries of Azure, AWS and Google, and downloads of
    models, do not send through anyrerank and are not stopped.

    Args:
        allow_loopback: Allow requests to this machine, such as those to a `StubServer`.
    """
    with _LOCK:
        _in_force.append(allow_loopback)
    try:
        yield
    finally:
        with _LOCK:
            _in_force.remove(allow_loopback)


def check_allowed(
    url: str,
    client: httpx.Client | httpx.AsyncClient | None,
    kind: type[httpx.Client | httpx.AsyncClient],
) -> None:
    """Raise if a request to `url` is forbidden. A user's `client` of this `kind` would send it."""
    rules = tuple(_in_force)
    if not rules or (isinstance(client, kind) and _stays_inside(client)) or (all(rules) and _is_loopback(url)):
        return
    raise NetworkForbiddenError(
        f"a request to {urlsplit(url).hostname} was stopped by anyrerank.testing.forbid_network: use "
        "anyrerank.testing.fake_provider, or a StubServer with forbid_network(allow_loopback=True)"
    )


def _stays_inside(client: httpx.Client | httpx.AsyncClient) -> bool:
    """Whether `client` sends nothing. Its transport has no public name in httpx; without it, `client` is forbidden."""
    inside = httpx.MockTransport | httpx.ASGITransport | httpx.WSGITransport
    return isinstance(getattr(client, "_transport", None), inside)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
