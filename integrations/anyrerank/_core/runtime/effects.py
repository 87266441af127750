"""Effects: what a flow can ask its driver to do.

A flow is a generator that yields effects and is sent their outcomes; the error of an effect that fails is thrown into
it. Retries, batches, fallbacks and providers are flows, joined with `yield from`. So each is written once for
synchronous and asynchronous callers, and can be tested by sending values into a generator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from anyrerank._core.runtime.deadline import NO_DEADLINE, Deadline
from anyrerank._core.runtime.messages import HttpRequest, HttpResponse

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait; the outcome is `None`.

    Attributes:
        seconds: Duration.
        otherwise: Raised at once if the deadline would pass during the wait; by default an `APITimeoutError`.
    """

    seconds: float
    otherwise: Exception | None = None


@dataclass(frozen=True, slots=True)
class Blocking:
    """Run a blocking function, in a thread if the driver is asynchronous; the outcome is what it returns.

    Attributes:
        function: For example a model on this machine, or a look-up of credentials.
        bounded: Whether to stop waiting at the deadline; the function then goes on in its thread. For functions that
            wait, such as a look-up, not for those that compute.
    """

    function: Callable[[], Any]
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call a function; the asynchronous driver awaits what it returns if that is awaitable, until the deadline.

    For functions that exist in a synchronous and an asynchronous form, such as the callbacks of a framework.

    Attributes:
        function: Called by the synchronous driver.
        asynchronous: Called by the asynchronous driver; by default `function`.
        bounded: Whether the deadline applies.
    """

    function: Callable[[], Any]
    asynchronous: Callable[[], Any] | None = None
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Gather:
    """Run flows concurrently, at most `limit` at a time; the outcome is the list of their results, in order.

    The first failure stops the others and is thrown into the flow.
    """

    flows: Sequence[Flow[Any]]
    limit: int
    on_done: Callable[[], None] | None = None
    """Called each time a flow has succeeded, to show progress."""


class Sender(Protocol):
    """Sends requests, synchronously and asynchronously."""

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """Send `request` and read the whole response."""
        ...

    async def asend(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """`send`, on the running event loop."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Run a flow with another sender, or with another deadline; the outcome is its result.

    Attributes:
        flow: What to run.
        deadline: When it must have finished, if that is earlier than the deadline outside.
        sender: Sends its requests.
        postponed: Seconds that are added to the deadline outside, for a wait that does not count.
    """

    flow: Flow[Any]
    deadline: Deadline = NO_DEADLINE
    sender: Sender | None = None
    postponed: float = 0.0

    def deadline_within(self, outer: Deadline) -> Deadline:
        """When the flow must have finished."""
        return (outer.later(self.postponed) if self.postponed else outer).earliest(self.deadline)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for the result of another flow, until the deadline; the outcome is that result.

    Attributes:
        future: Set by a flow of the same event loop, or of another thread if both flows are synchronous.
    """

    future: Future[Any]


Effect: TypeAlias = HttpRequest | Sleep | Blocking | Invoke | Gather | Scope | Wait
Flow: TypeAlias = Generator[Effect, Any, T]

Send: TypeAlias = Callable[[HttpRequest, Deadline], HttpResponse]
AsyncSend: TypeAlias = Callable[[HttpRequest, Deadline], Awaitable[HttpResponse]]
