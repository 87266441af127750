"""The state of one call, from its arguments to its response."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from anyrerank._core.engine.candidates import NO_CANDIDATES, Candidates
from anyrerank._core.engine.options import Options
from anyrerank._core.engine.ranking import results
from anyrerank._core.engine.score_cache import NOTHING_SAVED, Saved
from anyrerank._core.pricing import MAYBE_BILLED, total_cost
from anyrerank._core.runtime import Deadline
from anyrerank._core.types import (
    NO_SPANS,
    Answer,
    Attempt,
    Document,
    Ranking,
    RerankRequest,
    RerankResponse,
    Scale,
    Spans,
)
from anyrerank.errors import RerankError
from anyrerank.hooks import CallEvent


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, from its arguments to its outcome.

    Attributes:
        provider, model: The model that is asked first.
        model_group: The name that a router was asked for.
        options: Merged once, when the call was prepared.
        query: The checked query, later what the guardrails returned; empty if they refused it.
        documents: The checked documents.
        ids: The id of each document, if a framework gives it one.
        candidates: The documents to send.
        error: Why the call will fail before anything is sent, or `None`.
        replaced: The error in place of which `on_error="passthrough"` returns the documents unranked.
        concurrency: Maximum number of concurrent requests.
        deadline: When the call must have finished.
        began: Start on the monotonic clock.
        started: Start in seconds since the epoch.
        attempts: Every attempt to send a request, in the order in which they ended.
        in_flight: Requests that were sent and not answered, because a concurrent failure cut them off.
        saved: What the score cache saved.
    """

    provider: str
    model: str
    model_group: str | None = None
    options: Options
    query: str = ""
    documents: Sequence[Document] = ()
    ids: Sequence[str | None] = ()
    candidates: Candidates = NO_CANDIDATES
    error: RerankError | None = None
    replaced: RerankError | None = None
    concurrency: int
    deadline: Deadline
    began: float = field(default_factory=time.monotonic)
    started: float = field(default_factory=time.time)
    attempts: list[Attempt] = field(default_factory=list)
    in_flight: dict[object, RerankRequest] = field(default_factory=dict)
    saved: Saved = NOTHING_SAVED

    def refuse(self, error: RerankError) -> None:
        """Let the call fail with `error` before anything is sent, and delete its query."""
        self.error, self.query = error, ""

    def results(self, ordered: Sequence[tuple[int, float]], blank: Sequence[int], spans: Spans = NO_SPANS) -> Ranking:
        """The results, with `top_n` and `return_documents` applied."""
        return results(
            ordered,
            blank,
            self.documents,
            top_n=self.options.top_n,
            with_documents=self.options.return_documents is not False,
            spans=spans,
        )

    def response(
        self,
        provider: str,
        model: str,
        answer: Answer,
        ranked: Ranking,
        *,
        model_id: str | None = None,
        scale: Scale = "unknown",
    ) -> RerankResponse:
        """The response of the call."""
        return RerankResponse(
            id=answer.id,
            results=ranked,
            meta=answer.meta,
            model=model,
            provider=provider,
            cost=total_cost(self.attempts),
            cost_estimated=any(attempt.estimated or attempt.error in MAYBE_BILLED for attempt in self.attempts),
            latency=time.monotonic() - self.began,
            attempts=tuple(self.attempts),
            request_id=answer.request_id,
            score_scale=scale,
            model_group=self.model_group,
            model_id=model_id,
            cached=self.saved.documents,
            saved=self.saved.dollars,
        )

    def unranked(self, answer: Answer = Answer(scores=())) -> RerankResponse:  # noqa: B008  frozen
        """A degraded response: the incoming order, without scores."""
        ranked = self.results((), range(len(self.documents)))
        response = self.response(self.provider, self.model, answer, ranked)
        return response.model_copy(update={"degraded": True})

    def describe_failure(self, error: RerankError) -> None:
        """Add the attempts to an error, and the model if it has none."""
        error.attempts = tuple(self.attempts)
        if error.provider is None:
            error.provider, error.model = self.provider, self.model

    def event(self, response: RerankResponse | None, error: BaseException | None) -> CallEvent:
        """The event for the hooks."""
        return CallEvent(
            provider=self.provider,
            model=self.model,
            model_group=self.model_group,
            query=self.query,
            documents=self.documents,
            ids=self.ids,
            top_n=self.options.top_n,
            user=self.options.user,
            metadata=self.options.metadata or {},
            started=self.started,
            seconds=time.monotonic() - self.began,
            attempts=tuple(self.attempts),
            response=response,
            error=error,
        )
