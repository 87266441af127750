"""The run through a vendor's batch API: each chunk is submitted as a batch, and written down with its results.

What is submitted is noted before and after (`submissions.py`). So a run may end at any moment, and the next one goes on
with the batches that the vendor has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from anyrerank._core.engine import retryable
from anyrerank._core.pricing import sum_costs
from anyrerank.batch.batch_api import BatchApi
from anyrerank.batch.chunks import Chunks, Open
from anyrerank.batch.outcomes import failed
from anyrerank.batch.pace import Pace, Stopped
from anyrerank.batch.row_reranker import back_off
from anyrerank.batch.submissions import Submission, Submissions
from anyrerank.batch.voyage_batches import WAIT_AFTER_REFUSAL, Batch, Result, line, parameters_of, results_in
from anyrerank.errors import RateLimitError, RerankError

T = TypeVar("T")

_log = logging.getLogger("anyrerank")

_POLL_SECONDS = 30.0
_MOST_OPEN = 50
"""Batches of a run at a time: half of what the vendor allows an organisation."""
_TRIES = 3
"""Batches in which a row is sent that the vendor did not execute, or that failed there for a passing reason."""


class _FullError(Exception):
    """The vendor accepts no further batch at the moment."""


class _Requests(NamedTuple):
    """The requests of a chunk.

    Attributes:
        lines: Of the file.
        parameters: What they have in common.
        rows: How many rows they are of.
        dollars: What they will cost, about; `None` if the price is not known.
    """

    lines: list[bytes]
    parameters: dict[str, Any]
    rows: int
    dollars: float | None


class SubmittingRunner:
    """One run of a job through a batch API.

    Args:
        chunks: What is left to do.
        api: The batch API.
        submissions: What the vendor has, or may have.
        pace: Ends the waits when the run stops.
        max_wait: Seconds for which a request to the batch API is tried again.
        budget: US dollars for the job, over all runs, or `None`.

    Attributes:
        stopped: Why the run stopped, or `None`.
    """

    def __init__(
        self,
        chunks: Chunks,
        api: BatchApi,
        submissions: Submissions,
        pace: Pace,
        *,
        max_wait: float,
        budget: float | None,
    ) -> None:
        self._chunks = chunks
        self._api = api
        self._submissions = submissions
        self._pace = pace
        self._max_wait = max_wait
        self._budget = budget
        self._left = self._all_left()
        self._is_any_left = True
        self._full_until = 0.0
        self.stopped: str | None = None

    async def run(self) -> None:
        """Submit all chunks and write down their results, until there are none left or the run stops."""
        try:
            for each in [each for each in self._submissions.open.values() if self._chunks.is_done(each.key)]:
                self._submissions.collected(each)  # the last run ended before it noted this
            while not self._pace.stopped:
                await self._submit()
                is_news = await self._collect()
                self._chunks.show(waiting=self._submissions.rows)
                if not self._submissions.open and (self.stopped or not self._is_any_left):
                    break
                if not is_news:
                    await self._pace.rest(_POLL_SECONDS)
        except Stopped:
            pass
        except (OSError, RerankError) as error:
            self.stop(self._chunks.reason(error))
        finally:
            self._left.close()
            self._submissions.close()
        self._chunks.show(waiting=self._submissions.rows, now=True)

    def stop(self, why: str) -> None:
        """End; what the vendor has is left to the next run."""
        self.stopped = self.stopped or why
        self._pace.stop()

    def _all_left(self) -> Generator[Open, None, None]:
        return self._chunks.left(self._submissions.has, self._submissions.marks)

    async def _submit(self) -> None:
        """Submit as much as the vendor takes: first what an earlier run, or an earlier try, may have submitted."""
        try:
            for each in list(self._submissions.open.values()):
                if each.batch is None and time.monotonic() >= self._full_until:
                    await self._submit_again(each)
            while self._is_any_left and not self.stopped and time.monotonic() >= self._full_until:
                if len(self._submissions.open) >= _MOST_OPEN:
                    return
                opened = next(self._left, None)
                if opened is None:
                    self._is_any_left = False
                else:
                    await self._submit_chunk(opened)
        except _FullError:
            self._full_until = time.monotonic() + WAIT_AFTER_REFUSAL

    async def _submit_chunk(self, opened: Open) -> None:
        requests = await self._requests(opened)
        if requests is None:
            return
        budget, known = self._budget, self._chunks.tally.cost + self._submissions.dollars
        if budget is not None and known + (requests.dollars or 0.0) > budget * (1 + 1e-9):
            self.stopped = (
                f"the next {requests.rows:,} rows would cost about ${requests.dollars:,.4f}, which with ${known:,.4f} "
                f"so far is more than the budget of ${budget:,.4f}"
            )
            return
        submission = self._submissions.announce(opened.key, requests.rows, requests.dollars, opened.chunk.end)
        await self._send(submission, requests)

    async def _submit_again(self, submission: Submission) -> None:
        """Submit what is not known to be submitted, unless the vendor has it."""
        batch = await self._call(partial(self._api.vendor.find, submission.token))
        if batch is not None:
            self._submissions.submitted(submission, batch)
            return
        requests = await self._requests(self._chunks.again(submission.key, self._submissions.marks))
        if requests is None:
            self._submissions.collected(submission)
        else:
            await self._send(submission, requests)

    async def _send(self, submission: Submission, requests: _Requests) -> None:
        vendor, token, is_first = self._api.vendor, submission.token, True

        async def attempt() -> str:
            nonlocal is_first
            batch = None if is_first else await vendor.find(token)
            is_first = False
            try:
                return batch or await vendor.submit(requests.lines, requests.parameters, token)
            except RateLimitError:
                raise _FullError from None

        self._submissions.submitted(submission, await self._call(attempt))

    async def _requests(self, opened: Open) -> _Requests | None:
        """The requests for the rows of a chunk that are not done; `None` if none is left, and its part is written.

        A row that cannot be asked for is written down at once.
        """
        lines: list[bytes] = []
        parameters: dict[str, Any] | None = None
        dollars: list[float | None] = []
        for row in opened.chunk.rows:
            opened.read += 1
            if row.index in opened.journal.done:
                continue
            try:
                plan, bodies = self._api.plan(row)
            except RerankError as error:
                self._chunks.record(opened, row.index, failed(error))
                continue
            if not bodies and (outcome := await self._api.outcome(row)) is not None:
                self._chunks.record(opened, row.index, outcome)
                continue
            dollars.append(plan.dollars)
            for name, body in bodies.items():
                parameters = parameters or parameters_of(body)
                lines.append(line(name, body))
        self._end(opened)
        if parameters is None:
            return None
        return _Requests(lines, parameters, len(dollars), sum_costs(dollars))

    async def _collect(self) -> bool:
        """Write down the results of the batches that have ended, and say whether there were any."""
        is_news = False
        for each in sorted(self._submissions.open.values(), key=attrgetter("key")):
            if each.batch is None or self._pace.stopped:
                continue
            batch = await self._call(partial(self._api.vendor.get, each.batch))
            if batch.has_ended:
                is_news = True
                await self._write_down(each, batch)
        return is_news

    async def _write_down(self, submission: Submission, batch: Batch) -> None:
        results: dict[str, Result] = {}
        for file in batch.files:
            results.update(results_in(await self._call(partial(self._api.vendor.download, file))))
        self._api.answers.take(batch.id, results)
        is_last = not batch.is_broken_off and self._submissions.tries[submission.key] + 1 >= _TRIES
        opened = self._chunks.again(submission.key, self._submissions.marks)
        for row in opened.chunk.rows:
            opened.read += 1
            if row.index in opened.journal.done:
                continue
            if (outcome := await self._api.outcome(row, is_last=is_last)) is not None:
                self._chunks.record(opened, row.index, outcome)
        self._end(opened)
        self._submissions.collected(submission)
        if batch.is_broken_off:
            errors = f": {', '.join(batch.errors[:5])}" if batch.errors else ""
            self.stopped = self.stopped or f"the vendor reports batch {batch.id} as {batch.status}{errors}"
            return
        if not opened.is_done:
            self._left.close()
            self._left, self._is_any_left = self._all_left(), True
        await self._delete_files(batch)

    async def _delete_files(self, batch: Batch) -> None:
        """Delete the texts and the results that the vendor stores: what is needed of them is on the disk."""
        try:
            await self._api.vendor.delete([*filter(None, (batch.input,)), *batch.files])
        except RerankError as error:
            _log.warning("the files of batch %s stay at the vendor until they expire: %s", batch.id, error)

    def _end(self, opened: Open) -> None:
        """Close a chunk whose rows were read: with its part, if they are all done."""
        opened.is_read = True
        opened.journal.sync()
        if opened.is_done:
            self._chunks.finish(opened)
        else:
            opened.journal.close()

    async def _call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the batch API, and again after an error that passes.

        Raises:
            RerankError: It does not pass, or not in time.
            Stopped: The run stops during a wait.
        """
        until, tries = time.monotonic() + self._max_wait, 0
        while True:
            try:
                return await ask()
            except RerankError as error:
                tries += 1
                wait = back_off(tries) if error.retry_after is None else error.retry_after
                if not retryable(error) or time.monotonic() + wait > until:
                    raise
            await self._pace.rest(wait)
