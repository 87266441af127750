"""The terms and the load of a deployment, from which follows when it is available."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from anyrerank._core.routing.window import MINUTE, Need, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings of a deployment in the `model_list`.

    Attributes:
        weight: Its share of the calls, relative to the weights of the others.
        rpm, tpm: Requests and tokens that it takes per minute.
        order: Deployments with a lower order are used as long as one of them is available.
        timeout: Seconds for one attempt.
    """

    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    order: int = 1
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """The recent use of a deployment. Times are on the clock of the `RoutingState`.

    Attributes:
        in_flight: Number of calls in flight.
        cooling_until: When its cooldown ends.
        retry_at: The earliest time that the server itself reported; never after `cooling_until`.
        half_open: Whether it cooled down because it failed, and has not answered since: it gets one trial call at a
            time. A deployment that was only rate limited closes again when its cooldown ends.
        latency: Mean seconds of the last answers; 0 if unknown, so that it is tried.
        requests, tokens: Used in the last minute.
        slots: When `requests` and `tokens` were used, the oldest first.
    """

    in_flight: int = 0
    cooling_until: float = -math.inf
    retry_at: float = -math.inf
    half_open: bool = False
    latency: float = 0.0
    requests: int = 0
    tokens: int = 0
    slots: Sequence[Slot] = ()


class Risk(IntEnum):
    """The kinds of deployments that a call accepts when no better one is available."""

    NONE = 0
    COOLING = 1
    """A deployment that is cooling down because it failed; never before the time that its server reported."""
    HALF_OPEN = 2
    """A deployment that another call is already trying."""


def available_at(terms: Terms, load: Load, need: Need, now: float, risk: Risk = Risk.NONE) -> float:
    """When a deployment can take a call: `now` or later; infinity while another call tries it."""
    when = max(now, load.retry_at if risk else load.cooling_until)
    if terms.rpm is not None or terms.tpm is not None:
        when = max(when, _room_at(load, need, now, terms.rpm or math.inf, terms.tpm or math.inf))
    tried_by_another = load.half_open and load.in_flight > 0 and risk < Risk.HALF_OPEN
    return math.inf if tried_by_another and when <= now else when


def _room_at(load: Load, need: Need, now: float, rpm: float, tpm: float) -> float:
    """When the limits leave room for `need`; a call that is above a limit by itself waits for an empty minute."""
    requests = load.requests + need.requests - max(rpm, need.requests)
    tokens = load.tokens + need.tokens - max(tpm, need.tokens)
    when = now
    for slot in load.slots:
        if requests <= 0 and tokens <= 0:
            break
        requests, tokens, when = requests - slot.requests, tokens - slot.tokens, slot.last + MINUTE
    return when
