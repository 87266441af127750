"""The switch that keeps tests from sending requests: `anyrerank.testing.forbid_network`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError


@public("anyrerank.testing")
class NetworkForbiddenError(ConfigurationError):
    """A request would have left the process while `anyrerank.testing.forbid_network` was in force; nothing was sent.

    No retry, fallback or `on_error="passthrough"` hides it.
    """

    _against_the_call = True


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


def check_allowed(url: str, client: httpx.Client | httpx.AsyncClient | None) -> None:
    """Raise if a request to `url` through `client` (`None` for our own) is forbidden."""
    rules = tuple(_in_force)
    if not rules or _stays_inside(client) or (all(rules) and _is_loopback(url)):
        return
    raise NetworkForbiddenError(
        "a request was stopped by anyrerank.testing.forbid_network: use anyrerank.testing.fake_provider, or a "
        "StubServer with forbid_network(allow_loopback=True)",
        url=url,
    )


def _stays_inside(client: httpx.Client | httpx.AsyncClient | None) -> bool:
    """Whether `client` sends nothing; httpx has no public name for the transport, so one that is not found is real."""
    inside = httpx.MockTransport | httpx.ASGITransport | httpx.WSGITransport
    return isinstance(getattr(client, "_transport", None), inside)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
