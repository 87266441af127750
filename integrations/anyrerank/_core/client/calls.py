"""The phases of a call: prepare it, run the guardrails, ask, and report the outcome.

`Reranker` goes through them at once. The framework adapters open their trace between `guarded` and `completed`, so that
a trace shows the query as the guardrails left it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from anyrerank._core.engine import (
    Call,
    blanks,
    candidates,
    checked_documents,
    checked_query,
    guarded_query,
    identity_key,
    order,
)
from anyrerank._core.runtime import Deadline, Flow, arun, run
from anyrerank._core.types import Answer, Document, Meta, RerankResponse, Results
from anyrerank.errors import BudgetExceededError, GuardrailRaisedError, RerankError
from anyrerank.hooks import is_listened_to, tell

if TYPE_CHECKING:
    from anyrerank._core.client.base import BaseReranker

T = TypeVar("T")

_log = logging.getLogger("anyrerank")


def prepared(
    reranker: BaseReranker, query: str, overrides: Mapping[str, Any], *, concurrency: int | None = None
) -> Call:
    """A call with its options merged, its query checked, and its deadline started.

    A query that is refused becomes the `error` of the call, which `completed` raises.

    Args:
        reranker: Whose call it is.
        query: As the caller gave it.
        overrides: Options of this call.
        concurrency: Replaces `max_concurrency`.

    Raises:
        BadRequestError: An option is wrong.
    """
    options = reranker._overridden(overrides)
    call = Call(
        provider=reranker.provider,
        model=reranker.model,
        model_group=reranker.model_group,
        options=options,
        concurrency=concurrency or options.max_concurrency,
        deadline=Deadline.after(options.timeout),
    )
    try:
        call.query = checked_query(query)
    except RerankError as error:
        call.refuse(error)
    return call


def add_documents(reranker: BaseReranker, call: Call, documents: Sequence[Document]) -> None:
    """Check the documents of a call and select those to send; a refusal becomes the `error` of the call."""
    if call.error is not None:
        return
    members, options = reranker._members(), call.options
    images = all(member.accepts_images for member in members)
    whole = any(member.kind.ranks_mappings for member in members)
    key = identity_key(options.rank_fields, whole=whole) if options.dedupe else None
    try:
        call.documents = checked_documents(documents)
        blank = blanks(call.documents, options.rank_fields, images=images)
    except RerankError as error:
        call.refuse(error)
        return
    call.candidates = candidates(call.documents, blank, key=key)


@contextmanager
def paused(call: Call) -> Iterator[None]:
    """Do not count the time inside, such as that of a retrieval, against the timeout of a call."""
    left, began = call.deadline.remaining(), time.monotonic()
    yield
    call.began += time.monotonic() - began
    if left is not None:
        call.deadline = Deadline(time.monotonic() + left, call.deadline.timeout)


def driven(reranker: BaseReranker, call: Call, flow: Flow[T]) -> T:
    """Run a flow of a call, synchronously."""
    return run(flow, reranker._transport.send, call.deadline)


async def adriven(reranker: BaseReranker, call: Call, flow: Flow[T]) -> T:
    """`driven`, on the running event loop."""
    return await arun(flow, reranker._transport.asend, call.deadline)


def responded(reranker: BaseReranker, call: Call) -> Flow[RerankResponse]:
    """All phases of a prepared call."""
    yield from guarded(call)
    return (yield from completed(reranker, call))


def guarded(call: Call) -> Flow[None]:
    """Run the guardrails; what they raise becomes the `error` of the call, which `completed` raises."""
    if call.error is not None or not call.options.guardrails:
        return
    try:
        call.query = yield from guarded_query(call.query, call.options.guardrails)
    except RerankError as error:
        call.refuse(error)


def completed(reranker: BaseReranker, call: Call) -> Flow[RerankResponse]:
    """Ask, and tell hooks and the log what became of the call.

    Raises:
        RerankError: The call was refused, or failed.
    """
    response, failure = None, None
    try:
        response = yield from _answered(reranker, call)
    except BaseException as error:
        failure = error
        if isinstance(error, RerankError):
            call.describe_failure(error)
        raise
    finally:
        if is_listened_to(call.options.hooks, failed=failure is not None):
            tell(call.event(response, failure), call.options.hooks)
    return response


def _answered(reranker: BaseReranker, call: Call) -> Flow[RerankResponse]:
    if call.error is not None:
        raise call.error
    if not call.documents:
        return call.response(call.provider, call.model, Answer(scores=()), Results())
    if not call.candidates.documents:
        return _all_blank(call)
    try:
        member, answer = yield from reranker._choose(call)
    except RerankError as error:
        if call.options.on_error == "raise" or isinstance(error, GuardrailRaisedError | BudgetExceededError):
            raise
        return _passed_through(call, error)
    options = call.options
    ordered = order(
        call.candidates.spread(answer.scores),
        scale=member.scale(options),
        score_mode=options.score_mode,
        threshold=options.score_threshold,
        fuse=member.fuse(options),
    )
    ranked = call.results(ordered, () if options.score_threshold is not None else call.candidates.blank)
    return call.response(member.provider, member.model, answer, ranked, model_id=member.model_id)


def _all_blank(call: Call) -> RerankResponse:
    """The unranked documents of a call that has none to send; a threshold drops them."""
    if call.options.score_threshold is None:
        return call.unranked()
    response = call.response(call.provider, call.model, Answer(scores=()), Results())
    return response.model_copy(update={"degraded": True})


def _passed_through(call: Call, error: RerankError) -> RerankResponse:
    warning = f"reranking failed, so the documents are returned in the incoming order: {type(error).__name__}: "
    warning += error.message
    _log.warning(warning)
    return call.unranked(Answer(scores=(), meta=Meta(warnings=(warning,))))
