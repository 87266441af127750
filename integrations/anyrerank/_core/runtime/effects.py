"""Effects: what a flow can ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from anyrerank._core.runtime.messages import HttpRequest, HttpResponse

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait; the outcome is `None`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Run a blocking function (a model on this machine, a credential look-up); the outcome is what it returns.

    Attributes:
        bounded: Whether the call's deadline is for this too: it is no longer waited for then, though it runs on. For
            what waits itself, such as a look-up, rather than for what computes.
        deadline: A time of the monotonic clock, or `None` for no limit.
    """

    function: Callable[[], Any]
    bounded: bool = False
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Run a function of the driver's colour: what it returns is awaited by `arun` (where it can be), not by `run`.

    For callers that have both colours of something already, such as a framework's callback managers.

    Attributes:
        deadline: Until when it is awaited: a time of the monotonic clock, or `None` for no limit. What is not awaited
            takes what it takes.
    """

    function: Callable[[], Any]
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Gather:
    """Run flows side by side, at most `limit` at a time; the outcome is the list of their results, in order.

    The first failure stops the others and is what the flow gets.
    """

    flows: Sequence[Flow[Any]]
    limit: int
    done: Callable[[], None] | None = None
    """Called as each flow ends well: progress."""


class Sender(Protocol):
    """Sends requests in both colours."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send and read the whole answer."""
        ...

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """The same, on the running event loop."""
        ...


@dataclass(frozen=True, slots=True)
class Through:
    """Run a flow whose requests go through a sender of its own; the outcome is its result."""

    sender: Sender
    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for what another flow will give; the outcome is that, or `DEADLOCK` where that could be for ever.

    Attributes:
        future: Its result.
        loop: The event loop that runs the other flow, or `None`. A synchronous call, or one on another loop, may be
            what holds that loop up, itself or by its threads, so it does not wait for one.
        deadline: A time of the monotonic clock, or `None` for no limit.
    """

    future: Future[Any]
    loop: asyncio.AbstractEventLoop | None
    deadline: float | None = None


DEADLOCK = object()
"""The outcome of a `Wait` that might never end."""


Effect: TypeAlias = HttpRequest | Sleep | Call | Do | Gather | Through | Wait


Flow: TypeAlias = Generator[Effect, Any, T]
