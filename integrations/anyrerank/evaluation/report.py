"""What a comparison found: as a table, as pictures, as data, and as a check for CI."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyrerank._core.pricing import together
from anyrerank._core.runtime import needed
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.files import write_trec
from anyrerank.evaluation.losses import Losses, losses
from anyrerank.evaluation.metrics import is_answered, judged, measured, measures
from anyrerank.evaluation.outcomes import Outcomes
from anyrerank.evaluation.page import as_page
from anyrerank.evaluation.plots import quality_against_latency, ranks
from anyrerank.evaluation.reference import FIRST_STAGE, REFERENCES
from anyrerank.evaluation.significance import Difference, differences, interval
from anyrerank.evaluation.table import as_html, as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One ranking of a comparison.

    Attributes:
        name: As it was given, or `first_stage`, `random`, `oracle`.
        means: Mean of each measure over the queries that have an answer.
        low, high: The 95 % interval of the first measure's mean.
        difference: The first measure against the baseline; `None` for the baseline itself and for references.
        p50, p95: Seconds of the calls that succeeded; `None` where there were none.
        dollars: US dollars for 1,000 queries, or `None` when that is not known.
        failures: Names of error classes, and how many calls failed with each.
        judged: The part of the first results that is labelled.
    """

    name: str
    means: Mapping[str, float]
    low: float
    high: float
    difference: Difference | None
    p50: float | None
    p95: float | None
    dollars: float | None
    failures: Mapping[str, int]
    judged: float

    @property
    def is_reference(self) -> bool:
        """Whether it is one of the rows that are always there."""
        return self.name in REFERENCES


