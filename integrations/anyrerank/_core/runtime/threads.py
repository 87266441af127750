"""Daemon threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def in_daemon_thread(function: Callable[[], Any]) -> Future[Any]:
    """Run `function` in a thread that neither the interpreter nor an event loop waits for when it ends."""
    future: Future[Any] = Future()
    run_in_context = contextvars.copy_context().run

    def work() -> None:
        try:
            future.set_result(run_in_context(function))
        except BaseException as error:  # noqa: BLE001  raised where the future is read
            future.set_exception(error)

    threading.Thread(target=work, name="anyrerank", daemon=True).start()
    return future
