"""What connections take from the environment."""

from __future__ import annotations

import os

from anyrerank._core.http import tls

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_VARIABLES = (*tls.VARIABLES, *_PROXIES, *map(str.upper, _PROXIES))


def network_environment() -> tuple[str | None, ...]:
    """The values of the variables that name proxies and certificates."""
    return tuple(map(os.environ.get, _VARIABLES))
