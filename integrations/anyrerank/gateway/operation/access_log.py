"""A line of JSON for each request for a reranking, or about keys and the configuration, without texts and secrets."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyrerank.gateway.body import encoded
from anyrerank.gateway.http import Action
from anyrerank.gateway.operation.host import Host
from anyrerank.gateway.rerank import Exchange

T = TypeVar("T")

_log = logging.getLogger("anyrerank.gateway.access")


class AccessLog:
    """Writes the lines to standard output, or to the logger `anyrerank.gateway.access` if that has handlers."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self, exchange: Exchange) -> None:
        """Log a request for a reranking, if the settings say so."""
        self._write(fields_of, exchange)

    def acted(self, action: Action) -> None:
        """Log a request about keys or the configuration, if the settings say so."""
        self._write(fields_of_action, action)

    def _write(self, fields: Callable[[T], dict[str, object]], source: T) -> None:
        if not self._host.service.settings.access_log:
            return
        line = encoded(fields(source)).decode()
        if _log.handlers:
            _log.info(line)
        else:
            with suppress(OSError, ValueError):  # standard output was closed
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


def fields_of(exchange: Exchange) -> dict[str, object]:
    """The fields of a log line; unknown values are left out."""
    response, error, asked = exchange.response, exchange.error, exchange.asked
    attempts = response.attempts if response else error.attempts if error else ()
    known = {
        "time": round(time.time(), 3),
        "request_id": exchange.request_id,
        "route": exchange.route,
        "dialect": exchange.dialect.name,
        "status": exchange.status,
        "error": exchange.kind,
        "seconds": round(exchange.seconds, 6),
        "upstream_seconds": round(exchange.upstream, 6),
        "key": exchange.caller.alias if exchange.caller else None,
        "end_user": exchange.user,
        "model": exchange.model,
        "documents": len(asked.documents) if asked else None,
        "top_n": asked.top_n if asked else None,
        "deployment": f"{response.provider}/{response.model}" if response else None,
        "deployment_id": response.model_id if response else None,
        "attempts": len(attempts) or None,
        "cost": response.cost if response else None,
        "cached": response.cached or None if response else None,
        "degraded": response.degraded or None if response else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def fields_of_action(action: Action) -> dict[str, object]:
    """The fields of a log line; unknown values are left out."""
    known = {
        "time": round(time.time(), 3),
        "request_id": action.request_id,
        "route": action.route,
        "status": action.status,
        "error": action.error,
        "seconds": round(action.seconds, 6),
        "key": action.caller,
        **action.details,
    }
    return {name: value for name, value in known.items() if value is not None}
