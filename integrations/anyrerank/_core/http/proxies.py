"""The proxies in the environment."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from anyrerank.errors import ConfigurationError


class Proxies:
    """The proxy of each origin, looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def of(self, url: str) -> str | None:
        """The proxy for `url`, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; `None` for a direct connection.

        Raises:
            ConfigurationError: It is not a proxy address.
        """
        origin = url[: url.find("/", len("https://"))]
        if origin not in self._known:
            self._known[origin] = _proxy_of(url)
        return self._known[origin]


def _proxy_of(url: str) -> str | None:
    parts, proxies = urlsplit(url), getproxies()
    if not proxies or proxy_bypass(parts.hostname or ""):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return None if not proxy else _checked(proxy if "://" in proxy else f"http://{proxy}")


def _checked(proxy: str) -> str:
    try:
        _ = urlsplit(proxy).port
    except ValueError:
        raise ConfigurationError(
            "a proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) must be an address such as "
            "http://proxy:3128"
        ) from None
    return proxy
