"""What is known of a deployment: its terms, and what happened there lately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a deployment is used.

    Attributes:
        weight: Its share of the calls, relative to the weights of the others.
        rpm, tpm: Requests and tokens that it takes per minute.
        order: Deployments with a lower one are used as long as one of them is available.
        timeout: Seconds for one attempt.
    """

    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    order: int = 1
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """About how much a call will use."""

    requests: int = 1
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """What was used within a second; it counts until its last use is a minute old."""

    last: float
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Load:
    """What happened at a deployment lately. Times are of the clock of the `RoutingState`.

    Attributes:
        in_flight: Calls in flight.
        cooling_until: When its cooldown ends.
        retry_at: The earliest time that the server itself named; never after `cooling_until`.
        half_open: Whether it cooled down because it failed, and has not answered since: it gets one trial call at a
            time. A deployment that was only rate limited closes again when its cooldown ends.
        latency: Mean seconds of the last answers; 0 if unknown, so that it is tried.
        requests, tokens: Used in the last minute.
        slots: What makes these up, if the deployment has a limit.
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
    """What a call accepts when no better deployment is available."""

    NONE = 0
    COOLING = 1
    """One that is cooling down because it failed; never one whose server named a time, or that is at its limit."""
    HALF_OPEN = 2
    """One that another call is trying already."""


def available_at(terms: Terms, load: Load, need: Need, now: float, risk: Risk = Risk.NONE) -> float:
    """When a deployment can take a call: `now` or later; infinity while another call tries it."""
    when = max(now, load.retry_at if risk else load.cooling_until)
    if terms.rpm is not None or terms.tpm is not None:
        when = max(when, _room_at(load, need, now, terms.rpm or math.inf, terms.tpm or math.inf))
    tried_by_another = load.half_open and load.in_flight > 0 and risk < Risk.HALF_OPEN
    return math.inf if tried_by_another and when <= now else when


def _room_at(load: Load, need: Need, now: float, rpm: float, tpm: float) -> float:
    """When there is room for `need`; a call above a limit waits until nothing else counts."""
    requests = load.requests + need.requests - max(rpm, need.requests)
    tokens = load.tokens + need.tokens - max(tpm, need.tokens)
    when = now
    for slot in load.slots:
        if requests <= 0 and tokens <= 0:
            break
        requests, tokens, when = requests - slot.requests, tokens - slot.tokens, slot.last + _MINUTE
    return when
