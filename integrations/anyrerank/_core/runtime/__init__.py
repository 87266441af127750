"""Flows and the two drivers that run them."""

from anyrerank._core.runtime.arguments import checked_path, is_number
from anyrerank._core.runtime.async_driver import arun
from anyrerank._core.runtime.effects import DEADLOCK, Call, Do, Effect, Flow, Gather, Sleep, Through, Wait
from anyrerank._core.runtime.extras import needed
from anyrerank._core.runtime.forks import ForkLock
from anyrerank._core.runtime.messages import HttpRequest, HttpResponse
from anyrerank._core.runtime.sync_driver import run
from anyrerank._core.runtime.timeouts import timeout

__all__ = [
    "DEADLOCK",
    "Call",
    "Do",
    "Effect",
    "Flow",
    "ForkLock",
    "Gather",
    "HttpRequest",
    "HttpResponse",
    "Sleep",
    "Through",
    "Wait",
    "arun",
    "checked_path",
    "is_number",
    "needed",
    "run",
    "timeout",
]
