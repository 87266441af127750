"""Endpoints from base URLs as people write them."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit


@lru_cache(maxsize=1024)
def endpoint(base: str, operation: str = "rerank", *, root: str = "/v1") -> str:
    """The full URL of `operation` under `base`; path prefix and query string are kept, no segment is repeated.

    Args:
        base: With or without trailing slashes. If it ends in `operation`, or in another name that servers give to
            reranking, it is the endpoint; if it ends in a version such as `/v1`, only the operation is appended. What
            follows a `#` does not count.
        operation: The end of the path.
        root: Inserted before the operation in every other case, without the part that `base` ends in.
    """
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if not (path.endswith(f"/{operation}") or (operation in _RERANKING and is_endpoint(path))):
        head, _, version = root.rpartition("/")
        if head and path.endswith(head):
            root = f"/{version}"
        path += f"/{operation}" if _VERSION.search(path) else f"{root}/{operation}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def is_endpoint(path: str) -> bool:
    """Whether a path ends in a name that servers give to reranking, so that it is used as it is."""
    return path.rstrip("/").endswith(_FULL)


_RERANKING = frozenset({"rerank", "reranking", "rerankings", "models/rerank"})
_FULL = ("/rerank", "/reranking", "/rerankings", "/reranks", "/score", "/invocations")
"""The last is that of SageMaker and Databricks."""
_VERSION = re.compile(r"/v\d+$")


@lru_cache(maxsize=1024)
def is_http_url(text: str) -> bool:
    """Whether `text` is an http(s) URL with a host and, if it has a port, a valid one."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
