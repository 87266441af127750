"""The gateway as an ASGI application: its routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from anyrerank.errors import ConfigurationError, RerankError
from anyrerank.gateway.dialects import dialects
from anyrerank.gateway.errors import phrase, superset
from anyrerank.gateway.http import (
    Action,
    Browsers,
    Handler,
    Plain,
    Traced,
    instead_of,
    without_repeats,
    without_secrets,
    without_slashes,
)
from anyrerank.gateway.keys import KeyCollector, Keyring, StateCollector, key_routes
from anyrerank.gateway.operation import (
    AccessLog,
    Dependency,
    KeyCheck,
    LedgerCollector,
    Metrics,
    ModelInfo,
    operation_routes,
)
from anyrerank.gateway.rerank import Admission, Exchange, Listener, RerankEndpoint, Service, request_id_of
from anyrerank.gateway.settings import settings_for_a_restart
from anyrerank.gateway.weaknesses import weaknesses_of
from anyrerank.gateway.workers import Worker
from anyrerank.state import RedisState

_log = logging.getLogger("anyrerank.gateway")


class Gateway:
    """The state of a running gateway.

    Attributes:
        service: What it serves; a reload replaces it.
        admission: How many requests are let in.
        listeners: Get each request when it was answered.
        draining: Whether it accepts its last requests.
        connections: How many are open.
        metrics: Its numbers.
        dependencies: What it needs to be ready, apart from models.
        helpers: What it can do without for a while.
        reread: Reads the configuration again, for `reload`.
        announce: Gets a line for the log about each reload.
        state: What it shares with its replicas.
        worker: Which of several processes this is.
    """

    def __init__(
        self,
        service: Service,
        listeners: Sequence[Listener] = (),
        reread: Callable[[], Service] | None = None,
        state: RedisState | None = None,
        announce: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._started_with = settings = service.settings
        self.service = service
        held = int(settings.max_held_mb * 2**20)
        self.admission = Admission(settings.max_in_flight, settings.queue, settings.queue_seconds, held)
        self.connections = 0
        self.metrics = Metrics(self)
        self._access_log = AccessLog(self)
        self.listeners: list[Listener] = [self.metrics, self._access_log, *listeners]
        self.dependencies: MutableMapping[str, Dependency] = {}
        self.helpers: MutableMapping[str, Dependency] = {}
        self.reread = reread
        self.announce = announce
        self.draining = False
        self.state = state
        self.worker: Worker | None = None
        if isinstance(service.access, Keyring):
            self.metrics.registry.register(KeyCollector(service.access))
            self.metrics.registry.register(LedgerCollector(service.access.ledger))
            # All replicas lose the database at once: to be unready would take the whole service away.
            needed = self.dependencies if service.access.sharing is None else self.helpers
            needed["database"] = self._database
        if state is not None:
            self.metrics.registry.register(StateCollector(state))
            self.helpers["redis"] = lambda: "Redis does not answer" if state.link.is_away else None

    def _database(self) -> str | None:
        access, settings = self.service.access, self.service.settings
        failing = isinstance(access, Keyring) and access.is_failing and not settings.allow_requests_on_db_unavailable
        return "the database of the keys does not answer" if failing else None

    def reload(self) -> list[str]:
        """Read the configuration again, and return the settings that changed and need a restart.

        An error leaves everything as it was.

        Raises:
            ConfigurationError: It is wrong, or there is no file to read.
        """
        try:
            if self.reread is None:
                raise ConfigurationError("this gateway has no configuration file")
            self.replace(self.reread())
        except RerankError as error:
            self.announce(f"error: the configuration was not reloaded: {error}")
            raise
        self.announce("the configuration was reloaded")
        for weakness in weaknesses_of(self.service.router):
            _log.warning("%s", weakness)
        needed = settings_for_a_restart(self._started_with, self.service.settings)
        if needed:
            _log.warning("a reload does not change %s: restart the gateway", ", ".join(needed))
        return needed

    def join(self, worker: Worker) -> None:
        """Be one of several processes."""
        self.worker = worker
        self.metrics.share(Path(worker.folder), worker.number)

    def tell_workers(self) -> None:
        """Let the other workers read the configuration again."""
        if self.worker is not None:
            self.worker.tell_others()

    def replace(self, service: Service) -> None:
        """Serve something else from now on; calls in flight end where they began."""
        before, self.service = self.service, service
        self.admission.limit, self.admission.queue = service.settings.max_in_flight, service.settings.queue
        self.admission.seconds = service.settings.queue_seconds
        self.admission.max_bytes = int(service.settings.max_held_mb * 2**20)
        longest, settings = before.router.timeout, before.settings
        if longest is not None:
            loop = asyncio.get_running_loop()
            longest += settings.queue_seconds + settings.body_seconds  # a request may wait before it calls
            loop.call_later(longest, lambda: loop.create_task(before.router.aclose()))

    def acted(self, action: Action) -> None:
        """Log a request of those who manage the gateway."""
        self._access_log.acted(action)

    def ended(self, exchange: Exchange) -> None:
        """Tell the listeners about a request."""
        for listener in self.listeners:
            try:
                listener(exchange)
            except Exception as error:  # noqa: BLE001  the client still gets its answer
                _log.warning("%s failed with %s", type(listener).__name__, type(error).__name__)


def application(gateway: Gateway) -> ASGIApp:
    """The application that serves a gateway."""

    async def not_served(request: Request, error: Exception) -> Response:
        response = _not_served(request, error, served)
        gateway.metrics.served("other", response.status_code)
        return response

    endpoints = {path: Traced(each, path, gateway) for path, each in rerank_endpoints(gateway).items()}
    with_model = tuple(path.partition("{")[0] for path in endpoints if "{" in path)
    routes = [
        *operation_routes(gateway),
        *key_routes(gateway),
        *(Route(_pattern(path), endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
        *(Route(_pattern(path), endpoint, methods=["GET"]) for path, endpoint in info_endpoints(gateway).items()),
    ]
    served = [
        (method, route.path.replace(":path}", "}"))
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    ]
    others = Starlette(routes=routes, exception_handlers={HTTPException: not_served})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Most requests have one of these paths; the search through all routes would take longer than their dialect.
        path = scope["path"]
        endpoint = endpoints.get(path) if scope["method"] == "POST" else None
        if endpoint is None:
            path = without_slashes(path)
            scope = {**scope, "path": path}
            if scope["method"] == "POST" and not path.startswith(with_model):
                endpoint = endpoints.get(without_repeats(path))
        await (endpoint or others)(scope, receive, send)

    return Browsers(app, gateway)


def rerank_endpoints(gateway: Gateway) -> dict[str, RerankEndpoint]:
    """The endpoint of each path of each dialect; paths without parameters first."""
    served = [(path, dialect) for dialect in dialects() for path in dialect.paths]
    served.sort(key=_specific_first)
    return {path: RerankEndpoint(gateway, path, dialect, shared=dialect.shared) for path, dialect in served}


def info_endpoints(gateway: Gateway) -> dict[str, Plain]:
    """The endpoint of each path at which a dialect describes a model; paths without parameters first."""
    served: list[tuple[str, Handler]] = []
    for dialect in dialects():
        served += [(path, ModelInfo(gateway, path, dialect)) for path in dialect.info_paths]
        served += [(path, KeyCheck(gateway, dialect)) for path in dialect.key_checks]
    served.sort(key=_specific_first)
    return {path: Plain(gateway, path, handler) for path, handler in served}


def _specific_first(served: tuple[str, object]) -> tuple[bool, str]:
    return "{" in served[0], served[0]


def _pattern(path: str) -> str:
    """A path as Starlette writes it; a parameter may hold slashes, as names of models do."""
    return path.replace("}", ":path}")


def _not_served(request: Request, error: Exception, served: Sequence[tuple[str, str]]) -> Response:
    """The answer to a wrong path or method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = {**(getattr(error, "headers", None) or {}), "x-request-id": request_id_of(request.scope)}
    message = f"{phrase(status)}: {request.method} {without_secrets(request.url.path)}"
    if status == 404:
        message += instead_of(request.url.path, [path for method, path in served if method == request.method])
    kind = "method_not_allowed" if status == 405 else "not_found"
    return Response(superset(message, kind, status), status, headers, "application/json")
