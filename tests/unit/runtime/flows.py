"""Flows and senders for the tests of the drivers."""

import asyncio
from typing import Any, Protocol

from anyrerank._core.runtime import (
    NO_DEADLINE,
    Deadline,
    Effect,
    Flow,
    HttpRequest,
    HttpResponse,
    arun,
    run,
)
from anyrerank._core.runtime.effects import Send
from anyrerank.errors import APIConnectionError

LONG = 60.0
SOON = 10.0
PASSED = Deadline(0.0, 3.0)
"""A deadline of 3 seconds that has passed."""


class Drive(Protocol):
    """Runs a flow with one of the drivers."""

    def __call__(self, flow: Flow[Any], send: Send = ..., deadline: Deadline = ...) -> Any: ...


def request(path: str = "", timeout: float | None = None) -> HttpRequest:
    return HttpRequest(
        method="POST", url=f"https://host.test/{path}?key=secret", headers={}, content=path.encode(), timeout=timeout
    )


def echo(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
    return HttpResponse(status=200, headers={}, content=sent.content)


def refuse(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
    raise APIConnectionError("refused")


def ask(effect: Effect) -> Flow[Any]:
    outcome = yield effect
    return outcome


def content_of(path: str) -> Flow[str]:
    response: HttpResponse = yield request(path)
    return response.content.decode()


def in_run(flow: Flow[Any], send: Send = refuse, deadline: Deadline = NO_DEADLINE) -> Any:
    return run(flow, send, deadline)


def in_arun(flow: Flow[Any], send: Send = refuse, deadline: Deadline = NO_DEADLINE) -> Any:
    async def asend(sent: HttpRequest, limit: Deadline) -> HttpResponse:
        await asyncio.sleep(0)
        return send(sent, limit)

    return asyncio.run(arun(flow, asend, deadline))


async def awaited() -> str:
    await asyncio.sleep(0)
    return "awaited"


def failing() -> None:
    raise ValueError("from a function")


class Elsewhere:
    """Another sender; records the deadlines it gets."""

    def __init__(self) -> None:
        self.deadlines: list[Deadline] = []

    def send(self, sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.deadlines.append(deadline)
        return HttpResponse(status=200, headers={}, content=b"elsewhere " + sent.content)

    async def asend(self, sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        return self.send(sent, deadline)
