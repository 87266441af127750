"""Tells about a model, as the clients of some vendors ask before they send anything."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from anyrerank.gateway.body import encoded
from anyrerank.gateway.dialects import Dialect
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.exchange import Exchange, Host, refused, request_id_of, respond


class FactEndpoint:
    """Answers questions about a model on one path, as an ASGI application. Asks no vendor.

    Args:
        host: The gateway.
        route: The path.
        dialect: The dialect of the path.
    """

    def __init__(self, host: Host, route: str, dialect: Dialect) -> None:
        self._host = host
        self._route = route
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer a request."""
        exchange = Exchange(route=self._route, dialect=self._dialect, request_id=request_id_of(scope))
        service = self._host.service
        headers: Mapping[str, str] = {}
        try:
            exchange.caller = caller = service.access.caller(scope)
            exchange.model, _ = service.model(scope.get("path_params", {}).get("model"), caller)
            body = encoded(self._dialect.fact(self._route, exchange.model, service.settings.max_documents))
            exchange.status = 200
        except GatewayError as error:
            body, headers = refused(exchange, error)
        self._host.ended(exchange)
        await respond(send, exchange.status, body, {"x-request-id": exchange.request_id, **headers})
