"""Traces: a request continues the one of its client, and the requests to providers continue it in turn.

With the hook `anyrerank.telemetry.OpenTelemetry`, each request has a span, the parent of those of the call.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anyrerank._core.runtime import tracing
from anyrerank.gateway.body import header
from anyrerank.gateway.http.host import Host
from anyrerank.gateway.rerank import Service

if TYPE_CHECKING:
    from anyrerank.telemetry import OpenTelemetry, Serving

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Traced:
    """An ASGI application for one path, inside the trace of each request.

    Args:
        app: The application.
        route: The path.
        host: The gateway.
    """

    def __init__(self, app: ASGIApp, route: str, host: Host) -> None:
        self._app = app
        self._route = route
        self._host = host
        self._known: tuple[Service, OpenTelemetry | None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        given = header(scope, b"traceparent")
        parent = given if given and _TRACEPARENT.fullmatch(given) else None
        hook = self._hook()
        if hook is not None:
            state = header(scope, b"tracestate")
            headers = {} if parent is None else {"traceparent": parent, **({"tracestate": state} if state else {})}
            with hook.serving(self._route, headers) as serving, tracing(serving.traceparent):
                await self._app(scope, receive, _noting_status(send, serving))
        elif parent is not None:
            with tracing(parent):
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _hook(self) -> OpenTelemetry | None:
        """The hook, if the router has it."""
        service = self._host.service
        if self._known is None or self._known[0] is not service:
            self._known = (service, _hook_of(service))
        return self._known[1]


def _hook_of(service: Service) -> OpenTelemetry | None:
    module: Any = sys.modules.get("anyrerank.telemetry")  # an extra, which is loaded if there is a hook
    if module is None:
        return None
    return next((hook for hook in service.router.options.hooks if isinstance(hook, module.OpenTelemetry)), None)


def _noting_status(send: Send, serving: Serving) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            serving.answered(message["status"])
        await send(message)

    return noting
