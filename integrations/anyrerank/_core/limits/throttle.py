"""The interface of a throttle, which a request waits for before it is sent."""

from __future__ import annotations

from abc import ABC, abstractmethod

from anyrerank._core.runtime import Flow


class Throttle(ABC):
    """Delays requests until they may be sent.

    Attributes:
        counts_tokens: Whether it needs the number of tokens of a request.
        postponed: Seconds by which the deadline of a call moves, because it waits offline.
    """

    counts_tokens: bool = False
    postponed: float = 0.0

    @abstractmethod
    def wait(self, tokens: int, longest: float | None) -> Flow[None]:
        """Wait until a request may be sent.

        Args:
            tokens: Estimated tokens of the request; only if `counts_tokens`.
            longest: Remaining seconds of the call; `None` for no limit.

        Raises:
            LimitReachedError: The wait would be longer.
        """

    @abstractmethod
    def correct(self, tokens: int) -> None:
        """Count more tokens than were said before, or fewer. On an event loop it does not wait; it never raises."""
