"""The report of a comparison."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyrerank._core.runtime import import_optional
from anyrerank._core.types import public
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.changes import Changes, changes
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.files import write_trec
from anyrerank.evaluation.metrics import judged_share, measure_names, score
from anyrerank.evaluation.outcomes import Outcomes, any_succeeded, rankings_of
from anyrerank.evaluation.page import as_page
from anyrerank.evaluation.plots import plot_differences, plot_quality_against_latency, plot_ranks
from anyrerank.evaluation.references import FIRST_STAGE, REFERENCES
from anyrerank.evaluation.rows import summarise
from anyrerank.evaluation.scored import Scored
from anyrerank.evaluation.significance import Difference, differences
from anyrerank.evaluation.table import as_html, as_text
from anyrerank.evaluation.thresholds import threshold_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


_FEWEST = 6
"""With fewer queries, no difference has a p-value below 0.05: 2 in 2 ** 5 ways to assign the signs are as extreme."""


@public("anyrerank.evaluation")
class Report(Scored):
    """Rankings of the same candidates by several rerankers. Displays as a table, best ranking first.

    Attributes:
        data: The dataset.
        outcomes: Outcomes by name and query.
        scores: Values by name, measure and query, for the evaluated queries.
        rows: Rows by name, best first.
        k: Number of top results that count.
        baseline: Name of the row that the others are compared with.
        max_concurrency: Maximum number of concurrent calls while latencies were measured.
        created: When the report was made, in UTC.
        version: Version of anyrerank.
    """

    @classmethod
    def from_outcomes(
        cls,
        data: Dataset,
        outcomes: Mapping[str, Outcomes],
        *,
        k: int,
        baseline: str = FIRST_STAGE,
        max_concurrency: int = 1,
    ) -> "Report":
        """Score outcomes, those of the references included, and summarise them."""
        rankings = {name: rankings_of(each) for name, each in outcomes.items()}
        scores = {name: score(rankings[name], data.labels, k) for name, each in outcomes.items() if any_succeeded(each)}
        main = measure_names(k)[0]
        values = {name: list(each[main].values()) for name, each in scores.items()}
        compared = {name: each for name, each in values.items() if name not in (*REFERENCES, baseline)}
        gaps = differences(compared, values.get(baseline, []))
        rows = [
            summarise(name, each, scores.get(name, {}), gaps.get(name), judged_share(rankings[name], data.labels, k))
            for name, each in outcomes.items()
        ]
        return cls(
            data=data,
            outcomes=outcomes,
            scores=scores,
            rows={row.name: row for row in sorted(rows, key=lambda row: -row.means.get(main, -1.0))},
            k=k,
            baseline=baseline,
            max_concurrency=max_concurrency,
        )

    def difference(self, name: str, baseline: str | None = None, measure: str | None = None) -> Difference:
        """The difference of one ranking to another, with an interval.

        This is a single comparison: unlike in the table, interval and p-value are not corrected for several rankings.

        Args:
            name: Name of a row.
            baseline: Name of the row to compare with; by default the baseline of the report.
            measure: Name of a measure; by default the first.

        Raises:
            BadRequestError: There is no such row or measure.
        """
        measure = self._checked_measure(measure)
        new, old = (list(self._scores(each)[measure].values()) for each in (name, baseline or self.baseline))
        return differences({name: new}, old)[name]

    def assert_better(self, name: str, baseline: str | None = None, measure: str | None = None) -> None:
        """Raise `AssertionError` unless one ranking is significantly better than another. For CI.

        This is a single comparison: unlike the table, it makes no correction for several rankings. It also raises if a
        call of either ranking failed.

        Args:
            name: Name of a row.
            baseline: Name of the row to compare with; by default the baseline of the report.
            measure: Name of a measure; by default the first.
        """
        for each in (name, baseline or self.baseline):
            if each in self.rows and (failures := sum(self.rows[each].failures.values())):
                row = self.rows[each]
                raise AssertionError(f"{failures} of {row.calls} calls of {each} failed, the first with {row.message}")
        gap = self.difference(name, baseline, measure)
        if not (gap.significant and gap.mean > 0):
            raise AssertionError(
                f"{name} is not significantly better than {baseline or self.baseline} on "
                f"{self._checked_measure(measure)}: {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] over "
                f"{len(self.evaluated_queries)} queries{_too_few(len(self.evaluated_queries))}"
            )

    def thresholds(self, name: str) -> "DataFrame":
        """What a `score_threshold` would keep and lose, to choose one. Scores are those of the reranker's `score_mode`.

        Not for a reranker with `fuse`, whose threshold is compared with the scores before fusion.

        Args:
            name: Name of a reranker.

        Returns:
            A row for each `threshold`, lowest first: `results` is the mean number of results of a query,
            `relevant_kept` the share of the relevant candidates that are kept, `answers_lost` the number of queries
            that lose all of theirs, and `empty` the number of queries without any result.

        Raises:
            BadRequestError: There is no such row, or it has no relevant candidate with a score.
        """
        self._scores(name)
        if not (rows := threshold_rows(self.outcomes[name], self.data.labels)):
            raise BadRequestError(f"{name} has no scores of relevant documents")
        frame: DataFrame = import_optional("pandas", "evaluation").DataFrame(rows)
        return frame

    def losses(self, name: str, baseline: str | None = None, *, limit: int = 5) -> Changes:
        """The queries that a reranker made worse, worst first, with both rankings side by side.

        Args:
            name: Name of a row.
            baseline: Name of the row to compare with; by default the baseline of the report.
            limit: Maximum number of queries.
        """
        return self._changes(name, baseline, limit, wins=False)

    def wins(self, name: str, baseline: str | None = None, *, limit: int = 5) -> Changes:
        """The queries that a reranker improved, best first; arguments as in `losses`."""
        return self._changes(name, baseline, limit, wins=True)

    def _changes(self, name: str, baseline: str | None, limit: int, *, wins: bool) -> Changes:
        for each in (name, baseline or self.baseline):
            self._scores(each)
        return changes(self, name, baseline or self.baseline, limit, wins=wins)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot quality, with its interval, against latency. The size of a dot is the cost (matplotlib)."""
        return plot_quality_against_latency(self, ax)

    def plot_differences(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the paired differences to the baseline, query by query, with mean and interval (matplotlib)."""
        return plot_differences(self, ax)

    def plot_ranks(self, query: str, names: Sequence[str] | None = None, ax: "Axes | None" = None) -> "Axes":
        """Plot the rank of each candidate of a query, from the first stage through the rerankers (matplotlib).

        Args:
            query: Id of a query.
            names: Rerankers to show, in this order; by default all.
            ax: Where to draw; by default a new figure.
        """
        if query not in self.data.queries:
            raise BadRequestError(f"there is no query {query} in this report")
        shown = [name for name in self.rows if name not in REFERENCES] if names is None else list(names)
        for name in shown:
            self._scores(name)
        return plot_ranks(self, query, shown, ax)

    def to_pandas(self) -> "DataFrame":
        """The rows as a data frame, with a column for each measure."""
        frame: DataFrame = import_optional("pandas", "evaluation").DataFrame(self._flat_rows())
        return frame.set_index("name")

    def to_json(self, path: str | Path | None = None) -> str:
        """The rows, scores and rankings as JSON, without any texts.

        Args:
            path: A file to write as well.
        """
        content = {
            "data": self.data.name,
            "k": self.k,
            "baseline": self.baseline,
            "first_stage": self.data.first_stage,
            "created": self.created.isoformat(timespec="seconds"),
            "version": self.version,
            "rows": self._flat_rows(),
            "scores": self.scores,
            "outcomes": {
                name: {query: asdict(outcome) for query, outcome in outcomes.items()}
                for name, outcomes in self.outcomes.items()
            },
        }
        return _saved(json.dumps(content, indent=1), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """A single HTML page with the table, plots, wins and losses, texts included.

        Args:
            path: A file to write as well.
        """
        return _saved(as_page(self), path)

    def to_trec(self, folder: str | Path) -> list[Path]:
        """Write a run in TREC's format for each ranking, and the labels as qrels. Return the paths."""
        rankings = {name: rankings_of(outcomes) for name, outcomes in self.outcomes.items()}
        return write_trec(Path(folder), rankings, self.data.labels)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def _scores(self, name: str) -> Mapping[str, Mapping[str, float]]:
        if name not in self.scores:
            if name in self.rows:
                raise BadRequestError(f"every call of {name} failed: {self.rows[name].message}")
            raise BadRequestError(f"there is no row {name!r} in this report, only {', '.join(self.rows)}")
        return self.scores[name]

    def _flat_rows(self) -> list[dict[str, Any]]:
        return [{"name": row.name, **dict.fromkeys(self.measures), **row.flat()} for row in self.rows.values()]

    def _checked_measure(self, name: str | None) -> str:
        if name is not None and name not in self.measures:
            raise BadRequestError(f"measure must be one of {', '.join(self.measures)}, got {name!r}")
        return name or self.measures[0]


def _too_few(queries: int) -> str:
    return ", of which at least 6 must change for a significant difference" if queries < _FEWEST else ""


def _saved(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
