"""Endpoints that do not rerank: health, models, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from anyrerank.gateway.body import ClientGoneError, encoded
from anyrerank.gateway.errors import STATUSES, GatewayError, internal_error, superset
from anyrerank.gateway.http.host import Host
from anyrerank.gateway.rerank import Caller, Service, request_id_of

Handler = Callable[[Request], Awaitable[Response]]
"""Answers a request; may raise a `GatewayError`."""


class Plain:
    """Answers requests on one path by a function, as an ASGI application; counts them and puts errors into words.

    Args:
        host: The gateway.
        route: The path.
        handle: The function.
    """

    def __init__(self, host: Host, route: str, handle: Handler) -> None:
        self._host = host
        self._route = route
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request_id = request_id_of(scope)
        try:
            response = await self._handle(Request(scope, receive))
        except GatewayError as error:
            response = refusal(error)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not end the connection without an answer
            response = refusal(internal_error(error, request_id))
        response.headers["x-request-id"] = request_id
        self._host.metrics.served(self._route, response.status_code)
        await response(scope, receive, send)


def refusal(error: GatewayError) -> Response:
    """The answer to a request that is refused."""
    status = STATUSES[error.kind]
    body = superset(error.message, error.kind, status, error.param)
    return Response(body, status, error.all_headers(), "application/json")


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as an answer."""
    return Response(encoded(value), status, headers, "application/json")


def master(service: Service, scope: Scope) -> Caller:
    """The caller of a request that only the master may make.

    Raises:
        GatewayError: The caller is not the master.
    """
    caller = service.access.caller(scope)
    if not caller.is_master:
        raise GatewayError(kind="permission_error", message="this needs the master key")
    return caller
