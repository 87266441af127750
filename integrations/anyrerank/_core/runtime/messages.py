"""HTTP requests and responses, independent of any HTTP library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from anyrerank._core.runtime.deadline import Deadline, timed_out
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
    """A request to send.

    Attributes:
        timeout: Seconds for this exchange, if the deadline is later; `None` for the deadline alone.
        is_download: Whether the response is a file, whose size is not limited.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    timeout: float | None = None
    is_download: bool = False

    def deadline_within(self, deadline: Deadline) -> Deadline:
        """When this exchange must have finished.

        Raises:
            APITimeoutError: No time is left to send it.
        """
        if deadline.passed:
            raise timed_out(deadline, "no time was left to send the request", url=self.url)
        return deadline if self.timeout is None else deadline.earliest(Deadline.after(self.timeout))

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {public_url(self.url)}, {len(self.content)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A response whose body was read completely. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)
    received: float = 0.0
    """When it was received, in seconds since the epoch; a date in `Retry-After` is relative to it."""

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request, from the headers that providers use for it."""
        return next((self.headers[name] for name in REQUEST_ID_HEADERS if name in self.headers), None)

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait: `retry-after-ms`, `Retry-After` (seconds or date), `x-ratelimit-reset`.

        Many gateways add the last to every response, so it counts on status 429 only.
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
    """`seconds`, or the time from `now` if it is a timestamp, which some servers send in milliseconds."""
    if seconds < _TIMESTAMP:
        return seconds
    return (seconds / 1000 if seconds >= 1000 * _TIMESTAMP else seconds) - now


_TIMESTAMP = 1e9
"""A larger number is a timestamp (after 2001), not a wait (of 32 years)."""


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
