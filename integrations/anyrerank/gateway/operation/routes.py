"""The routes for those who operate a gateway, and for clients that look for its models."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from anyrerank.errors import RerankError
from anyrerank.gateway.body import header
from anyrerank.gateway.errors import bad_request
from anyrerank.gateway.http import Plain, audited, is_loopback, json_answer, master
from anyrerank.gateway.operation.health import LIVENESS, READINESS, Health
from anyrerank.gateway.operation.host import Host
from anyrerank.gateway.operation.models import Models
from anyrerank.gateway.operation.openapi import openapi
from anyrerank.gateway.operation.playground import playground
from anyrerank.gateway.weaknesses import weaknesses_of

_PROXY_HEADERS = (b"x-forwarded-for", b"forwarded", b"x-real-ip")


def operation_routes(host: Host) -> Iterable[BaseRoute]:
    """The playground, health, metrics, models, and the reload of the configuration."""
    states, lists, operation = Health(host), Models(host), _Operation(host)
    handlers = {
        "/": playground,
        **dict.fromkeys(LIVENESS, states.alive),
        **dict.fromkeys(READINESS, states.ready),
        "/health": states.overview,
        "/metrics": operation.metrics,
        **dict.fromkeys(("/v1/models", "/models"), lists.listed),
        **dict.fromkeys(("/v1/model/info", "/model/info"), lists.info),
        "/model_group/info": lists.groups,
        "/openapi.json": openapi,
    }
    for path, handler in handlers.items():
        yield Route(path, Plain(host, path, handler), methods=["GET"])
    yield Route("/config/reload", Plain(host, "/config/reload", operation.reload), methods=["POST"])


class _Operation:
    def __init__(self, host: Host) -> None:
        self._host = host

    async def metrics(self, request: Request) -> Response:
        """Everything for this machine; others need the master key unless the settings open it."""
        service = self._host.service
        if not (service.settings.metrics_public or _is_local(request.scope)):
            master(service, request.scope)
        content, content_type = self._host.metrics.text(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    async def reload(self, request: Request) -> Response:
        """Read the configuration again: what does not need a restart holds from now on, or nothing has changed."""
        with audited(self._host, "/config/reload", request.scope) as action:
            action.caller = self._host.service.access.caller(request.scope).alias
            master(self._host.service, request.scope)
            try:
                needed = self._host.reload()
            except RerankError as error:
                raise bad_request(f"the configuration was not reloaded: {error.message}") from None
        self._host.tell_workers()
        router = self._host.service.router
        names = list(router.model_names)
        return json_answer(
            {"status": "reloaded", "models": names, "needs_restart": needed, "warnings": weaknesses_of(router)}
        )


def _is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine, and neither from a proxy on it nor from a web page of another name."""
    client = scope.get("client")
    host = client[0] if client else ""
    shown = f"[{host}]" if ":" in host else host
    if not is_loopback(shown) or not is_loopback(header(scope, b"host") or "localhost"):
        return False
    return not any(header(scope, name) for name in _PROXY_HEADERS)
