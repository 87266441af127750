"""The phases of a call: prepare it, run the guardrails, ask, and report the outcome.

`Reranker` runs all of them in sequence. The framework adapters open their trace between `guarded` and `completed`, so
that the trace shows the query that the guardrails returned.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from anyrerank._core.client.target import Target
from anyrerank._core.engine import (
    Call,
    Options,
    all_text,
    blanks,
    candidates,
    checked_documents,
    checked_query,
    guarded_options,
    guarded_query,
    identity_key,
    order,
)
from anyrerank._core.runtime import Deadline, Flow, arun, run
from anyrerank._core.types import Answer, Document, Meta, Ranking, RerankResponse
from anyrerank.errors import BadRequestError, BudgetExceededError, GuardrailRaisedError, RerankError
from anyrerank.hooks import has_listeners, notify

T = TypeVar("T")

_log = logging.getLogger("anyrerank")


def prepared(target: Target, query: str, overrides: Mapping[str, Any], *, concurrency: int | None = None) -> Call:
    """Start a call: merge its options, check its query, and set its deadline.

    The error for an invalid query is stored in the call, and raised by `completed`.

    Args:
        target: The deployments that may be asked.
        query: The query of the caller.
        overrides: Options of this call.
        concurrency: Replaces `max_concurrency`.

    Raises:
        BadRequestError: An option is invalid.
    """
    options = target._overridden(overrides)
    call = Call(
        provider=target.provider,
        model=target.model,
        model_group=target.model_group,
        options=options,
        concurrency=concurrency or options.max_concurrency,
        deadline=Deadline.after(options.timeout),
    )
    try:
        call.query = checked_query(query)
    except RerankError as error:
        call.refuse(error)
    return call


def add_documents(target: Target, call: Call, documents: Sequence[Document], ids: Sequence[str | None] = ()) -> None:
    """Check the documents of a call and choose those to send; an error is stored in the call.

    Args:
        target: The deployments that may be asked.
        call: The call.
        documents: The documents of the caller.
        ids: The id of each document in a framework.
    """
    if call.error is not None:
        return
    options, call.ids = call.options, ids
    try:
        call.documents = checked_documents(documents)
        plain = all_text(call.documents)
        blank = [] if plain else blanks(call.documents, options.rank_fields, images=target.accepts_images)
        if options.score_scale is not None:
            _check_scale(target, options)
    except RerankError as error:
        call.refuse(error)
        return
    key = None
    if options.dedupe:
        key = identity_key(options.rank_fields, whole=any(each.kind.ranks_mappings for each in target._members()))
    call.candidates = candidates(call.documents, blank, key=key)


def _check_scale(target: Target, options: Options) -> None:
    """Raise if `score_scale` is wrong everywhere; it counts where the scale is not known, such as at a fallback.

    Raises:
        BadRequestError: It is.
    """
    members = target._members()
    if all(member.contradicts(options) for member in members):
        raise BadRequestError(
            f"score_scale={options.score_scale!r} is not what the scores of {members[0].name} are: leave it out; it is "
            "for servers whose scale is not known"
        )


@contextmanager
def paused(call: Call) -> Iterator[None]:
    """Exclude the time inside the block, such as that of a retrieval, from the timeout and the latency of a call."""
    left, began = call.deadline.remaining(), time.monotonic()
    yield
    call.began += time.monotonic() - began
    if left is not None:
        call.deadline = Deadline(time.monotonic() + left, call.deadline.timeout)


def driven(target: Target, call: Call, flow: Flow[T]) -> T:
    """Run a flow of a call synchronously."""
    return run(flow, target._transport.send, call.deadline)


async def adriven(target: Target, call: Call, flow: Flow[T]) -> T:
    """`driven`, on the running event loop."""
    return await arun(flow, target._transport.asend, call.deadline)


def responded(target: Target, call: Call) -> Flow[RerankResponse]:
    """Run the guardrails of a call, and complete it."""
    return completed(target, call, guards=True)


def guarded(call: Call) -> Flow[None]:
    """Run the guardrails; their error is stored in the call, and raised by `completed`."""
    if call.error is not None:
        return
    try:
        call.query = yield from guarded_query(call.query, call.options.guardrails)
        call.options = yield from guarded_options(call.options)
    except RerankError as error:
        call.refuse(error)


def completed(target: Target, call: Call, *, guards: bool = False) -> Flow[RerankResponse]:
    """Ask, and pass the outcome to the hooks and the log.

    Args:
        target: The deployments that may be asked.
        call: The call, with its documents.
        guards: Whether to run the guardrails first.

    Raises:
        RerankError: The call was refused, or failed.
    """
    if guards and call.options.guardrails:
        yield from guarded(call)
    response, failure, hooks = None, None, call.options.hooks
    try:
        response = yield from _answered(target, call)
    except BaseException as error:
        failure = error
        if isinstance(error, RerankError):
            call.describe_failure(error)
        raise
    finally:
        failure = failure or call.replaced
        if has_listeners(hooks, failure):
            notify(call.event(response, failure), hooks)
    return response


def _answered(target: Target, call: Call) -> Flow[RerankResponse]:
    if call.error is not None:
        raise call.error
    if not call.documents:
        return call.response(call.provider, call.model, Answer(scores=()), Ranking())
    if not call.candidates.documents:
        return _all_blank(call)
    try:
        member, answer = yield from target._choose(call)
    except RerankError as error:
        if call.options.on_error == "raise" or isinstance(error, GuardrailRaisedError | BudgetExceededError):
            raise
        return _passed_through(call, error)
    options, threshold = call.options, member.threshold(call.options)
    ordered = order(
        call.candidates.spread(answer.scores),
        logits=member.returns_logits(options),
        threshold=threshold,
        fuse=member.fuse(options),
    )
    blank = () if threshold is not None else call.candidates.blank
    ranked = call.results(ordered, blank, call.candidates.spread_spans(answer.spans))
    scale = member.scale_of_results(options)
    return call.response(member.provider, member.model, answer, ranked, model_id=member.model_id, scale=scale)


def _all_blank(call: Call) -> RerankResponse:
    """The response for blank documents only: they come back unranked, unless a threshold drops them."""
    fields = call.options.rank_fields
    warning = f"no document has a {' or '.join(fields)} to rank on" if fields else "all documents are blank"
    _log.warning("nothing was ranked: %s", warning)
    answer = Answer(scores=(), meta=Meta(warnings=(warning,)))
    if call.options.score_threshold is None:
        return call.unranked(answer)
    response = call.response(call.provider, call.model, answer, Ranking())
    return response.model_copy(update={"degraded": True})


def _passed_through(call: Call, error: RerankError) -> RerankResponse:
    """The unranked documents of a call that failed; the record of the call is a warning."""
    call.describe_failure(error)
    call.replaced = error
    warning = f"reranking failed; returning the incoming order: {type(error).__name__}: {error.message}"
    return call.unranked(Answer(scores=(), meta=Meta(warnings=(warning,))))
