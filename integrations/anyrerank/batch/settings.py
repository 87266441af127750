"""Arguments of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from typing_extensions import TypedDict

from anyrerank._core.limits import Limit
from anyrerank.batch.estimate import Estimate, Via
from anyrerank.batch.outcomes import COLUMNS
from anyrerank.batch.progress import Progress
from anyrerank.batch.rows import QUERY, Columns
from anyrerank.batch.voyage_batches import MAX_ROWS
from anyrerank.errors import BadRequestError, ConfigurationError


class RunKeywords(TypedDict, total=False):
    """Keyword arguments of `run`."""

    query: str
    documents: str | None
    keep: Sequence[str] | None
    options: Mapping[str, Any] | None
    in_flight: int
    rpm: float | None
    tpm: float | None
    limit: Limit | None
    max_wait: float
    chunk_rows: int
    shard: tuple[int, int]
    budget: float | None
    retry_errors: bool
    via: Via
    announce: Callable[[Estimate], object] | None
    progress: Callable[[Progress], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Arguments of a run; see `run`."""

    query: str = QUERY
    documents: str | None = None
    keep: Sequence[str] | None = None
    options: Mapping[str, Any] | None = None
    in_flight: int = 64
    rpm: float | None = None
    tpm: float | None = None
    limit: Limit | None = None
    max_wait: float = 3600.0
    chunk_rows: int = 5000
    shard: tuple[int, int] = (0, 1)
    budget: float | None = None
    retry_errors: bool = False
    via: Via = "requests"
    announce: Callable[[Estimate], object] | None = None
    progress: Callable[[Progress], object] | None = None

    @property
    def columns(self) -> Columns:
        """The fields of the input that are read."""
        return Columns(self.query, self.documents, self.keep)

    def check(self) -> None:
        """Check the values.

        Raises:
            BadRequestError: One of them is invalid.
        """
        for name, least in (("in_flight", 1), ("chunk_rows", 1), ("max_wait", 0), ("budget", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise BadRequestError(f"{name} must be at least {least}, got {value}")
        if self.limit is not None and (self.rpm is not None or self.tpm is not None):
            raise BadRequestError("pass either limit, or rpm and tpm")
        limit_of(self.rpm, self.tpm)
        if self.via not in get_args(Via):
            raise BadRequestError(f"via must be {' or '.join(get_args(Via))}, got {self.via!r}")
        if self.via == "batch-api" and self.chunk_rows > MAX_ROWS:
            raise BadRequestError(
                f"chunk_rows must be at most {MAX_ROWS:,} with via='batch-api', got {self.chunk_rows}"
            )
        given = [name for name in ("limit", "rpm", "tpm") if getattr(self, name) is not None]
        if self.via == "batch-api" and given:
            raise BadRequestError(f"{', '.join(given)} has no effect with via='batch-api': leave it out")
        index, count = self.shard
        if not 0 <= index < count:
            raise BadRequestError(f"the index of a shard must be from 0 to {count - 1}, got {index}/{count}")
        if clash := sorted(set(self.keep or ()) & set(COLUMNS)):
            raise BadRequestError(f"keep must not name {', '.join(clash)}: the output has a column of that name")


def limit_of(rpm: float | None, tpm: float | None) -> Limit | None:
    """The limit of a process, if there is one.

    Raises:
        BadRequestError: It is invalid.
    """
    try:
        return None if rpm is None and tpm is None else Limit(rpm, tpm)
    except ConfigurationError as error:
        raise BadRequestError(error.message) from None
