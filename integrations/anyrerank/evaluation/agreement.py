"""Comparing rankings without labels: their agreement, and the queries that should be labelled first."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from anyrerank._core.runtime import import_optional
from anyrerank._core.types import public
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.outcomes import Outcomes

_SHOWN_QUERIES = 5


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """The agreement of two rankings, averaged over all queries.

    Attributes:
        first, second: Names of the rankings.
        overlap: Fraction of the top `k` results that both have.
        tau: Kendall's tau-b over all candidates: 1 for the same order, -1 for the reverse.
    """

    first: str
    second: str
    overlap: float
    tau: float


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The agreement of rankings, which does not show which one is better.

    Attributes:
        k: Number of top results compared.
        pairs: Every pair of rankings.
        queries_by_disagreement: Ids of all queries, least overlap first: the order in which to label them.
    """

    k: int
    pairs: Sequence[PairAgreement]
    queries_by_disagreement: Sequence[str] = field(repr=False)

    def __str__(self) -> str:
        names = [f"{pair.first} / {pair.second}" for pair in self.pairs]
        width = max(map(len, names))
        lines = [f"{'':{width}}  overlap@{self.k}    tau"]
        lines += [
            f"{name:{width}}  {pair.overlap:>9.2f}  {pair.tau:>5.2f}"
            for name, pair in zip(names, self.pairs, strict=True)
        ]
        return "\n".join([*lines, self._least_agreement()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(pair.first)} / {html.escape(pair.second)}</td>"
            f"<td>{pair.overlap:.2f}</td><td>{pair.tau:.2f}</td></tr>"
            for pair in self.pairs
        )
        return (
            f"<table><thead><tr><th></th><th>overlap@{self.k}</th><th>tau</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<div>{html.escape(self._least_agreement())}</div>"
        )

    def _least_agreement(self) -> str:
        return f"least agreement on {', '.join(self.queries_by_disagreement[:_SHOWN_QUERIES])}"


def agreement(outcomes: Mapping[str, Outcomes], k: int = 10) -> Agreement:
    """Measure how much rankings of the same candidates agree.

    Args:
        outcomes: Outcomes by name and query, as in the result of `collect` or in `Report.outcomes`; at least two names.
        k: Number of top results to compare.

    Raises:
        BadRequestError: There are fewer than two rankings.
    """
    if len(outcomes) < 2:
        raise BadRequestError(f"agreement needs at least two rankings, got {len(outcomes)}")
    queries = list(next(iter(outcomes.values())))
    overlaps = {query: _overlap([each[query].ranking for each in outcomes.values()], k) for query in queries}
    return Agreement(
        k=k,
        pairs=[_pair(first, second, outcomes, k) for first, second in combinations(outcomes, 2)],
        queries_by_disagreement=sorted(queries, key=lambda query: overlaps[query]),
    )


def _pair(first: str, second: str, outcomes: Mapping[str, Outcomes], k: int) -> PairAgreement:
    one, other = outcomes[first], outcomes[second]
    rankings = [(one[query].ranking, other[query].ranking) for query in one]
    return PairAgreement(
        first=first,
        second=second,
        overlap=sum(_overlap(pair, k) for pair in rankings) / len(rankings),
        tau=sum(_tau(*pair) for pair in rankings) / len(rankings),
    )


def _overlap(rankings: Sequence[Sequence[str]], k: int) -> float:
    """The fraction of the top `k` that all rankings have."""
    tops = [set(ranking[:k]) for ranking in rankings]
    return len(set.intersection(*tops)) / max(1, *map(len, tops))


def _tau(first: Sequence[str], second: Sequence[str]) -> float:
    if len(first) < 2:
        return 1.0
    ranks = {document: rank for rank, document in enumerate(second)}
    result = import_optional("scipy.stats", "evaluation").kendalltau(
        range(len(first)), [ranks[document] for document in first]
    )
    return float(result.statistic)
