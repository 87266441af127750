"""Estimating cost and duration of a job from a sample of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from anyrerank._core.client import BaseReranker, plans_of
from anyrerank._core.engine import Plan
from anyrerank._core.limits import Limit
from anyrerank._core.pricing import sum_costs
from anyrerank._core.types import public
from anyrerank.batch.counted import counted
from anyrerank.batch.formats import Sample
from anyrerank.batch.rows import Columns, Row
from anyrerank.batch.source import InputFile
from anyrerank.batch.voyage_batches import DISCOUNT, HOURS, MAX_TOKENS
from anyrerank.errors import BadRequestError, RerankError

Via: TypeAlias = Literal["requests", "batch-api"]
"""How rows are sent: one by one, or through the batch API of the vendor."""

_FILES = 20
_ROWS_OF_A_FILE = 50


@public("anyrerank.batch")
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The estimated cost and duration of the rest of a job, for which nothing was sent.

    Attributes:
        model: The model that is asked first.
        files: Number of input files.
        rows: Rows that are left, those of this shard only.
        exact: Whether the rows were counted, not estimated from the size of the files.
        requests: Requests for these rows.
        documents: Candidates that are sent.
        dollars: US dollars, or `None` if the price is unknown.
        tokens: Tokens, where they are what costs.
        rpm, tpm: Requests and tokens per minute that are allowed, or `None` if no limit was given.
        via: How rows are asked for; the price is the one of this way.
    """

    model: str
    files: int
    rows: int
    exact: bool
    requests: int
    documents: int
    dollars: float | None
    tokens: int | None
    rpm: float | None
    tpm: float | None
    via: Via = "requests"

    @property
    def hours(self) -> float | None:
        """Duration at the given rates, or `None` without one. With a batch API, the longest that it may take."""
        if self.via == "batch-api":
            return float(HOURS * max(1, -(-(self.tokens or 0) // MAX_TOKENS)))
        return max((count / rate / 60 for count, rate, _ in self._rates), default=None)

    @property
    def _rates(self) -> list[tuple[int, float, str]]:
        """How many there are of what is limited, the limit, and its name; tokens as far as they are known."""
        pairs = ((self.requests, self.rpm, "requests"), (self.tokens, self.tpm, "tokens"))
        return [(count, rate, name) for count, rate, name in pairs if count is not None and rate is not None]

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        tokens = "" if self.tokens is None else f", about {self.tokens:,} tokens"
        cost = "price unknown" if self.dollars is None else f"estimated cost ${self.dollars:,.4f}"
        return (
            f"{self.model}: {about}{counted(self.rows, 'row')} in {counted(self.files, 'file')}, "
            f"{counted(self.requests, 'request')}, {counted(self.documents, 'document')}{tokens}, {cost}{self._time}"
        )

    @property
    def _time(self) -> str:
        if self.via == "batch-api":
            return f" ({DISCOUNT:.0%} less through the Batch API), within {self.hours:g} hours"
        rates = " and ".join(f"{rate:g} {name}" for _, rate, name in self._rates)
        return "" if self.hours is None else f", {_duration(self.hours)} at {rates} per minute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Estimates for all rows, from a sample.

    Attributes:
        rows: Number of rows, about.
        exact: Whether they were counted.
        requests, documents, dollars, tokens: Means of a row.
    """

    rows: int
    exact: bool
    requests: float
    documents: float
    dollars: float | None
    tokens: float | None

    def of_rest(self, reranker: BaseReranker, files: int, rows: int, *, limit: Limit | None, via: Via) -> Estimate:
        """The estimate for `rows` rows."""
        return Estimate(
            model=reranker.deployment,
            files=files,
            rows=rows,
            exact=self.exact,
            requests=round(rows * self.requests),
            documents=round(rows * self.documents),
            dollars=None if self.dollars is None else rows * self.dollars,
            tokens=None if self.tokens is None else round(rows * self.tokens),
            rpm=None if limit is None else limit.rpm,
            tpm=None if limit is None else limit.tpm,
            via=via,
        )


def sampled(reranker: BaseReranker, files: Sequence[InputFile], columns: Columns) -> Sampled:
    """Read the first rows of some of the files, and plan what they would send.

    Raises:
        BadRequestError: None of these rows can be asked for, or a column is not there.
        MissingExtraError: A file needs a library that is not installed.
    """
    chosen = files[:: max(1, -(-len(files) // _FILES))]
    samples = [_sample(file, columns) for file in chosen]
    found, size = sum(each.total for each in samples), sum(file.size for file in chosen)
    rows = found if len(chosen) == len(files) else round(sum(file.size for file in files) * found / max(1, size))
    exact = len(chosen) == len(files) and all(each.is_exact for each in samples)
    read = [row for each in samples for row in each.rows]
    plans = list(_plans(reranker, read))
    if not plans:
        return Sampled(rows=rows, exact=exact, requests=0, documents=0, dollars=0.0, tokens=None)
    dollars = sum_costs(plan.dollars for plan in plans)
    price = reranker.price()
    per_token = price.per_token if price and not price.per_query else None
    count = len(read)
    return Sampled(
        rows=rows,
        exact=exact,
        requests=sum(plan.requests for plan in plans) / count,
        documents=sum(plan.documents for plan in plans) / count,
        dollars=None if dollars is None else dollars / count,
        tokens=None if dollars is None or not per_token else dollars / per_token / count,
    )


def _sample(file: InputFile, columns: Columns) -> Sample:
    try:
        return file.format.sample(Path(file.path), columns, _ROWS_OF_A_FILE)
    except OSError as error:
        raise BadRequestError(f"{file.path} cannot be read: {error.strerror}") from None


def _plans(reranker: BaseReranker, rows: Sequence[Row]) -> Iterator[Plan]:
    """The plan of each row that can be asked for.

    Raises:
        RerankError: None can, for this reason.
    """
    problem: RerankError | None = None
    good = False
    for row in rows:
        try:
            if row.problem is not None:
                raise row.problem
            plan = plans_of(reranker, row.query, row.documents, {**row.options, "cache": None})[0][1]
            if isinstance(plan, RerankError):
                raise plan
        except RerankError as error:
            problem = problem or error
        else:
            good = True
            yield plan
    if problem is not None and not good:
        raise BadRequestError(f"none of the first {len(rows)} rows can be ranked, the first one because {problem}")


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
