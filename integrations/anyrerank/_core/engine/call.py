"""What is the same for every model, batch and try of one call, and what becomes of it at the end."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from anyrerank._core.engine.options import Options, checked_query
from anyrerank._core.engine.ranking import results
from anyrerank._core.engine.retry import RetryPolicy, within
from anyrerank._core.engine.score_cache import NOTHING_SAVED, Saved
from anyrerank._core.pricing import MAYBE_BILLED, total
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer, Attempt, Document, Meta, RerankRequest, RerankResponse, Results
from anyrerank.errors import RerankError
from anyrerank.guardrails import Guardrail, guarded
from anyrerank.hooks import CallEvent

T = TypeVar("T")

_log = logging.getLogger("anyrerank")


@dataclass(slots=True, kw_only=True)
class Call:
    """One call. Query and documents are there once they are checked.

    Attributes:
        provider, model: What is asked first.
        model_group: The name that a router was asked for.
        concurrency: Most requests under way at once.
        policy: Clocks and chance, and how often to try again.
        began: Time of the policy's clock.
        started: Seconds since 1970.
        attempts: Every try of an exchange, as it ends.
        under_way: Requests that were begun and did not end: a failure beside them cuts them off.
        saved: What was not paid for.
    """

    provider: str
    model: str
    model_group: str | None = None
    options: Options
    concurrency: int
    policy: RetryPolicy
    began: float
    started: float
    query: str = ""
    documents: Sequence[Document] = ()
    attempts: list[Attempt] = field(default_factory=list)
    under_way: dict[object, RerankRequest] = field(default_factory=dict)
    saved: Saved = NOTHING_SAVED

    @property
    def deadline(self) -> float | None:
        """When everything must be over, by the policy's clock."""
        return None if self.options.timeout is None else self.began + self.options.timeout

    def guarded(self, query: str, guardrails: Sequence[Guardrail]) -> Flow[str]:
        """The query as some guardrails leave it, within the time of the call."""
        if not guardrails:
            return query
        return checked_query((yield from within(guarded(query, guardrails), self.deadline, self.policy.clock)))

    def followed(self, request: RerankRequest, flow: Flow[T]) -> Flow[T]:
        """`flow`, which asks for `request`; that is under way until the flow answers or fails."""
        mine = object()
        self.under_way[mine] = request
        try:
            result = yield from flow
        except Exception:
            del self.under_way[mine]
            raise
        del self.under_way[mine]
        return result

    def results(self, ordered: Sequence[tuple[int, float]], blank: Sequence[int]) -> Results:
        """The results in the form that the options ask for."""
        return results(
            ordered,
            blank,
            self.documents,
            top_n=self.options.top_n,
            with_documents=self.options.return_documents is not False,
        )

    def response(
        self, provider: str, model: str, answer: Answer, ranked: Results, model_id: str | None = None
    ) -> RerankResponse:
        """What the caller gets of the answer that `model` gave."""
        return RerankResponse(
            id=answer.id or f"rerank-{uuid.uuid4().hex}",
            results=ranked,
            meta=answer.meta,
            model=model,
            provider=provider,
            cost=total(self.attempts),
            cost_estimated=any(attempt.estimated or attempt.error in MAYBE_BILLED for attempt in self.attempts),
            latency=self.policy.clock() - self.began,
            attempts=tuple(self.attempts),
            request_id=answer.request_id,
            model_group=self.model_group,
            model_id=model_id,
            cached=self.saved.documents,
            saved=self.saved.dollars,
        )

    def degraded(self, error: RerankError) -> RerankResponse:
        """The incoming order, handed back because of `error`."""
        warning = f"reranking failed, the incoming order is handed back: {type(error).__name__}: {error.message}"
        _log.warning(warning)
        unranked = self.results((), range(len(self.documents)))
        response = self.response(self.provider, self.model, Answer(scores=(), meta=Meta(warnings=(warning,))), unranked)
        return response.model_copy(update={"degraded": True})

    def complete(self, error: RerankError) -> None:
        """Let an error say what was tried, and what was asked where it does not yet."""
        error.attempts = tuple(self.attempts)
        if error.provider is None:
            error.provider, error.model = self.provider, self.model

    def event(self, response: RerankResponse | None, error: BaseException | None) -> CallEvent:
        """What hooks hear of it."""
        return CallEvent(
            provider=self.provider,
            model=self.model,
            model_group=self.model_group,
            query=self.query,
            documents=self.documents,
            top_n=self.options.top_n,
            user=self.options.user,
            metadata=self.options.metadata or {},
            started=self.started,
            seconds=self.policy.clock() - self.began,
            attempts=tuple(self.attempts),
            response=response,
            error=error,
        )
