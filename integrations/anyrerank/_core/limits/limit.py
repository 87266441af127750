"""`Limit`: how many requests and tokens per minute may be sent; further ones wait."""

from __future__ import annotations

import threading
import time
import warnings
from typing import Any

from anyrerank._core.limits.limit_state import HasLimits
from anyrerank._core.limits.pace import Need, Pace, Rates
from anyrerank._core.limits.throttle import Throttle
from anyrerank._core.runtime import Flow, Sleep, is_number, reset_in_child
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError, LimitReachedError


@public("anyrerank")
class Limit(Throttle):
    """A limit of requests and tokens per minute: each request waits until it may be sent, so that none is refused.

    Retries, fallbacks and the parts of a split call count too; what a cache answers does not. Requests are evenly
    spaced; after a pause, one hundredth of those of a minute may be sent at once. No minute has more than the limit.
    Tokens are estimated before a request is sent, and corrected by what the provider reports. A request whose turn
    would come after the timeout of its call is refused at once with a `LimitReachedError`, which says when to try
    again.

        limit = Limit(rpm=1_000, tpm=2_000_000)  # the quota of a key
        Reranker("voyage/rerank-2.5", limit=limit)
        Limit(rpm=1_000, state=RedisState("redis://..."), name="voyage")  # one limit for all processes

    Thread-safe; several rerankers may share one, on any number of event loops. A copy or a pickle has the same limit
    and counts on its own, and a warning says so, unless there is a `state`. A forked child counts on its own too.

    Args:
        rpm: Requests per minute, or `None` for no limit.
        tpm: Tokens per minute, or `None` for no limit.
        state: Where to count, such as an `anyrerank.state.RedisState`. While it does not answer, this process has its
            share of the limit.
        name: What the limit is called there: limits with the same name are the same.

    Raises:
        ConfigurationError: `rpm` or `tpm` is invalid, both are missing, or `state` has no `name` to go with it.
    """

    def __init__(
        self,
        rpm: float | None = None,
        tpm: float | None = None,
        *,
        state: HasLimits | None = None,
        name: str | None = None,
    ) -> None:
        for argument, value in (("rpm", rpm), ("tpm", tpm)):
            if value is not None and not (is_number(value) and value > 0):
                raise ConfigurationError(f"{argument} must be a positive number per minute, or None, got {value!r}")
        if rpm is None and tpm is None:
            raise ConfigurationError("a limit must have rpm=, tpm= or both")
        if (state is None) != (name is None) or name == "":
            raise ConfigurationError("a limit must have both state= and name=, or neither")
        if state is not None and not hasattr(state, "limits"):
            raise ConfigurationError(f"state must be a RedisState, got {type(state).__name__}")
        self.rpm = rpm
        self.tpm = tpm
        self.counts_tokens = tpm is not None
        self._rates = Rates.of(rpm, tpm)
        self._state = state
        self._name = name or ""
        self._pace = Pace()
        self._reset()
        reset_in_child(self, Limit._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        shared = "" if self._state is None else f", state={self._state!r}, name={self._name!r}"
        return f"Limit(rpm={self.rpm}, tpm={self.tpm}{shared})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._state is None:
            warnings.warn(
                f"a copy of {self!r} counts on its own, so that several copies may send several times as much: pass "
                "state= and name= to let them share it",
                RuntimeWarning,
                stacklevel=2,
            )
            return (Limit, (self.rpm, self.tpm))
        return (_shared, (self.rpm, self.tpm, self._state, self._name))

    def wait(self, tokens: int, longest: float | None) -> Flow[None]:
        """Wait until a request may be sent.

        Raises:
            LimitReachedError: The wait would be longer than `longest`.
        """
        seconds = yield from self.book(tokens, longest)
        if not seconds:
            return
        try:
            yield Sleep(seconds, otherwise=self._too_long(seconds))
        except BaseException:  # the deadline of one of several deployments is earlier, or the call was cut off
            self.give_back(tokens)
            raise

    def book(self, tokens: int, longest: float | None) -> Flow[float]:
        """Take the next place; returns the seconds until its turn.

        Raises:
            LimitReachedError: They are more than `longest`, and no place was taken.
        """
        need = Need(1, tokens)
        if self._state is not None:
            seconds = yield from self._state.limits.book(self._name, self._rates, need, longest)
        else:
            with self._lock:
                seconds = self._pace.book(self._rates, need, time.monotonic(), longest)
        if longest is not None and seconds > longest:
            raise self._too_long(seconds)
        return seconds

    def give_back(self, tokens: int) -> None:
        """Give back the place of a request that is not sent. On an event loop it does not wait; it never raises."""
        self._correct(Need(-1, -tokens))

    def correct(self, tokens: int) -> None:
        """Count more tokens than were said before, or fewer."""
        if tokens and self.counts_tokens:
            self._correct(Need(0, tokens))

    def _correct(self, more: Need) -> None:
        if self._state is not None:
            self._state.limits.correct(self._name, self._rates, more)
        else:
            with self._lock:
                self._pace.correct(self._rates, more)

    def _too_long(self, seconds: float) -> LimitReachedError:
        limits = " and ".join(
            f"{value:,g} {what}" for value, what in ((self.rpm, "requests"), (self.tpm, "tokens")) if value is not None
        )
        return LimitReachedError(
            f"the limit of {limits} per minute allows this request in {seconds:.1f} s, which is after the timeout of "
            "the call, so it was not sent: try again then, send less, or pass a longer timeout",
            retry_after=seconds,
        )


def _shared(rpm: float | None, tpm: float | None, state: HasLimits, name: str) -> Limit:
    return Limit(rpm, tpm, state=state, name=name)
