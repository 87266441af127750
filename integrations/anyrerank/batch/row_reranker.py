"""Reranking one row, with retries until it is answered or fails for good."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from anyrerank._core.client import BaseReranker, Configured
from anyrerank._core.engine import causes, is_final, retryable
from anyrerank._core.limits import Limit
from anyrerank._core.types import Attempt, RerankResponse
from anyrerank.batch.outcomes import Outcome, answered, failed
from anyrerank.batch.pace import Pace
from anyrerank.batch.row_throttle import RowThrottle
from anyrerank.batch.rows import Row
from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    BudgetExceededError,
    RateLimitError,
    RerankError,
    StateUnavailableError,
)

_TRIES = 10
"""Maximum tries of a row that fails while others are answered: the row is then the cause, not the server."""

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_RETRIES_OF_A_PART = 8

HOPELESS = 20
"""Consecutive rows that failed for a reason outside of them, after which nothing more is sent."""


class GaveUpError(Exception):
    """A row failed for a reason that is not its own, so the next ones may fail as well.

    Attributes:
        outcome: What is written for the row, if the run goes on.
        at_once: Whether no further row can succeed.
    """

    def __init__(self, outcome: Outcome, *, at_once: bool = False) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome
        self.at_once = at_once


class RowReranker:
    """Asks a reranker for the rows of a run.

    Args:
        reranker: Whom to ask.
        pace: When to ask.
        max_wait: Seconds for which a row is tried again while the server is unavailable or limits the rate.
        overrides: Options for every call, such as a budget.
        limit: What the requests wait for, in addition to the limit that the reranker has.
        is_proven: Whether rows were answered before, so that one that is refused is to blame itself.

    Attributes:
        is_proven: As given.
    """

    def __init__(
        self,
        reranker: BaseReranker,
        pace: Pace,
        max_wait: float,
        overrides: Mapping[str, Any],
        *,
        limit: Limit | None,
        is_proven: bool,
    ) -> None:
        # One request of a row at a time: so as many requests are in flight as rows.
        options = {"return_documents": False, "on_error": "raise", "max_concurrency": 1, "max_retries": 0}
        self._reranker = Configured(reranker, {**overrides, **options})
        self._pace = pace
        self._max_wait = max_wait
        self.is_proven = is_proven
        self._limits = [each for each in (reranker.options.limit, limit) if each is not None]

    async def outcome(self, row: Row) -> Outcome:
        """The outcome of a row.

        Raises:
            GaveUpError: It failed for a reason that is not its own.
            Stopped: The run stops before the row was answered.
        """
        if row.problem is not None:
            return failed(row.problem)
        attempts: list[Attempt] = []
        options = dict(row.options)
        began, answers, tries = time.monotonic(), self._pace.answers, 0
        while True:
            try:
                response = await self._asked(row, options)
            except RerankError as error:
                tries += 1
                attempts += error.attempts
                if is_final(error) or self._is_suspect(error):
                    raise GaveUpError(failed(error, attempts), at_once=_is_budget(error)) from None
                if (passing := _passing(error)) is None:
                    return failed(error, attempts)
                if tries >= _TRIES and self._pace.answers > answers and not _is_of_all(passing):
                    return failed(error, attempts)
                if _is_partly_answered(error.attempts):
                    options["max_retries"] = _RETRIES_OF_A_PART  # what was answered is not asked for again
                left = began + self._max_wait - time.monotonic()
                wait = self._pace.refused(passing.retry_after) if _is_of_all(passing) else back_off(tries)
                if wait > left:
                    raise GaveUpError(failed(error, attempts)) from None
            else:
                attempts += response.attempts
                if response.attempts:
                    self._pace.answered()
                return answered(response, attempts)
            if not _is_of_all(passing):
                await self._pace.rest(wait)

    async def _asked(self, row: Row, options: dict[str, Any]) -> RerankResponse:
        """The answer to one call, at the turn of the row."""
        await self._pace.enter()
        try:
            if self._limits:
                options["limit"] = RowThrottle(self._limits, self._pace)
            return await self._reranker.arerank(row.query, row.documents, **options)
        finally:
            self._pace.leave()

    def _is_suspect(self, error: RerankError) -> bool:
        """Whether the server may be the wrong one: it answers with nonsense, or refused every row so far."""
        refused = isinstance(error, BadRequestError) and error.status_code is not None
        is_first = refused and not self.is_proven and not self._pace.answers
        return isinstance(error, APIResponseValidationError) or is_first


def _is_budget(error: RerankError) -> bool:
    return all(isinstance(each, BudgetExceededError) for each in causes(error))


def _passing(error: RerankError) -> RerankError | None:
    """The error after which the same row may be answered later: of several, the one with the shortest wait."""
    passing = [
        each for each in causes(error) if retryable(each) or isinstance(each, RateLimitError | StateUnavailableError)
    ]
    return min(passing, key=lambda each: each.retry_after or 0.0, default=None)


def _is_of_all(error: RerankError) -> bool:
    """Whether other rows would get the error at this moment too, so that all of them wait."""
    return (
        isinstance(error, RateLimitError | APIConnectionError | StateUnavailableError) or error.retry_after is not None
    )


def _is_partly_answered(attempts: Sequence[Attempt]) -> bool:
    return any(attempt.error is None for attempt in attempts)


def back_off(tries: int) -> float:
    """Seconds to wait after the last of some tries."""
    bound = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tries - 1, 32))
    return bound * (0.5 + random.random() / 2)  # noqa: S311  jitter
