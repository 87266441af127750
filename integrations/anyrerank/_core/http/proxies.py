"""The proxies in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from anyrerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Its URL, with user and password if it has them.
        variable: The environment variable that names it, or `None` for the settings of the system.
    """

    url: str = field(repr=False)
    variable: str | None

    def __str__(self) -> str:
        """Host and port, and where they come from, for errors."""
        address = urlsplit(self.url).netloc.rpartition("@")[2]
        return f"{address} ({self.variable or 'from the settings of the system'})"


class Proxies:
    """The proxy of each origin, looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, Proxy | None] = {}

    def of(self, url: str) -> Proxy | None:
        """The proxy for `url`, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; `None` for a direct connection.

        Raises:
            ConfigurationError: It is not a proxy address.
        """
        origin = url[: url.find("/", len("https://"))]
        if origin not in self._known:
            self._known[origin] = _proxy_of(url)
        return self._known[origin]


def _proxy_of(url: str) -> Proxy | None:
    parts, proxies = urlsplit(url), getproxies()
    if not proxies or proxy_bypass(parts.hostname or ""):
        return None
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(kind)
    if not proxy:
        return None
    return _checked(Proxy(proxy if "://" in proxy else f"http://{proxy}", _variable_of(kind)))


def _variable_of(kind: str) -> str | None:
    """The environment variable that is read, as in `getproxies`: the one in lower case wins."""
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), None)


def _checked(proxy: Proxy) -> Proxy:
    try:
        _ = urlsplit(proxy.url).port
    except ValueError:
        raise ConfigurationError(
            "a proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) must be an address such as "
            "http://proxy:3128"
        ) from None
    return proxy
