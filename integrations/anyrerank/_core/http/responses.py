"""Reading a response, up to a limit."""

from __future__ import annotations

import time
from collections.abc import Mapping

from anyrerank._core.runtime import HttpRequest, HttpResponse
from anyrerank.errors import APIResponseValidationError

MAX_RESPONSE_BYTES = 64 * 2**20
"""Rerank responses are far smaller."""


def extend(content: bytearray, chunk: bytes, request: HttpRequest) -> None:
    """Add a chunk to `content`.

    Raises:
        APIResponseValidationError: `content` would be larger than `MAX_RESPONSE_BYTES`.
    """
    if len(content) + len(chunk) > MAX_RESPONSE_BYTES and not request.is_download:
        raise APIResponseValidationError(
            f"the response is larger than {MAX_RESPONSE_BYTES // 2**20} MiB and was not read completely; check that "
            "the base URL is a rerank endpoint",
            url=request.url,
        )
    content += chunk


def response_of(status: int, headers: Mapping[str, str], content: bytearray, request: HttpRequest) -> HttpResponse:
    """A response that was read completely."""
    lower = {name.lower(): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=lower, content=bytes(content), url=request.url, received=time.time())
