"""Asking a reranker about every query: what came back, how long it took, what it cost, and what failed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

import orjson

from anyrerank._core.client import Bar, BaseReranker, identity_of, is_local
from anyrerank._core.engine import warn_once
from anyrerank._core.pricing import Budget, estimated, together
from anyrerank._core.types import Document, RerankResponse
from anyrerank.cache import Cache
from anyrerank.errors import RerankError
from anyrerank.evaluation.dataset import Dataset

_AS_MEASURED: Mapping[str, Any] = {
    "top_n": None,
    "score_threshold": None,
    "return_documents": False,
    "on_error": "raise",
    "cache": None,
}
"""Overrides of whatever a reranker was made with: all candidates come back, and nothing hides a failure or a wait."""

_CALLS_A_BATCH = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """One query at one reranker.

    Attributes:
        ranking: Ids of the candidates, best first; as the first stage had them after a failure.
        scores: Of `ranking`, where there are some.
        seconds: How long the call took, or `None` after a failure.
        dollars: What it cost, or `None` when that is not known.
        error: Name of the error class, or `None`.
    """

    ranking: Sequence[str]
    scores: Sequence[float | None] = ()
    seconds: float | None = None
    dollars: float | None = None
    error: str | None = None


Outcomes = Mapping[str, Outcome]
"""By query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How rerankers are asked.

    Attributes:
        data: With the candidates of every query.
        shuffle: Whether candidates are handed over in an order of chance.
        max_concurrency: Most calls under way at once.
        budget: For all calls together.
        cache: Where outcomes are kept, so that the same is not asked again.
        progress: As for `rerank_many`.
    """

    data: Dataset
    shuffle: bool = False
    max_concurrency: int = 8
    budget: Budget | None = None
    cache: Cache | None = None
    progress: bool | None = None

    def order(self, query: str) -> list[str]:
        """Ids of the candidates in the order in which they are handed over."""
        found = list(self.data.candidates[query])
        if self.shuffle:
            random.Random(query).shuffle(found)  # noqa: S311  nobody is to be surprised
        return found

    def documents(self, query: str) -> list[Document]:
        """The candidates in that order."""
        return [self.data.documents[each] for each in self.order(query)]


class Contender:
    """One reranker in a comparison.

    Args:
        name: For reports.
        reranker: What is asked; its `top_n`, `score_threshold`, `on_error` and `cache` do not count here.
        asking: How.
    """

    def __init__(self, name: str, reranker: BaseReranker, asking: Asking) -> None:
        self.name = name
        self.reranker = reranker
        self._asking = asking
        self._cache = None if reranker.options.guardrails else asking.cache
        self._keys = {} if self._cache is None else _keys(reranker, asking)
        self.known = self._kept()

    @property
    def missing(self) -> list[str]:
        """The queries that have to be asked."""
        return [query for query in self._asking.data.queries if query not in self.known]

    def estimate(self) -> float | None:
        """About how many US dollars that costs, or `None` when the price is not known."""
        price, queries = self.reranker.price(), self._asking.data.queries
        fields = self.reranker.options.rank_fields
        return together(
            estimated(price, queries[query], self._asking.documents(query), fields) for query in self.missing
        )

    def outcomes(self) -> Outcomes:
        """The outcome of every query; what is known is not asked again."""
        asking, found = self._asking, dict(self.known)
        missing = self.missing
        waiting = iter(missing)
        own = self.reranker.options.budget is not None or asking.budget is None
        at_once = 1 if is_local(self.reranker) else asking.max_concurrency
        options = {**_AS_MEASURED, **({} if own else {"budget": asking.budget}), "max_concurrency": at_once}
        with Bar(len(missing), asking.progress if missing else False, self.name) as bar:
            while batch := list(islice(waiting, _CALLS_A_BATCH)):
                answers = self.reranker.rerank_many(
                    [asking.data.queries[query] for query in batch],
                    [asking.documents(query) for query in batch],
                    progress=False,
                    return_exceptions=True,
                    **options,
                )
                fresh = {query: _outcome(asking, query, each) for query, each in zip(batch, answers, strict=True)}
                self._keep(fresh)
                found |= fresh
                bar.advance(len(batch))
        return {query: found[query] for query in asking.data.queries}

    def _kept(self) -> dict[str, Outcome]:
        if self._cache is None:
            return {}
        try:
            kept = self._cache.get(list(self._keys.values()))
            found = {query: orjson.loads(kept[key]) for query, key in self._keys.items() if key in kept}
            return {query: Outcome(**each) for query, each in found.items()}
        except Exception as error:  # noqa: BLE001  it may be anybody's, and what it does not have can be asked again
            warn_once(self._cache, error)
            return {}

    def _keep(self, outcomes: Mapping[str, Outcome]) -> None:
        if self._cache is None:
            return
        good = {query: outcome for query, outcome in outcomes.items() if outcome.error is None}
        try:
            self._cache.put({self._keys[query]: orjson.dumps(outcome) for query, outcome in good.items()})
        except Exception as error:  # noqa: BLE001  likewise
            warn_once(self._cache, error)


def _outcome(asking: Asking, query: str, answer: RerankResponse | RerankError) -> Outcome:
    if isinstance(answer, RerankError):
        return Outcome(asking.data.candidates[query], error=type(answer).__name__)
    ids = asking.order(query)
    return Outcome(
        ranking=[ids[index] for index in answer.results.indexes],
        scores=list(answer.results.scores),
        seconds=answer.latency,
        dollars=answer.cost,
    )


def _keys(reranker: BaseReranker, asking: Asking) -> dict[str, bytes]:
    """A digest of all that an outcome depends on, by query."""
    about = repr((identity_of(reranker), asking.max_concurrency)).encode("utf-8", "surrogatepass")
    asked = {query: [text, asking.order(query), asking.documents(query)] for query, text in asking.data.queries.items()}
    return {
        query: blake2b(about + repr(each).encode("utf-8", "surrogatepass"), digest_size=32).digest()
        for query, each in asked.items()
    }
