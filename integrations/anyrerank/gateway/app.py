"""The gateway as an ASGI application: its routes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from anyrerank.gateway.admission import Admission
from anyrerank.gateway.body import encoded
from anyrerank.gateway.dialects import Dialect, dialects
from anyrerank.gateway.errors import phrase
from anyrerank.gateway.exchange import Exchange, Listener, RerankEndpoint
from anyrerank.gateway.facts import FactEndpoint
from anyrerank.gateway.playground import playground
from anyrerank.gateway.service import Service


class Gateway:
    """The state of a running gateway.

    Attributes:
        service: What it serves; a reload replaces it.
        admission: How many requests are let in.
        listeners: Get each request when it was answered.
        draining: Whether it accepts its last requests.
    """

    def __init__(self, service: Service, listeners: Sequence[Listener] = ()) -> None:
        settings = service.settings
        self.service = service
        self.admission = Admission(settings.max_in_flight, settings.queue, settings.queue_seconds)
        self.listeners = list(listeners)
        self.draining = False

    def replace(self, service: Service) -> None:
        """Serve something else from now on; calls in flight end where they began."""
        before, self.service = self.service, service
        self.admission.limit, self.admission.queue = service.settings.max_in_flight, service.settings.queue
        self.admission.seconds = service.settings.queue_seconds
        longest = before.router.timeout
        if longest is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(longest, lambda: loop.create_task(before.router.aclose()))

    def ended(self, exchange: Exchange) -> None:
        """Tell the listeners about a request."""
        for listener in self.listeners:
            listener(exchange)


def application(gateway: Gateway) -> ASGIApp:
    """The application that serves a gateway."""
    endpoints = rerank_endpoints(gateway)
    routes = [
        Route("/", playground, methods=["GET"]),
        *(Route(_pattern(path), endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
        *(Route(_pattern(path), endpoint, methods=["GET"]) for path, endpoint in fact_endpoints(gateway).items()),
    ]
    others = Starlette(routes=routes, exception_handlers={HTTPException: _not_served})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Most requests have one of these paths; the search through all routes would take longer than their dialect.
        endpoint = endpoints.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (endpoint or others)(scope, receive, send)

    return app


def rerank_endpoints(gateway: Gateway) -> dict[str, RerankEndpoint]:
    """The endpoint of each path of each dialect; paths without parameters first."""
    served = [(path, dialect) for dialect in dialects() for path in dialect.paths]
    served.sort(key=_specific_first)
    return {path: RerankEndpoint(gateway, path, dialect, shared=dialect.shared) for path, dialect in served}


def fact_endpoints(gateway: Gateway) -> dict[str, FactEndpoint]:
    """The endpoint of each path at which a dialect tells about a model; paths without parameters first."""
    served = [(path, dialect) for dialect in dialects() for path in dialect.facts]
    served.sort(key=_specific_first)
    return {path: FactEndpoint(gateway, path, dialect) for path, dialect in served}


def _specific_first(served: tuple[str, Dialect]) -> tuple[bool, str]:
    return "{" in served[0], served[0]


def _pattern(path: str) -> str:
    """A path as Starlette writes it; a parameter may hold slashes, as names of models do."""
    return path.replace("}", ":path}")


async def _not_served(request: Request, error: Exception) -> Response:
    """The answer to a wrong path or method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers: dict[str, Any] = dict(getattr(error, "headers", None) or {})
    message = f"{phrase(status)}: {request.method} {request.url.path[:200]}"
    body = {"error": {"message": message, "type": "not_found", "param": None, "code": str(status)}, "message": message}
    return Response(encoded({**body, "detail": message}), status, headers, "application/json")
