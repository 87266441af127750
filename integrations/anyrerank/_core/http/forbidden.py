"""The switch that keeps tests from sending requests: `anyrerank.testing.forbid_network`."""

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

    It is a mistake of a test and no `RerankError`, so neither a fallback nor `on_error="passthrough"` nor an
    `except RerankError` hides it.
    """


_LOCK = threading.Lock()
_in_force: list[bool] = []
"""Whether each block that is open allows loopback."""


@contextmanager
def forbid_network(*, allow_loopback: bool = False) -> Iterator[None]:
    """Raise `NetworkForbiddenError` for every request to a provider that would leave the process. Also a decorator.

    It holds for the whole process, all threads and event loops included, since a request may be sent by a thread that
    knows nothing of the test. Where blocks are nested, or open in several threads, the strictest one counts.

    An `http_client` with an `httpx.MockTransport`, `ASGITransport` or `WSGITransport` sends nothing and is let through;
    so are providers that run on this machine. The credential libraries of Azure, AWS and Google, and downloads of
    models, do not send through anyrerank and are not stopped.

    Args:
        allow_loopback: Let requests to this machine through, such as those to a `StubServer`.
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
    """Raise if a request to `url` is forbidden; `client` is the user's, and is what sends if it is of this `kind`."""
    rules = tuple(_in_force)
    if not rules or (isinstance(client, kind) and _stays_inside(client)) or (all(rules) and _is_loopback(url)):
        return
    raise NetworkForbiddenError(
        f"a request to {urlsplit(url).hostname} was stopped by anyrerank.testing.forbid_network: use "
        "anyrerank.testing.fake_provider, or a StubServer with forbid_network(allow_loopback=True)"
    )


def _stays_inside(client: httpx.Client | httpx.AsyncClient) -> bool:
    """Whether `client` sends nothing; httpx has no public name for the transport, so one that is not found is real."""
    inside = httpx.MockTransport | httpx.ASGITransport | httpx.WSGITransport
    return isinstance(getattr(client, "_transport", None), inside)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
