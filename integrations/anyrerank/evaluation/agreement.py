"""What can be said without labels: where rerankers agree, and which queries are worth labelling first."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from anyrerank._core.runtime import needed
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.outcomes import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two rankings of the same candidates, over all queries.

    Attributes:
        one, other: Their names.
        overlap: Mean part of the first `k` results that both have.
        tau: Mean of Kendall's tau-b over all candidates: 1 for the same order, 0 for none in common.
    """

    one: str
    other: str
    overlap: float
    tau: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How much rankings agree. Says nothing of which is better.

    Attributes:
        k: How many results count as the first ones.
        pairs: Each two of them.
        disputed: Ids of the queries, those with the least overlap first: labels tell most there.
    """

    k: int
    pairs: Sequence[Pair]
    disputed: Sequence[str] = field(repr=False)

    def __str__(self) -> str:
        width = max(len(f"{pair.one} / {pair.other}") for pair in self.pairs)
        lines = [f"{'':{width}}  overlap@{self.k}    tau"]
        lines += [
            f"{f'{pair.one} / {pair.other}':{width}}  {pair.overlap:>9.2f}  {pair.tau:>5.2f}" for pair in self.pairs
        ]
        return "\n".join([*lines, f"most disputed: {', '.join(self.disputed[:5])}"])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(pair.one)} / {html.escape(pair.other)}</td>"
            f"<td>{pair.overlap:.2f}</td><td>{pair.tau:.2f}</td></tr>"
            for pair in self.pairs
        )
        disputed = html.escape(", ".join(self.disputed[:5]))
        return (
            f"<table><thead><tr><th></th><th>overlap@{self.k}</th><th>tau</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<div>most disputed: {disputed}</div>"
        )


def agreement(outcomes: Mapping[str, Outcomes], k: int = 10) -> Agreement:
    """How much some rankings of the same candidates agree.

    Args:
        outcomes: By name and query, as `collect` and `Report.outcomes` hold them; at least two.
        k: How many results count as the first ones.
    """
    if len(outcomes) < 2:
        raise BadRequestError("agreement is between at least two rankings")
    pairs = [_pair(one, outcomes[one], other, outcomes[other], k) for one, other in combinations(outcomes, 2)]
    queries = list(next(iter(outcomes.values())))
    shared = {query: _overlap([found[query].ranking for found in outcomes.values()], k) for query in queries}
    return Agreement(k=k, pairs=pairs, disputed=sorted(queries, key=lambda query: shared[query]))


def _pair(one: str, first: Outcomes, other: str, second: Outcomes, k: int) -> Pair:
    rankings = [(first[query].ranking, second[query].ranking) for query in first]
    taus = [_tau(*each) for each in rankings]
    return Pair(
        one=one,
        other=other,
        overlap=sum(_overlap(each, k) for each in rankings) / len(rankings),
        tau=sum(taus) / len(taus),
    )


def _overlap(rankings: Sequence[Sequence[str]], k: int) -> float:
    """The part of the first `k` that all have."""
    tops = [set(ranking[:k]) for ranking in rankings]
    return len(set.intersection(*tops)) / max(1, *map(len, tops))


def _tau(one: Sequence[str], other: Sequence[str]) -> float:
    if len(one) < 2:
        return 1.0
    places = {document: place for place, document in enumerate(other)}
    found = needed("scipy.stats", "evaluation").kendalltau(range(len(one)), [places[document] for document in one])
    return float(found.statistic)
