"""Calls for the tests of the ledger, and what processes do that these tests start, kill and fork."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any
from unittest.mock import patch

from anyrerank._core.types import Attempt, BilledUnits, Meta, RerankResponse, Results
from anyrerank.hooks import CallEvent
from anyrerank.ledger import Ledger, store

COHERE = "cohere/rerank-v3.5"
NOON = 1_793_534_400.0
"""2026-11-01 12:00 of UTC, in seconds since 1970."""


def tried(deployment: str = COHERE, **known: Any) -> Attempt:
    """A try, by default one that went well and cost 0.002 dollars."""
    return Attempt(**{"deployment": deployment, "status": 200, "seconds": 0.5, "cost": 0.002, **known})


def answer(attempts: Sequence[Attempt] = (), **known: Any) -> RerankResponse:
    """What the last of the tries gave."""
    provider, _, model = (attempts[-1].deployment if attempts else COHERE).partition("/")
    meta = Meta(billed_units=BilledUnits(search_units=1)) if attempts else Meta()
    return RerankResponse(
        **{"id": "c-1", "results": Results(), "meta": meta, "provider": provider, "model": model, **known}
    )


def call(
    user: str | None = None,
    attempts: Sequence[Attempt] | None = None,
    *,
    response: RerankResponse | None = None,
    error: BaseException | None = None,
    metadata: Mapping[str, Any] | None = None,
    started: float = NOON,
    **known: Any,
) -> CallEvent:
    """A call that is over, by default one of one try that went well."""
    tries = (tried(),) if attempts is None else tuple(attempts)
    if response is None and error is None:
        response = answer(tries)
    event: dict[str, Any] = {"provider": "cohere", "model": "rerank-v3.5", "query": "a secret", "top_n": None, **known}
    return CallEvent(
        **{"documents": ["secret one", "secret two"], **event},
        user=user,
        metadata=metadata or {},
        started=started,
        seconds=0.75,
        attempts=tries,
        response=response,
        error=error,
    )


def record_for_ever(db: str, name: str, acknowledged: Connection) -> None:
    """Tell of every call once the hook has returned, until somebody ends this process."""
    ledger = Ledger(db, interval=0.005)
    number = 0
    while True:
        ledger(call(f"{name}-{number}"))
        acknowledged.send_bytes(b"%d" % number)
        number += 1


def record(db: str, name: str, calls: int, together: Barrier) -> None:
    """Record calls, at the same time as others."""
    together.wait()
    with Ledger(db, interval=0.005) as ledger:
        for number in range(calls):
            ledger(call(f"{name}-{number}"))


def record_on_both_sides_of_a_fork(db: str) -> None:
    """Record before a fork, in the child after it, and in the parent when the child is gone."""
    ledger = Ledger(db, interval=60.0)
    ledger(call("before"))
    child = os.fork()
    ledger(call("child" if child == 0 else "parent"))
    if child == 0:
        ledger.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ledger(call("parent again"))
    ledger.close()
    sys.exit(os.waitstatus_to_exitcode(status))


def record_in_children(db: str) -> None:
    """Record in children that end as those of `multiprocessing` do, and tell by the exit code what was counted."""
    ledger = Ledger(db, interval=60.0)
    for number in range(3):
        child = os.fork()
        if child == 0:
            ledger(call(f"child {number}"))
            os._exit(0)
        os.waitpid(child, 0)
    (spend,) = ledger.spend(())
    os._exit(spend.calls)


def fork_while_the_database_is_locked(db: str) -> None:
    """Fork while a thread of the ledger waits for somebody else, who is not done before that."""
    ledger = Ledger(db, interval=60.0, patience=20.0)
    ledger(call("ann"))
    waiting, over = threading.Event(), threading.Event()

    def wait(_: float) -> None:
        waiting.set()
        over.wait(60)

    with patch.object(store, "sleep", wait), closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer = threading.Thread(target=ledger.flush)
        writer.start()
        waiting.wait(60)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        held = writer.is_alive()
        other.execute("ROLLBACK")
        over.set()
        writer.join()
    ledger.close()
    sys.exit(0 if held else 1)


if __name__ == "__main__":  # ends as a program does that has never heard of `close`
    hook = Ledger(sys.argv[1], interval=60.0)
    for place in range(int(sys.argv[2])):
        hook(call(f"user-{place}"))
