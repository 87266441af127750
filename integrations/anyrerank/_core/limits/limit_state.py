"""The interface of a state in which limits of several processes count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from anyrerank._core.limits.pace import Need, Rates
from anyrerank._core.runtime import Flow


class LimitState(ABC):
    """Books requests of all processes, one after another."""

    @abstractmethod
    def book(self, name: str, rates: Rates, need: Need, longest: float | None) -> Flow[float]:
        """Seconds until a request may be sent; if they are at most `longest`, its place is taken."""

    @abstractmethod
    def correct(self, name: str, rates: Rates, more: Need) -> None:
        """Count more, or less, than was booked. On an event loop it does not wait; it never raises."""


class HasLimits(Protocol):
    """A state with limits, such as `anyrerank.state.RedisState`."""

    @property
    def limits(self) -> LimitState:
        """Where limits count."""
        ...
