"""Connections to PostgreSQL that raise an error if the server does not answer in time.

A server that was stopped, or a machine that hangs, still accepts connections and acknowledges packets. No option of the
driver ends the wait for its answer.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

CONNECT_SECONDS = 5
"""Seconds to wait for a connection, unless the URL has `connect_timeout`."""
ANSWER_SECONDS = 30.0
"""Seconds that a statement may take: more than the report of a large ledger needs."""

_T = TypeVar("_T")


def connected(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Connection:
    """A new connection, for SQLAlchemy's event `do_connect`."""
    return Connection.connect(*arguments, **{"connect_timeout": CONNECT_SECONDS, **options})


class Connection(psycopg.Connection[Any]):
    """A connection that is closed when the server does not answer in time."""

    def wait(self, gen: PQGen[_T], *options: Any, **named: Any) -> _T:
        """Wait for the server.

        Raises:
            psycopg.OperationalError: It did not answer in time.
        """
        try:
            return super().wait(_bounded(gen, ANSWER_SECONDS), *options, **named)
        except TimeoutError:
            self.close()
            raise psycopg.OperationalError(f"the server did not answer within {ANSWER_SECONDS:g} seconds") from None


def _bounded(work: PQGen[_T], seconds: float) -> PQGen[_T]:
    """`work`, for at most `seconds`. The driver resumes it several times a second while nothing arrives.

    Raises:
        TimeoutError: It did not end in time.
    """
    deadline = time.monotonic() + seconds
    try:
        wanted = next(work)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise TimeoutError
            wanted = work.send(ready)
    except StopIteration as end:
        result: _T = end.value
        return result
