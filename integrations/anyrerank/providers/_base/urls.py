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
            reranking, it is the endpoint; if it ends in a version such as `/v1`, only the operation is appended. An
            operation such as `/chat/completions` is replaced. What follows a `#` does not count.
        operation: The end of the path.
        root: Inserted before the operation in every other case. Segments of both that `base` ends in are not repeated.
    """
    parts = urlsplit(base)
    path = without_operation(parts.path)
    if not (path.endswith(f"/{operation}") or is_endpoint(path)):
        path = _joined(path, [*root.split("/")[1:], *operation.split("/")]) or (
            f"{path}/{operation}" if _VERSION.search(path) else f"{path}{root}/{operation}"
        )
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def is_endpoint(path: str) -> bool:
    """Whether a path ends in a name that servers give to reranking, so that it is used as it is."""
    return bool(_ENDPOINT.search(path.rstrip("/")))


def without_operation(path: str) -> str:
    """A path without slashes at its end, and without an operation of OpenAI's next to which reranking is."""
    return _OTHER_OPERATION.sub("", path.rstrip("/"))


def _joined(path: str, wanted: list[str]) -> str | None:
    """`path` with the segments of `wanted` that it does not end in; `None` if it ends in none of them."""
    for count in range(len(wanted) - 1, 0, -1):
        if path.endswith(f"/{'/'.join(wanted[:count])}"):
            return f"{path}/{'/'.join(wanted[count:])}"
    return None


_ENDPOINT = re.compile(
    r"[/:](?:(?:text-)?re-?rank(?:s|ings?)?|rank(?:ing)?|score|predict|infer|invocations|invoke)$", re.IGNORECASE
)
"""The last ones are those of KServe, Triton, SageMaker, Databricks and Bedrock."""
_OTHER_OPERATION = re.compile(r"/(?:chat/completions|completions|embeddings)$")
_VERSION = re.compile(r"/v\d+(?:\.\d+)?(?:(?:alpha|beta)\d*)?$")


@lru_cache(maxsize=1024)
def is_http_url(text: str) -> bool:
    """Whether `text` is an http(s) URL with a host and, if it has a port, a valid one."""
    try:
        text.encode()
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
