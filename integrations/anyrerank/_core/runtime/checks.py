"""The checks of both drivers before they perform an effect."""

from __future__ import annotations

from typing import Any

from anyrerank._core.runtime.deadline import Deadline, timed_out
from anyrerank._core.runtime.effects import Sleep
from anyrerank._core.runtime.messages import HttpRequest

LOOK_UP = "a credential look-up, a guardrail or a cache took too long"
IDENTICAL = "an identical request was still in flight"


def no_sender(request: HttpRequest, _: Deadline) -> Any:
    """The sender of flows that send nothing."""
    raise AssertionError(f"this flow has no sender: {request}")


def check_time_for(effect: Sleep, deadline: Deadline) -> None:
    """Raise if `deadline` would pass during a wait."""
    if not deadline.allows(effect.seconds):
        raise effect.otherwise or timed_out(deadline, "the provider was still working")


def check_not_passed(deadline: Deadline) -> None:
    """Raise if no time is left to start something."""
    if deadline.passed:
        raise timed_out(deadline, "no time was left for the work on this machine")
