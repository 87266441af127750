"""`Scored`: the data of a report, with the ranking and the values of every row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

import anyrerank
from anyrerank.evaluation.dataset import Dataset, has_relevant
from anyrerank.evaluation.metrics import measure_names
from anyrerank.evaluation.outcomes import Outcomes
from anyrerank.evaluation.rows import Row


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Outcomes of the same candidates by several rerankers, with their values and rows."""

    data: Dataset
    outcomes: Mapping[str, Outcomes] = field(repr=False)
    scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(repr=False)
    rows: Mapping[str, Row] = field(repr=False)
    k: int
    baseline: str
    max_concurrency: int = 1
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    version: str = anyrerank.__version__

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures. Rows are sorted and compared by the first."""
        return measure_names(self.k)

    @property
    def evaluated_queries(self) -> list[str]:
        """The queries with a relevant document. All means are over these."""
        return [query for query in self.data.queries if has_relevant(self.data.labels.get(query, {}))]
