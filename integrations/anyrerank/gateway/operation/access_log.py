"""A line of JSON for each request for a reranking, without query, documents and keys."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress

from anyrerank.gateway.body import encoded
from anyrerank.gateway.operation.host import Host
from anyrerank.gateway.rerank import Exchange

_log = logging.getLogger("anyrerank.gateway.access")


class AccessLog:
    """Writes the lines to standard output, or to the logger `anyrerank.gateway.access` if that has handlers."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self, exchange: Exchange) -> None:
        """Log a request, if the settings say so."""
        if not self._host.service.settings.access_log:
            return
        line = encoded(fields_of(exchange)).decode()
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
        "model": exchange.model,
        "documents": len(asked.documents) if asked else None,
        "top_n": asked.top_n if asked else None,
        "deployment": f"{response.provider}/{response.model}" if response else None,
        "attempts": len(attempts) or None,
        "cost": response.cost if response else None,
        "cached": response.cached or None if response else None,
        "degraded": response.degraded or None if response else None,
    }
    return {name: value for name, value in known.items() if value is not None}
