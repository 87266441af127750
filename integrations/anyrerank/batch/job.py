"""`Job`: its checks before anything is sent, and its run."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank._core.client import BaseReranker
from anyrerank._core.pricing import Budget
from anyrerank.batch.batch_api import BatchApi
from anyrerank.batch.chunks import Chunks, Output, Work
from anyrerank.batch.estimate import Estimate, sampled
from anyrerank.batch.fingerprint import fingerprint_of
from anyrerank.batch.folder import Folder
from anyrerank.batch.journal import outcomes_in
from anyrerank.batch.manifest import Manifest, ManifestWriter, input_file
from anyrerank.batch.pace import Pace
from anyrerank.batch.progress import Meter
from anyrerank.batch.report import Report
from anyrerank.batch.row_reranker import RowReranker
from anyrerank.batch.runner import Runner
from anyrerank.batch.settings import Settings, limit_of
from anyrerank.batch.signals import stop_on_signals
from anyrerank.batch.source import Inputs, input_files, refuse_url
from anyrerank.batch.submissions import Submissions
from anyrerank.batch.submitting import SubmittingRunner
from anyrerank.batch.tally import Tally
from anyrerank.errors import BudgetExceededError, UnknownPriceError


class Job:
    """A job, as far as it is known before anything is sent or written.

    Raises:
        RerankError: It cannot be run: a wrong argument, a missing key, no input, or a folder that holds another job.
    """

    def __init__(self, inputs: Inputs, out: str | PathLike[str], reranker: BaseReranker, settings: Settings) -> None:
        settings.check()
        refuse_url(str(out))
        self.files = input_files(inputs)
        reranker.check()
        self.settings = settings
        self.api = BatchApi(reranker) if settings.via == "batch-api" else None
        self.reranker = reranker if self.api is None else self.api.reranker
        self.limit = settings.limit or limit_of(settings.rpm, settings.tpm)
        self.folder = Folder(Path(out))
        self.fingerprint = fingerprint_of(
            reranker,
            settings.columns,
            chunk_rows=settings.chunk_rows,
            shards=settings.shard[1],
            via=settings.via,
        )
        manifest = Manifest(self.folder.manifest_path(settings.shard))
        manifest.check(self.fingerprint, self.files)
        self.done = _done(self.folder, manifest, settings.shard)
        errors = sum(self.done.errors.values()) if settings.retry_errors else 0
        known = {file.key for file in self.files} == manifest.files.keys()
        self.is_finished = known and not errors and manifest.is_complete(settings.shard)
        self.total, self.estimate = self.done.rows, self._estimate(errors)
        self.total += self.estimate.rows - errors

    def _estimate(self, errors: int) -> Estimate:
        """The estimate for the rows that are left.

        Raises:
            BadRequestError: The first rows cannot be ranked, or a column is not there.
        """
        found = sampled(self.reranker, self.files, self.settings.columns)
        rows = -(-found.rows // self.settings.shard[1])
        left = 0 if self.is_finished else max(0, rows - self.done.rows) + errors
        return found.of_rest(self.reranker, len(self.files), left, limit=self.limit, via=self.settings.via)

    @property
    def budget(self) -> float | None:
        """US dollars for this shard, over all runs."""
        return None if self.settings.budget is None else self.settings.budget / self.settings.shard[1]

    def check_budget(self) -> None:
        """Check that the rest fits into the budget.

        Raises:
            BudgetExceededError: It does not.
            UnknownPriceError: There is a budget, and the price is not known.
        """
        if self.budget is None:
            return
        if self.estimate.dollars is None:
            raise UnknownPriceError(
                f"a budget needs a price, and the price of {self.reranker.deployment} is not known: pass "
                "input_cost_per_query= or input_cost_per_token= (0 if it is free), or prices=; on the command line "
                "--option input_cost_per_query=0"
            )
        if self.done.cost + self.estimate.dollars > self.budget * (1 + 1e-9):
            spent = f" on top of ${self.done.cost:,.4f} spent" if self.done.cost else ""
            raise BudgetExceededError(
                f"the estimated cost of ${self.estimate.dollars:,.4f}{spent} exceeds the budget of ${self.budget:g}; "
                "nothing was sent: raise the budget, or take fewer rows or a cheaper model"
            )

    async def run(self) -> Report:
        """Rerank the rows that are left."""
        settings, began = self.settings, time.monotonic()
        with self.folder.locked(settings.shard), closing(self._manifest()) as manifest:
            pace = Pace(settings.in_flight)
            work = Work(
                files=self.files,
                columns=settings.columns,
                shard=settings.shard,
                chunk_rows=settings.chunk_rows,
                retry_errors=settings.retry_errors,
            )
            chunks = Chunks(work, Output(self.folder, manifest), Meter(settings.progress, self.total))
            submissions = Submissions(self.folder.submissions_path(settings.shard))
            runner = self._runner(chunks, submissions, pace)
            in_flight = settings.in_flight if self.api is None else 0  # what a batch API has is not sent again
            with closing(chunks), manifest.running(in_flight), stop_on_signals(runner.stop):
                await _finished(runner)
            complete = manifest.is_complete(settings.shard)
            return Report.of(
                _done(self.folder, manifest, settings.shard),
                complete=complete,
                waiting=submissions.rows,
                unrecorded=manifest.unrecorded,
                stopped=None if complete else runner.stopped,
                sent=chunks.sent,
                seconds=time.monotonic() - began,
            )

    def _runner(self, chunks: Chunks, submissions: Submissions, pace: Pace) -> Runner | SubmittingRunner:
        settings = self.settings
        if self.api is not None:
            return SubmittingRunner(chunks, self.api, submissions, pace, max_wait=settings.max_wait, budget=self.budget)
        is_proven = self.done.rows > sum(self.done.errors.values())
        row_reranker = RowReranker(
            self.reranker, pace, settings.max_wait, self._overrides(), limit=self.limit, is_proven=is_proven
        )
        return Runner(chunks, row_reranker, pace, settings.in_flight)

    def _manifest(self) -> ManifestWriter:
        try:
            manifest = ManifestWriter(self.folder.manifest_path(self.settings.shard))
            manifest.begin(self.fingerprint, self.files)
            for key, number in manifest.done:
                self.folder.forget(key, number)  # which a kill may have left behind
        except OSError as error:
            raise self.folder.unwritable(error) from None
        return manifest

    def _overrides(self) -> dict[str, Any]:
        """The budget, in addition to those that the reranker has."""
        if self.budget is None:
            return {}
        budget = Budget(self.budget)
        budget.add(self.done.cost)
        return {"budget": [*self.reranker.options.shared_budgets, budget]}


def _done(folder: Folder, manifest: Manifest, shard: tuple[int, int]) -> Tally:
    """The sums over the rows of a shard that are done, in chunks that are done and in those that are not."""
    total = manifest.total()
    for path in folder.journals():
        key, _, digits = path.stem.rpartition("-")
        file, number = manifest.files.get(key), int(digits)
        if file is not None and input_file(file).is_in(number, shard) and (key, number) not in manifest.done:
            total.merge(Tally.of(outcomes_in(path).values()))
    return total


async def _finished(runner: Runner | SubmittingRunner) -> None:
    """Run to the end; a cancellation waits for what is in flight, which is paid for."""
    running = asyncio.ensure_future(runner.run())
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        runner.stop("cancelled")
        await running
        raise
