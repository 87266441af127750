"""What the synchronous and the asynchronous client have in common."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx

from anyrerank import __version__

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 30.0
HEADERS = {"accept-encoding": "gzip, deflate", "user-agent": f"anyrerank/{__version__}"}


@lru_cache(maxsize=1)
def ssl_context() -> ssl.SSLContext:
    """The same for both, so that both trust the same certificates; honours `SSL_CERT_FILE` and `SSL_CERT_DIR`."""
    return httpx.create_ssl_context()


@lru_cache(maxsize=256)
def parsed(url: str) -> httpx.URL:
    """`url`, percent-encoded by the rules of httpx."""
    return httpx.URL(url)
