"""What is told of every call when it is over: to hooks, and as one record to the logger `anyrerank`.

A hook is a function that gets a `CallEvent`. One that fails is logged, and never breaks a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from anyrerank._core.types import Attempt, Document, RerankResponse

_log = logging.getLogger("anyrerank")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """A call that is over. Query and documents are here for those who want them, and in no `repr`.

    Attributes:
        provider, model: What was asked first; `response` says what answered.
        model_group: The name that a router was asked for, or `None` without a router.
        query: As the guardrails left it; empty when they stopped it, or when it was no query.
        documents: Those of the caller.
        top_n: How many were wanted.
        user, metadata: What the caller said of the call.
        started: Seconds since 1970.
        seconds: How long it took, waiting and retries included.
        attempts: Every try of an exchange.
        response: What the caller gets, or `None`.
        error: What the caller gets instead; `asyncio.CancelledError` and the like among them.
    """

    provider: str
    model: str
    model_group: str | None = None
    query: str = field(repr=False)
    documents: Sequence[Document] = field(repr=False)
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
        """US dollars, or `None` when that is not known."""
        return self.response.cost if self.response else None


Hook: TypeAlias = Callable[[CallEvent], object]
"""Gets every call when it is over; what it returns is ignored."""


def is_listened_to(hooks: Sequence[Hook], *, failed: bool) -> bool:
    """Whether a hook or the log wants to know of a call."""
    return bool(hooks) or _log.isEnabledFor(_level(failed=failed))


def tell(event: CallEvent, hooks: Sequence[Hook]) -> None:
    """Tell the logger and the hooks."""
    logged = _log.isEnabledFor(_level(failed=event.error is not None))
    listeners: Sequence[Hook] = (LogCalls(), *hooks) if logged else hooks
    for hook in listeners:
        try:
            hook(event)
        except Exception as error:  # noqa: BLE001  it is the caller's function, and no reason to lose an answer
            name = getattr(hook, "__name__", type(hook).__name__)
            _log.warning("the hook %s failed with %s; the call went on", name, type(error).__name__)


def _level(*, failed: bool) -> int:
    return logging.WARNING if failed else logging.INFO


@dataclass(frozen=True, slots=True)
class LogCalls:
    """Writes a record for each call, at INFO or, for one that failed, at WARNING; `record.anyrerank` is a mapping.

    The logger `anyrerank` does this by itself, without content, where it is enabled for INFO.

    Attributes:
        content: Whether query and documents are in the mapping.
    """

    content: bool = False

    def __call__(self, event: CallEvent) -> None:
        """Write the record of one call."""
        known = summary(event)
        if self.content:
            known |= {"query": event.query, "texts": list(event.documents)}
        failed = event.error is not None
        _log.log(
            _level(failed=failed),
            "rerank %s/%s: %d documents, %.3f s, %d tries%s",
            event.provider,
            event.model,
            len(event.documents),
            event.seconds,
            len(event.attempts),
            f", {known['error']}" if failed else "",
            extra={"anyrerank": known},
        )


def summary(event: CallEvent) -> dict[str, Any]:
    """What is known of a call, without query and documents; a number that is not known is left out."""
    response = event.response
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
        "error": None if event.error is None else type(event.error).__name__,
        "answered_by": f"{response.provider}/{response.model}" if response else None,
        "results": len(response.results) if response else None,
        "request_id": response.request_id if response else getattr(event.error, "request_id", None),
        "search_units": billed.search_units if billed else None,
        "total_tokens": billed.total_tokens if billed else None,
        "cost": event.cost,
        "cost_estimated": (response and response.cost_estimated) or None,
        "cached": (response and response.cached) or None,
        "saved": response.saved if response and response.cached else None,
        "degraded": (response and response.degraded) or None,
    }
    return {name: value for name, value in known.items() if value is not None}
