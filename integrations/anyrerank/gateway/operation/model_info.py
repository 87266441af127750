"""Descriptions of a model, which clients of some vendors request first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from anyrerank.gateway.dialects import Dialect
from anyrerank.gateway.errors import STATUSES, GatewayError
from anyrerank.gateway.http import json_answer
from anyrerank.gateway.operation.host import Host
from anyrerank.gateway.rerank import request_id_of


class ModelInfo:
    """Describes a model on one path. Sends nothing to a provider.

    Args:
        host: The gateway.
        route: The path.
        dialect: The dialect of the path.
    """

    def __init__(self, host: Host, route: str, dialect: Dialect) -> None:
        self._host = host
        self._route = route
        self._dialect = dialect

    async def __call__(self, request: Request) -> Response:
        """The answer, also if there is no such model."""
        service, dialect = self._host.service, self._dialect
        try:
            caller = service.access.caller(request.scope)
            model, _ = service.model(request.path_params.get("model"), caller)
        except GatewayError as error:
            status = dialect.statuses.get(error.kind, STATUSES[error.kind])
            return json_answer(dialect.error(error, status, request_id_of(request.scope)), status, error.all_headers())
        return json_answer(dialect.model_info(self._route, model, service.settings.max_documents))


class KeyCheck:
    """Answers whether a request needs a key, for clients that have not sent one yet."""

    def __init__(self, host: Host, dialect: Dialect) -> None:
        self._host = host
        self._dialect = dialect

    async def __call__(self, request: Request) -> Response:
        """The answer."""
        try:
            self._host.service.access.caller({**request.scope, "headers": []})
        except GatewayError:
            return json_answer(self._dialect.key_check(needed=True))
        return json_answer(self._dialect.key_check(needed=False))
