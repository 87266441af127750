"""The report on a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anyrerank._core.types import public
from anyrerank.batch.counted import counted
from anyrerank.batch.folder import Folder
from anyrerank.batch.journal import outcomes_in
from anyrerank.batch.manifest import Manifest
from anyrerank.batch.submissions import Submissions
from anyrerank.batch.tally import Tally
from anyrerank.errors import ConfigurationError


@public("anyrerank.batch")
@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A job, over all its runs.

    Attributes:
        rows: How many rows are done.
        errors: How many of them failed, by the name of the error class.
        attempts: Requests that were sent.
        cost: US dollars of the rows whose cost is known.
        unknown_costs: How many rows have an unknown cost.
        saved: US dollars that cached scores cost when they were computed.
        waiting: Rows that a vendor's batch API has.
        unrecorded: Maximum number of rows that were in flight when runs were killed. They were sent again, so the
            vendor may have billed them twice, and `attempts` and `cost` count them once.
        complete: Whether every row is done.
        stopped: Why the run ended before that, or `None`.
        sent: Rows that this run did.
        seconds: Duration of this run.
    """

    rows: int
    errors: Mapping[str, int] = field(default_factory=dict)
    attempts: int = 0
    cost: float = 0.0
    unknown_costs: int = 0
    saved: float = 0.0
    waiting: int = 0
    unrecorded: int = 0
    complete: bool = False
    stopped: str | None = None
    sent: int = 0
    seconds: float = 0.0

    @classmethod
    def of(
        cls,
        tally: Tally,
        *,
        complete: bool,
        waiting: int = 0,
        unrecorded: int = 0,
        stopped: str | None = None,
        sent: int = 0,
        seconds: float = 0.0,
    ) -> Report:
        """The report on sums."""
        return cls(
            rows=tally.rows,
            errors=dict(tally.errors),
            attempts=tally.attempts,
            cost=tally.cost,
            unknown_costs=tally.unknown,
            saved=tally.saved,
            waiting=waiting,
            unrecorded=unrecorded,
            complete=complete,
            stopped=stopped,
            sent=sent,
            seconds=seconds,
        )

    @property
    def failed(self) -> int:
        """How many rows failed."""
        return sum(self.errors.values())

    @property
    def exit_code(self) -> int:
        """0 if every row was answered, 3 if some failed, 4 if rows are left."""
        return 4 if not self.complete else 3 if self.failed else 0

    def __str__(self) -> str:
        each = ", ".join(f"{name} {count}" for name, count in sorted(self.errors.items()))
        failed = f", {self.failed:,} of them failed ({each})" if self.failed else ""
        unknown = f" and {counted(self.unknown_costs, 'row')} of unknown cost" if self.unknown_costs else ""
        saved = f", ${self.saved:.4f} saved by the cache" if self.saved else ""
        waiting = f", {counted(self.waiting, 'row')} at the batch API" if self.waiting else ""
        twice = ""
        if self.unrecorded:
            dollars = self.cost / max(self.rows - self.unknown_costs, 1) * self.unrecorded
            twice = f"; at most {counted(self.unrecorded, 'row')} (about ${dollars:,.4f}) paid twice, after a kill"
        sent = f"{counted(self.attempts, 'request')}, ${self.cost:,.4f}{unknown}{saved}{twice}"
        text = f"{counted(self.rows, 'row')} done{failed}{waiting}; {sent}"
        if self.complete:
            return f"complete: {text}"
        return f"stopped: {self.stopped}; {text}" if self.stopped else f"not complete: {text}"


def status(out: str | Path) -> Report:
    """How far the job in a folder is, over all shards that are there; it may be running.

    Raises:
        ConfigurationError: There is no job.
    """
    folder = Folder(Path(out))
    manifests = [each for each in folder.manifests() if each.job]
    if not manifests:
        raise ConfigurationError(f"{out} holds no job of anyrerank batch: name the --out of one")
    total, journaled = Tally(), Tally()
    for each in manifests:
        total.merge(each.total())
    open_rows = {path.stem: outcomes_in(path) for path in folder.journals()}
    written = {folder.journal_name(*key) for each in manifests for key in each.done}
    for name, outcomes in open_rows.items():
        if name not in written:  # else its journal is about to be deleted
            journaled.merge(Tally.of(outcomes.values()))
    total.merge(journaled)
    done = {key for each in manifests for key in each.done}
    submitted = [each for path in folder.submissions_paths() for each in Submissions(path).open.values()]
    waiting = sum(each.rows for each in submitted if each.key not in done)
    return Report.of(
        total, complete=_all_complete(manifests), waiting=waiting, unrecorded=sum(each.unrecorded for each in manifests)
    )


def _all_complete(manifests: list[Manifest]) -> bool:
    count = manifests[0].job["shards"]
    if len(manifests) < count:
        return False
    shards = [0] if count == 1 else [int(each.path.stem.split("-")[1]) for each in manifests]
    return all(each.is_complete((index, count)) for index, each in zip(shards, manifests, strict=True))
