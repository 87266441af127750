"""Hooks, and the log record of each call.

A hook is a function that gets a `CallEvent` when a call has ended. An exception in a hook is logged and does not affect
the call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeGuard

from anyrerank._core.types import Attempt, Document, RerankResponse
from anyrerank.errors import GuardrailRaisedError, RerankError

_log = logging.getLogger("anyrerank")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """A call that has ended. Its `repr` shows neither query nor documents.

    Attributes:
        provider, model: The model that was asked first; `response` has the one that answered.
        model_group: The name that a router was asked for; `None` without a router.
        query: The query that the guardrails returned; empty if they, or the check of the query, refused it.
        documents: The documents of the call.
        ids: The id of each document in LangChain, LlamaIndex or Haystack; empty without one of these.
        top_n: The `top_n` of the call.
        user, metadata: End user and tags of the call.
        started: Start of the call, in seconds since the epoch.
        seconds: Duration of the call, including retries and waits.
        attempts: Every attempt to send a request.
        response: The response, or `None`.
        error: The exception that the call raised, or would have raised without `on_error="passthrough"`, or `None`. It
            may be an `asyncio.CancelledError`.
    """

    provider: str
    model: str
    model_group: str | None = None
    query: str = field(repr=False)
    documents: Sequence[Document] = field(repr=False)
    ids: Sequence[str | None] = field(default=(), repr=False)
    top_n: int | None
    user: str | None
    metadata: Mapping[str, Any]
    started: float
    seconds: float
    attempts: tuple[Attempt, ...]
    response: RerankResponse | None = field(repr=False)
    error: BaseException | None

    @property
    def cost(self) -> float | None:
        """US dollars, or `None` if unknown."""
        return self.response.cost if self.response else None


Hook: TypeAlias = Callable[[CallEvent], object]
"""A function that is called with each call when it has ended; its result is ignored."""


def has_listeners(hooks: Sequence[Hook], error: BaseException | None) -> bool:
    """Whether a call that ended with `error`, or without one, has a hook or is logged."""
    return bool(hooks) or _log.isEnabledFor(_level(error))


def notify(event: CallEvent, hooks: Sequence[Hook]) -> None:
    """Log a call and pass it to the hooks."""
    logged = _log.isEnabledFor(_level(event.error))
    listeners: Sequence[Hook] = (LogCalls(), *hooks) if logged else hooks
    for hook in listeners:
        try:
            hook(event)
        except Exception as error:  # noqa: BLE001  a user's function must not break the call
            name = getattr(hook, "__name__", type(hook).__name__)
            _log.warning("hook %s raised %s, which was ignored", name, type(error).__name__)


def _level(error: BaseException | None) -> int:
    return logging.WARNING if isinstance(error, Exception) else logging.INFO


@dataclass(frozen=True, slots=True)
class LogCalls:
    """Logs each call, failed and degraded calls as warnings and others at INFO.

    `record.anyrerank` is a mapping of the details.

    Without this hook, the logger `anyrerank` does the same, without query and documents.

    Attributes:
        content: Whether the mapping holds the query and the documents.
    """

    content: bool = False

    def __call__(self, event: CallEvent) -> None:
        """Log a call."""
        details = summary(event)
        if self.content:
            details |= {"query": event.query, "texts": list(event.documents)}
        _log.log(
            _level(event.error),
            "rerank %s/%s: %d documents, %.3f s, %d attempts%s%s",
            event.provider,
            event.model,
            len(event.documents),
            event.seconds,
            len(event.attempts),
            _fallback(event),
            _reason(event),
            extra={"anyrerank": details},
        )


def _fallback(event: CallEvent) -> str:
    """Which model answered, if not the one that was asked first."""
    answered_by = event.response and event.response.answered_by
    return "" if answered_by in (None, f"{event.provider}/{event.model}") else f", answered by {answered_by}"


def _reason(event: CallEvent) -> str:
    """The end of a log line: the class of the error; if it is ours, also its message, status and request id."""
    error = event.error
    if error is None:
        return ""
    replaced = ", reranking failed; returning the incoming order: " if event.response else ", "
    return replaced + type(error).__name__ + (f": {error}" if _is_loggable(error) else "")


def _is_loggable(error: BaseException | None) -> TypeGuard[RerankError]:
    """Whether the message of an error can be logged: other libraries and guardrails may quote the query in theirs."""
    return isinstance(error, RerankError) and not isinstance(error, GuardrailRaisedError)


def summary(event: CallEvent) -> dict[str, Any]:
    """The details of a call without query and documents; unknown values are left out."""
    response, error = event.response, event.error
    ours = error if _is_loggable(error) else None
    billed = response.meta.billed_units if response else None
    known = {
        "provider": event.provider,
        "model": event.model,
        "model_group": event.model_group,
        "documents": len(event.documents),
        "top_n": event.top_n,
        "seconds": event.seconds,
        "attempts": [attempt.model_dump(exclude_none=True, exclude_defaults=True) for attempt in event.attempts],
        "user": event.user,
        "metadata": dict(event.metadata) or None,
        "error": None if error is None else type(error).__name__,
        "message": ours.message if ours else None,
        "status": ours.status_code if ours else None,
        "answered_by": response and response.answered_by,
        "results": len(response.ranking) if response else None,
        "request_id": response.request_id if response else ours and ours.request_id,
        "search_units": billed.search_units if billed else None,
        "total_tokens": billed.total_tokens if billed else None,
        "cost": event.cost,
        "cost_estimated": (response and response.cost_estimated) or None,
        "cached": (response and response.cached) or None,
        "saved": response.saved if response and response.cached else None,
        "degraded": (response and response.degraded) or None,
    }
    return {name: value for name, value in known.items() if value is not None}
