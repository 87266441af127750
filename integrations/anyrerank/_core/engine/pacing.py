"""Waiting for rate limits before a request is sent."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.limits import Throttle
from anyrerank._core.runtime import Deadline, Flow, Scope
from anyrerank._core.types import Answer, RerankRequest, reported_tokens, tokens_to_read


def paced(flow: Flow[Answer], limits: Sequence[Throttle], request: RerankRequest, deadline: Deadline) -> Flow[Answer]:
    """Run the flow of a request once all limits allow it.

    Args:
        flow: Sends the request.
        limits: The limits to wait for.
        request: The request that is sent.
        deadline: The deadline of the call.

    Raises:
        LimitReachedError: It would have to wait for too long.
    """
    counted = any(limit.counts_tokens for limit in limits)
    estimate = tokens_to_read(request.prompt, request.documents, request.rank_fields) if counted else 0
    for limit in limits:
        yield from limit.wait(estimate, deadline.remaining())
    postponed = sum(limit.postponed for limit in limits)
    answer: Answer = (yield Scope(flow, postponed=postponed)) if postponed else (yield from flow)
    if counted and (tokens := reported_tokens(answer.meta)) is not None:
        for limit in limits:
            limit.correct(round(tokens) - estimate)
    return answer
