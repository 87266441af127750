"""When the next request may be sent: the generic cell rate algorithm (GCRA), for requests and for tokens.

What is due is a point in time that each request moves on by the time that it takes of the rate. A request starts when
that point is less than the tolerance away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_MINUTE = 60.0
_AT_ONCE = 0.01
"""The part of a minute's requests that may be sent at once after a pause. The steady rate is lower by the same part, so
that no minute has more than the limit."""


class Need(NamedTuple):
    """Requests and tokens of a request; negative to give them back."""

    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast requests may be sent.

    Attributes:
        request: Seconds between two requests; 0 for no limit.
        token: Seconds for each token; 0 for no limit.
        tolerance: Seconds by which a request may come early after a pause.
    """

    request: float
    token: float
    tolerance: float = _AT_ONCE * _MINUTE

    @classmethod
    def of(cls, rpm: float | None, tpm: float | None) -> Rates:
        """The rates for limits per minute."""
        return cls(_interval(rpm), _interval(tpm))

    def slower(self, times: int) -> Rates:
        """An equal share of these rates, one of several."""
        return Rates(self.request * times, self.token * times, self.tolerance)


def _interval(limit: float | None) -> float:
    return 0.0 if limit is None else _MINUTE / (limit * (1 - _AT_ONCE))


class Pace:
    """What is due, on the clock of its caller."""

    def __init__(self) -> None:
        self._requests_due = self._tokens_due = float("-inf")

    def book(self, rates: Rates, need: Need, now: float, longest: float | None) -> float:
        """Seconds until a request may be sent; if they are at most `longest`, its place is taken."""
        start = now
        if rates.request:
            start = max(start, self._requests_due - rates.tolerance)
        if rates.token:
            start = max(start, self._tokens_due - rates.tolerance)
        if longest is None or start - now <= longest:
            self._requests_due = max(self._requests_due, start) + need.requests * rates.request
            self._tokens_due = max(self._tokens_due, start) + need.tokens * rates.token
        return start - now

    def follow(self, rates: Rates, start: float) -> None:
        """Let no request go before one that was booked elsewhere."""
        self._requests_due = max(self._requests_due, start + rates.tolerance)
        self._tokens_due = max(self._tokens_due, start + rates.tolerance)

    def correct(self, rates: Rates, more: Need) -> None:
        """Count more, or less, than was booked."""
        self._requests_due += more.requests * rates.request
        self._tokens_due += more.tokens * rates.token