@dataclass(frozen=True, kw_only=True)
class Report:
    """Rankings of the same candidates by several rerankers. Shows itself as a table, best first.

    Attributes:
        data: What they were compared on.
        outcomes: By name and query, what came back.
        scores: By name, measure and query; of the queries that have an answer.
        rows: By name, best first.
        k: How many results count.
        baseline: What the others are compared with.
        at_once: Calls under way at once while latencies were measured.
    """

    data: Dataset
    outcomes: Mapping[str, Outcomes] = field(repr=False)
    scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(repr=False)
    rows: Mapping[str, Row] = field(repr=False)
    k: int
    baseline: str
    at_once: int = 1

    @classmethod
    def of(
        cls, data: Dataset, outcomes: Mapping[str, Outcomes], *, k: int, baseline: str = FIRST_STAGE, at_once: int = 1
    ) -> Report:
        """The report of some outcomes, among which are those of the references."""
        scores = {name: measured(_rankings(found), data.labels, k) for name, found in outcomes.items()}
        main = measures(k)[0]
        numbers = {name: list(found[main].values()) for name, found in scores.items()}
        others = {name: each for name, each in numbers.items() if name not in (*REFERENCES, baseline)}
        against = differences(others, numbers[baseline])
        rows = [
            _row(name, found, scores[name], against.get(name), judged=_judged(data, found, k))
            for name, found in outcomes.items()
        ]
        best_first = sorted(rows, key=lambda row: -row.means[main])
        return cls(
            data=data,
            outcomes=outcomes,
            scores=scores,
            rows={row.name: row for row in best_first},
            k=k,
            baseline=baseline,
            at_once=at_once,
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures; the first is the one that the rows are sorted and compared by."""
        return measures(self.k)

    @property
    def answered(self) -> list[str]:
        """The queries that have an answer, over which the means are."""
        return [query for query in self.data.queries if is_answered(self.data.labels.get(query, {}))]

    def difference(self, name: str, than: str | None = None, on: str | None = None) -> Difference:
        """How much better one ranking is than another, with its interval.

        Args:
            name: The one.
            than: The other; by default the baseline.
            on: A measure; by default the first.
        """
        measure = self._measure(on)
        one, other = (self._scores(each)[measure] for each in (name, than or self.baseline))
        return differences({name: list(one.values())}, list(other.values()))[name]

    def assert_better(self, name: str, than: str | None = None, on: str | None = None) -> None:
        """Raise `AssertionError` unless one ranking is better than another by more than chance; for CI.

        One comparison by itself: the table corrects for all that it shows.
        """
        found = self.difference(name, than, on)
        if not (found.clear and found.mean > 0):
            raise AssertionError(
                f"{name} is not clearly better than {than or self.baseline} on {self._measure(on)}: {found.mean:+.3f} "
                f"[{found.low:+.3f}, {found.high:+.3f}] over {len(self.answered)} queries"
            )

    def losses(self, name: str, than: str | None = None, *, most: int = 5) -> Losses:
        """The queries that a reranker made worse, the worst first, with its results beside the other's.

        Args:
            than: What it is compared with; by default the baseline.
            most: How many queries.
        """
        self._scores(name)
        return losses(self, name, than or self.baseline, most)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Quality against latency, with the price as the size of a dot and the interval as a bar (matplotlib)."""
        return quality_against_latency(self, ax)

    def plot_ranks(self, query: str, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
        """Where each candidate of a query went, from the first stage through the rerankers (matplotlib).

        Args:
            query: Id of a query.
            names: Rerankers, in this order; by default all.
        """
        if query not in self.data.queries:
            raise BadRequestError(f"there is no query {query}")
        chosen = [name for name in self.rows if name not in REFERENCES] if names is None else list(names)
        for name in chosen:
            self._scores(name)
        return ranks(self, query, chosen, ax)

    def to_pandas(self) -> DataFrame:
        """The rows as a data frame, a column for each measure."""
        pandas = needed("pandas", "evaluation")
        return pandas.DataFrame([_flat(row) for row in self.rows.values()]).set_index("name")

    def to_json(self, path: str | Path | None = None) -> str:
        """Everything as JSON, the raw rankings included; written to `path` if one is given. No text is in it."""
        text = json.dumps(
            {
                "data": self.data.name,
                "k": self.k,
                "baseline": self.baseline,
                "rows": [_flat(row) for row in self.rows.values()],
                "scores": self.scores,
                "outcomes": {
                    name: {query: asdict(outcome) for query, outcome in found.items()}
                    for name, found in self.outcomes.items()
                },
            },
            indent=1,
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_trec(self, folder: str | Path) -> list[Path]:
        """A run in TREC's form for each ranking, and the labels as qrels, in `folder`."""
        rankings = {name: _rankings(found) for name, found in self.outcomes.items()}
        return write_trec(Path(folder), rankings, self.data.labels)

    def to_html(self, path: str | Path | None = None) -> str:
        """One page with table, picture and what got worse, texts included; written to `path` if one is given."""
        page = as_page(self)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def _scores(self, name: str) -> Mapping[str, Mapping[str, float]]:
        if name not in self.scores:
            raise BadRequestError(f"there is no {name} in this report; there are {', '.join(self.rows)}")
        return self.scores[name]

    def _measure(self, name: str | None) -> str:
        if name is not None and name not in self.measures:
            raise BadRequestError(f"there is no measure {name} in this report; there are {', '.join(self.measures)}")
        return name or self.measures[0]


def _row(
    name: str,
    outcomes: Outcomes,
    scores: Mapping[str, Mapping[str, float]],
    difference: Difference | None,
    *,
    judged: float,
) -> Row:
    means = {measure: _mean(list(numbers.values())) for measure, numbers in scores.items()}
    low, high = interval(list(next(iter(scores.values())).values()))
    good = [outcome for outcome in outcomes.values() if outcome.error is None]
    seconds = sorted(outcome.seconds for outcome in good if outcome.seconds is not None)
    dollars = together(outcome.dollars for outcome in good)
    return Row(
        name=name,
        means=means,
        low=low,
        high=high,
        difference=difference,
        p50=_quantile(seconds, 0.50),
        p95=_quantile(seconds, 0.95),
        dollars=1000 * dollars / len(good) if good and dollars is not None else None,
        failures=Counter(outcome.error for outcome in outcomes.values() if outcome.error is not None),
        judged=judged,
    )


def _judged(data: Dataset, outcomes: Outcomes, k: int) -> float:
    return judged(_rankings(outcomes), data.labels, k)


def _rankings(outcomes: Outcomes) -> dict[str, Sequence[str]]:
    return {query: outcome.ranking for query, outcome in outcomes.items()}


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers) if numbers else 0.0


def _quantile(ordered: Sequence[float], part: float) -> float | None:
    """The nearest rank."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


def _flat(row: Row) -> dict[str, Any]:
    gap = row.difference
    return {
        "name": row.name,
        **row.means,
        "low": row.low,
        "high": row.high,
        "difference": gap and gap.mean,
        "difference_low": gap and gap.low,
        "difference_high": gap and gap.high,
        "p": gap and gap.p,
        "clear": gap and gap.clear,
        "p50_ms": row.p50 and 1000 * row.p50,
        "p95_ms": row.p95 and 1000 * row.p95,
        "usd_per_1000": row.dollars,
        "failures": sum(row.failures.values()),
        "judged": row.judged,
    }
