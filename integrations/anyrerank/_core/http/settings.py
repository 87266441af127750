"""The settings of both the synchronous and the asynchronous client."""

from __future__ import annotations

from functools import lru_cache

import httpx

from anyrerank import __version__

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 30.0
HEADERS = {"accept-encoding": "gzip, deflate", "user-agent": f"anyrerank/{__version__}"}


@lru_cache(maxsize=256)
def parsed(url: str) -> httpx.URL:
    """`url`, percent-encoded by the rules of httpx."""
    return httpx.URL(url)
