"""Base URLs, as people write them, and endpoints."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit


@lru_cache(maxsize=1024)
def endpoint(base: str, operation: str = "rerank", *, root: str = "/v1") -> str:
    """The full URL of `operation` under `base`: no segment twice, no path prefix or query string lost.

    Args:
        base: With or without trailing slashes. Used as it is when it ends in `operation`; only the operation is
            appended when it ends in a version such as `/v1`.
        root: Goes before the operation otherwise, without what the base ends in already.
    """
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if not path.endswith(f"/{operation}"):
        head, _, version = root.rpartition("/")
        if head and path.endswith(head):
            root = f"/{version}"
        path += f"/{operation}" if _VERSION.search(path) else f"{root}/{operation}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


_VERSION = re.compile(r"/v\d+$")


@lru_cache(maxsize=1024)
def is_http_url(text: str) -> bool:
    """Whether `text` is an http(s) address with a host and a possible port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
