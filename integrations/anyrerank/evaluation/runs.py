"""Running a reranker over every query of a dataset."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from anyrerank._core.client import Bar, BaseReranker, deployment_names, identity_of, is_local, plans_of
from anyrerank._core.engine import Plan, causes, is_final
from anyrerank._core.pricing import Budget, sum_costs
from anyrerank._core.types import BilledUnits, Document, RerankResponse
from anyrerank.cache import Cache
from anyrerank.errors import (
    RateLimitError,
    RerankError,
)
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.outcome_cache import OutcomeCache
from anyrerank.evaluation.outcomes import Outcome, Outcomes
from anyrerank.evaluation.pacing import Pacer
from anyrerank.evaluation.quiet import first_of_each_kind

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
    """Settings that all rerankers of a comparison share.

    Attributes:
        data: The dataset, with candidates for every query.
        shuffle: Whether candidates are sent in random order.
        max_concurrency: Maximum number of concurrent calls.
        rpm: Maximum number of calls per minute to one reranker.
        budget: Budget for all calls together.
        cache: Where outcomes are cached.
        progress: As in `rerank_many`.
    """

    data: Dataset
    shuffle: bool = False
    max_concurrency: int = 8
    rpm: float | None = None
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
        settings: The settings of the comparison.
    """

    def __init__(self, name: str, reranker: BaseReranker, settings: RunSettings) -> None:
        self.name = name
        self.reranker = reranker
        self._settings = settings
        cache = None if reranker.options.guardrails else settings.cache  # the keys do not cover guardrails
        price = reranker.price() if len(deployment_names(reranker)) == 1 else None  # else it is not known whose
        self._cache = OutcomeCache(cache, {} if cache is None else _keys(reranker, settings), price)
        self._cached = self._cache.load()
        self._stopped = threading.Event()
        self._pacer = Pacer(settings.rpm, self._stopped.wait)
        self._final: RerankError | None = None

    @property
    def missing(self) -> list[str]:
        """The queries without a cached outcome."""
        return [query for query in self._settings.data.queries if query not in self._cached]

    def estimate(self) -> float | None:
        """Estimated US dollars for the missing queries; `None` if the price is unknown."""
        return sum_costs(plan.dollars for query in self.missing for plan in self._plans(query)[:1])

    def _plans(self, query: str) -> list[Plan]:
        """What each model that can be asked would be sent; nothing for a call that is wrong."""
        data, candidates = self._settings.data, self._settings.candidates(query)
        try:
            plans = plans_of(self.reranker, data.queries[query], candidates, self._options())
        except RerankError:
            return []
        return [plan for _, plan in plans if not isinstance(plan, RerankError)]

    def outcomes(self) -> Outcomes:
        """Rerank the missing queries, and return the outcome of every query.

        The first query is sent alone. After an error that all further calls would get too, such as a refused key,
        nothing more is sent, and the remaining queries fail with that error; and so after a long time without a
        successful call.
        """
        missing, outcomes = self.missing, dict(self._cached)
        shown = self._settings.progress if missing else False
        with first_of_each_kind(), Bar(len(missing), shown, self.name) as bar:
            for batch in _batches(missing):
                fresh = dict(zip(batch, self._batch(batch), strict=True))
                self._cache.save(fresh)
                outcomes |= fresh
                bar.advance(len(batch))
        return {query: outcomes[query] for query in self._settings.data.queries}

    def _batch(self, queries: Sequence[str]) -> list[Outcome]:
        if len(queries) == 1:
            return [self._ask(queries[0])]
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            asked = [pool.submit(copy_context().run, self._ask, query) for query in queries]
            return [each.result() for each in asked]
        except BaseException:
            self._stopped.set()  # interrupted: calls in flight end, and no other one starts
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, query: str) -> Outcome:
        """Rerank one query, and wait as long as the provider's rate limit requires."""
        data, candidates = self._settings.data, self._settings.candidates(query)
        while self._final is None:
            self._pacer.wait()
            if self._stopped.is_set() or self._final is not None:
                break
            try:
                answer = self.reranker.rerank(data.queries[query], candidates, **self._options())
            except RerankError as error:
                limited = _rate_limit(error)
                if limited is not None and self._pacer.refused(limited.retry_after):
                    continue
                if limited is not None or not self._pacer.failed():
                    self._final = error = _given_up(limited or error, self._pacer.failing_for)
                elif is_final(error):
                    self._final = error
                return self._failed(query, error)
            self._pacer.succeeded()
            return self._succeeded(query, answer)
        return self._failed(query, self._final or RerankError("the comparison was stopped"))

    @property
    def _concurrency(self) -> int:
        return 1 if is_local(self.reranker) else self._settings.max_concurrency

    def _options(self) -> dict[str, Any]:
        options = {**_OVERRIDES, "max_concurrency": self._concurrency}
        if self.reranker.options.budget is None and self._settings.budget is not None:
            options["budget"] = self._settings.budget
        return options

    def _failed(self, query: str, error: RerankError) -> Outcome:
        return Outcome(self._settings.data.candidates[query], error=type(error).__name__, message=str(error))

    def _succeeded(self, query: str, answer: RerankResponse) -> Outcome:
        ids, billed = self._settings.candidate_ids(query), answer.meta.billed_units or BilledUnits()
        return Outcome(
            ranking=[ids[index] for index in answer.ranking.indexes],
            scores=list(answer.ranking.scores),
            latency=answer.latency,
            cost=answer.cost,
            search_units=billed.search_units,
            total_tokens=billed.total_tokens,
        )


def _batches(queries: Sequence[str]) -> Iterator[Sequence[str]]:
    """The first query alone, and then batches."""
    if queries:
        yield queries[:1]
    for start in range(1, len(queries), _BATCH_SIZE):
        yield queries[start : start + _BATCH_SIZE]


def _rate_limit(error: RerankError) -> RateLimitError | None:
    """The 429 in an error, if waiting may help: of several models, the one with the shortest wait."""
    limits = [each for each in causes(error) if isinstance(each, RateLimitError)]
    return min(limits, key=lambda each: each.retry_after or 0.0, default=None)


def _given_up(error: RerankError, seconds: float) -> RerankError:
    """`error`, which says why nothing more is sent: no call succeeded for some seconds, or a wait would be too long."""
    why = f"no call succeeded for {seconds:.0f} s"
    if seconds < 1 and error.retry_after is not None:
        why = f"the provider asks to wait for {error.retry_after:.0f} s"
    again = "try again later" + (", or with a lower rpm" if isinstance(error, RateLimitError) else "")
    error.message = f"given up: {why}; {again}: {error.message}"
    return error


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
