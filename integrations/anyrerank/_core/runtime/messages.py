"""What providers and transport exchange: plain HTTP, with no HTTP library in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from anyrerank.errors import public_url

REQUEST_ID_HEADERS = (
    "x-debug-trace-id",
    "request-id",
    "x-request-id",
    "nvcf-reqid",
    "x-litellm-call-id",
    "x-ms-request-id",
    "x-amzn-requestid",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request to send. `deadline` is a time of the monotonic clock, or `None` for no limit."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    deadline: float | None = None

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {public_url(self.url)}, {len(self.content)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer that was read to its end. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)
    received: float = 0.0
    """When it came, in seconds since the epoch: what a `Retry-After` date is compared with."""

    @property
    def request_id(self) -> str | None:
        """The id the provider gave the request, from the headers that are in use for it."""
        return next((self.headers[name] for name in REQUEST_ID_HEADERS if name in self.headers), None)

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait: `retry-after-ms`, `Retry-After` (seconds or date), `x-ratelimit-reset`.

        The last says when more requests are allowed, which many gateways write into every answer: it counts on 429.
        """
        for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0), ("x-ratelimit-reset", 1.0)):
            text = None if name == "x-ratelimit-reset" and self.status != 429 else self.headers.get(name)
            if text is None:
                continue
            seconds = _number(text)
            if seconds is None and name == "retry-after":
                seconds = _seconds_until(text, self.received)
            if seconds is not None:
                return max(0.0, _from_now(seconds * scale, self.received))
        return None


def _from_now(seconds: float, now: float) -> float:
    """`seconds`, or the time until them where they count from 1970, which some servers do in milliseconds."""
    if seconds < _LONG_AGO:
        return seconds
    return (seconds / 1000 if seconds >= 1000 * _LONG_AGO else seconds) - now


_LONG_AGO = 1e9
"""A waiting time of 32 years, or a moment in 2001."""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _seconds_until(text: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
