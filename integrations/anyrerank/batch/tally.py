"""Sums over rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anyrerank.batch.outcomes import Outcome


@dataclass(slots=True)
class Tally:
    """The sums over rows.

    Attributes:
        rows: How many are done.
        errors: How many failed, by the name of the error class.
        attempts: Requests that were sent.
        cost: US dollars of the rows whose cost is known.
        unknown: How many rows have an unknown cost.
        saved: US dollars that cached scores cost when they were computed.
    """

    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    cost: float = 0.0
    unknown: int = 0
    saved: float = 0.0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Tally:
        """The sums over outcomes."""
        tally = cls()
        for outcome in outcomes:
            tally.add(outcome)
        return tally

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Tally:
        """The sums in a line of a manifest."""
        sums = {name: found[name] for name in ("rows", "attempts", "cost", "unknown", "saved")}
        return cls(errors=Counter(found["errors"]), **sums)

    def to_json(self) -> dict[str, Any]:
        """The sums for a manifest."""
        return {
            "rows": self.rows,
            "errors": dict(self.errors),
            "attempts": self.attempts,
            "cost": self.cost,
            "unknown": self.unknown,
            "saved": self.saved,
        }

    def add(self, outcome: Outcome) -> None:
        """Count a row."""
        self.rows += 1
        self.attempts += outcome.attempts
        if outcome.error is not None:
            self.errors[outcome.error] += 1
        if outcome.cost is None:
            self.unknown += 1
        else:
            self.cost += outcome.cost
        self.saved += outcome.saved or 0.0

    def merge(self, other: Tally) -> None:
        """Add the sums of other rows."""
        self.rows += other.rows
        self.errors += other.errors
        self.attempts += other.attempts
        self.cost += other.cost
        self.unknown += other.unknown
        self.saved += other.saved

    def remove(self, other: Tally) -> None:
        """Take away the sums of rows that are to be done again."""
        self.rows -= other.rows
        self.errors -= other.errors
        self.attempts -= other.attempts
        self.cost -= other.cost
        self.unknown -= other.unknown
        self.saved -= other.saved
