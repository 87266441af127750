"""Flows, their effects, and the two drivers that run them."""

from anyrerank._core.runtime.arguments import checked_path, did_you_mean, is_number
from anyrerank._core.runtime.async_driver import arun
from anyrerank._core.runtime.deadline import NO_DEADLINE, Deadline, timed_out
from anyrerank._core.runtime.effects import Blocking, Effect, Flow, Gather, Invoke, Scope, Sender, Sleep, Wait
from anyrerank._core.runtime.extras import check_installed, import_optional
from anyrerank._core.runtime.fork_lock import ForkLock
from anyrerank._core.runtime.forks import reset_in_child
from anyrerank._core.runtime.loops import closed_with_loop
from anyrerank._core.runtime.messages import HttpRequest, HttpResponse
from anyrerank._core.runtime.references import REFERENCE, environment_variable, first_unset, resolved, resolved_settings
from anyrerank._core.runtime.sync_driver import run
from anyrerank._core.runtime.timeouts import finished_within, timeout
from anyrerank._core.runtime.trace import traced, tracing, untraced

__all__ = [
    "NO_DEADLINE",
    "REFERENCE",
    "Blocking",
    "Deadline",
    "Effect",
    "Flow",
    "ForkLock",
    "Gather",
    "HttpRequest",
    "HttpResponse",
    "Invoke",
    "Scope",
    "Sender",
    "Sleep",
    "Wait",
    "arun",
    "check_installed",
    "checked_path",
    "closed_with_loop",
    "did_you_mean",
    "environment_variable",
    "finished_within",
    "first_unset",
    "import_optional",
    "is_number",
    "reset_in_child",
    "resolved",
    "resolved_settings",
    "run",
    "timed_out",
    "timeout",
    "traced",
    "tracing",
    "untraced",
]
