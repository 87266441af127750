"""Running a reranker over every query of a dataset."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

from anyrerank._core.client import Bar, BaseReranker, identity_of, is_local
from anyrerank._core.pricing import Budget, estimated, together
from anyrerank._core.types import Document, RerankResponse
from anyrerank.cache import Cache
from anyrerank.errors import RerankError
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.outcome_cache import OutcomeCache
from anyrerank.evaluation.outcomes import Outcome, Outcomes

_OVERRIDES: Mapping[str, Any] = {
    "top_n": None,
    "score_threshold": None,
    "return_documents": False,
    "on_error": "raise",
    "cache": None,
}
"""Options that replace those of every reranker, so that all candidates are ranked, and failures and latencies show."""

_BATCH_SIZE = 64
"""Calls after which outcomes are cached, so that an interrupted comparison loses few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What all rerankers of a comparison share.

    Attributes:
        data: The dataset, with candidates for every query.
        shuffle: Whether candidates are sent in random order.
        max_concurrency: Maximum number of concurrent calls.
        budget: Budget for all calls together.
        cache: Where outcomes are cached.
        progress: As in `rerank_many`.
    """

    data: Dataset
    shuffle: bool = False
    max_concurrency: int = 8
    budget: Budget | None = None
    cache: Cache | None = None
    progress: bool | None = None

    def candidate_ids(self, query: str) -> list[str]:
        """Ids of the candidates, in the order in which they are sent."""
        ids = list(self.data.candidates[query])
        if self.shuffle:
            random.Random(query).shuffle(ids)  # noqa: S311  the same order every time, not a secret
        return ids

    def candidates(self, query: str) -> list[Document]:
        """The candidates, in the order in which they are sent."""
        return [self.data.documents[each] for each in self.candidate_ids(query)]


class RerankerRun:
    """One reranker over all queries.

    Args:
        name: Name in reports.
        reranker: The reranker; its `top_n`, `score_threshold`, `on_error` and `cache` are ignored.
        settings: What all rerankers of the comparison share.
    """

    def __init__(self, name: str, reranker: BaseReranker, settings: RunSettings) -> None:
        self.name = name
        self.reranker = reranker
        self._settings = settings
        cache = None if reranker.options.guardrails else settings.cache  # the keys do not cover guardrails
        self._cache = OutcomeCache(cache, {} if cache is None else _keys(reranker, settings))
        self._cached = self._cache.load()

    @property
    def missing(self) -> list[str]:
        """The queries without a cached outcome."""
        return [query for query in self._settings.data.queries if query not in self._cached]

    def estimate(self) -> float | None:
        """Estimated US dollars for the missing queries; `None` if the price is unknown."""
        price, queries = self.reranker.price(), self._settings.data.queries
        fields = self.reranker.options.rank_fields
        return together(
            estimated(price, queries[query], self._settings.candidates(query), fields) for query in self.missing
        )

    def outcomes(self) -> Outcomes:
        """Rerank the missing queries, and return the outcome of every query."""
        data, missing, outcomes = self._settings.data, self.missing, dict(self._cached)
        remaining, options = iter(missing), self._options()
        with Bar(len(missing), self._settings.progress if missing else False, self.name) as bar:
            while batch := list(islice(remaining, _BATCH_SIZE)):
                answers = self.reranker.rerank_many(
                    [data.queries[query] for query in batch],
                    [self._settings.candidates(query) for query in batch],
                    progress=False,
                    return_exceptions=True,
                    **options,
                )
                fresh = {query: self._outcome(query, each) for query, each in zip(batch, answers, strict=True)}
                self._cache.save(fresh)
                outcomes |= fresh
                bar.advance(len(batch))
        return {query: outcomes[query] for query in data.queries}

    def _options(self) -> dict[str, Any]:
        concurrency = 1 if is_local(self.reranker) else self._settings.max_concurrency
        options = {**_OVERRIDES, "max_concurrency": concurrency}
        if self.reranker.options.budget is None and self._settings.budget is not None:
            options["budget"] = self._settings.budget
        return options

    def _outcome(self, query: str, answer: RerankResponse | RerankError) -> Outcome:
        if isinstance(answer, RerankError):
            return Outcome(self._settings.data.candidates[query], error=type(answer).__name__)
        ids = self._settings.candidate_ids(query)
        return Outcome(
            ranking=[ids[index] for index in answer.results.indexes],
            scores=list(answer.results.scores),
            latency=answer.latency,
            cost=answer.cost,
        )


def _keys(reranker: BaseReranker, settings: RunSettings) -> dict[str, bytes]:
    """For each query, a digest of everything that its outcome depends on."""
    shared = repr((identity_of(reranker), settings.max_concurrency)).encode("utf-8", "surrogatepass")
    return {
        query: blake2b(
            shared
            + repr([text, settings.candidate_ids(query), settings.candidates(query)]).encode("utf-8", "surrogatepass"),
            digest_size=32,
        ).digest()
        for query, text in settings.data.queries.items()
    }
