"""`compare` and `collect`: run several rerankers over the same candidates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from anyrerank._core.client import BaseReranker, Reranker
from anyrerank._core.pricing import Budget
from anyrerank.cache import Cache, MemoryCache
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.dataset import Dataset, has_relevant
from anyrerank.evaluation.estimate import Estimate
from anyrerank.evaluation.outcomes import Outcomes
from anyrerank.evaluation.references import FIRST_STAGE, REFERENCES, references
from anyrerank.evaluation.report import Report
from anyrerank.evaluation.runs import RerankerRun, RunSettings

_PROCESS_CACHE = MemoryCache(256 * 2**20, None)
"""The default cache, so that running a notebook cell again is free."""
_MAX_K = 1000


def compare(
    rerankers: Mapping[str, str | BaseReranker],
    data: Dataset,
    *,
    candidates: int | Mapping[str, Sequence[str]] | None = None,
    k: int = 10,
    baseline: str = FIRST_STAGE,
    budget_usd: float | None = None,
    shuffle: bool = False,
    max_concurrency: int = 8,
    cache: Cache | None = _PROCESS_CACHE,
    progress: bool | None = None,
    on_estimate: Callable[[str], object] | None = None,
) -> Report:
    """Rerank the candidates of every query with every reranker, and report quality, latency and cost.

    Every report has three reference rows: the order of the first stage, a random order, and an oracle that knows the
    labels. They show how much there is to gain. A query whose call fails counts with the order of the first stage, and
    the report shows the failure.

    Args:
        rerankers: Model strings, `Reranker`s, or names of a router (`router.as_reranker(...)`), by the name to report.
            Their `top_n`, `score_threshold`, `on_error` and `cache` are ignored.
        data: Queries, documents, labels and candidates.
        candidates: Number of candidates to find for each query by lexical search, or document ids by query. By default
            the candidates of `data`. All rerankers get the same candidates.
        k: Number of top results that count, from 1 to 1,000.
        baseline: The row that the others are compared with: a name of `rerankers`, or `"first_stage"`.
        budget_usd: Maximum total cost in US dollars. Requires a known price for every reranker. A reranker with its
            own budget is limited by that instead.
        shuffle: Send the candidates in random order, to reveal a reranker that depends on the incoming order.
        max_concurrency: Maximum number of concurrent calls to one reranker. Concurrent calls take longer than single
            ones. Models on this machine are called one at a time.
        cache: Where outcomes are cached, latencies and costs included; by default in this process.
            `SQLiteCache("compare.db")` keeps them on disk. `None` asks again, for example after a model has changed
            under the same name. Outcomes of rerankers with guardrails are not cached.
        progress: Show a progress bar; by default only in a notebook.
        on_estimate: Called with one line, the number of calls and their estimated cost, before the first call. By
            default the line is printed.

    Raises:
        BadRequestError: A query has no candidates, no query has a relevant document, a name is reserved or `baseline`
            is unknown.
        BudgetExceededError: The estimated cost exceeds `budget_usd`. Nothing was sent.
        RerankError: A reranker cannot be used at all, for example because its key is missing. Nothing was sent.
    """
    data = _with_candidates(data, candidates)
    if baseline not in (*rerankers, *REFERENCES):
        raise BadRequestError(f"baseline must be one of {', '.join((*REFERENCES, *rerankers))}, got {baseline!r}")
    if type(k) is not int or not 1 <= k <= _MAX_K:
        raise BadRequestError(f"k must be an integer from 1 to {_MAX_K}, got {k!r}")
    if not any(map(has_relevant, data.labels.values())):
        raise BadRequestError(
            "no query has a relevant document in data.labels: add labels (see label(...)), or compare without labels "
            "(see agreement(...))"
        )
    outcomes = collect(
        rerankers,
        data,
        budget_usd=budget_usd,
        shuffle=shuffle,
        max_concurrency=max_concurrency,
        cache=cache,
        progress=progress,
        on_estimate=on_estimate,
    )
    return Report.from_outcomes(
        data, {**references(data), **outcomes}, k=k, baseline=baseline, max_concurrency=max_concurrency
    )


def collect(
    rerankers: Mapping[str, str | BaseReranker],
    data: Dataset,
    *,
    budget_usd: float | None = None,
    shuffle: bool = False,
    max_concurrency: int = 8,
    cache: Cache | None = _PROCESS_CACHE,
    progress: bool | None = None,
    on_estimate: Callable[[str], object] | None = None,
) -> dict[str, Outcomes]:
    """Run the rerankers without labels, for `agreement` and `label`.

    Arguments and errors are those of `compare`.

    Returns:
        The outcome of each query, by reranker.
    """
    data = _with_candidates(data, None)
    _check_names(rerankers)
    budget = None if budget_usd is None else Budget(budget_usd)
    settings = RunSettings(
        data=data, shuffle=shuffle, max_concurrency=max_concurrency, budget=budget, cache=cache, progress=progress
    )
    runs = [
        RerankerRun(name, each if isinstance(each, BaseReranker) else Reranker(each), settings)
        for name, each in rerankers.items()
    ]
    for run in runs:
        run.reranker.check()
    estimate = Estimate(
        calls={run.name: len(run.missing) for run in runs}, costs={run.name: run.estimate() for run in runs}
    )
    (on_estimate or _print)(str(estimate))
    if budget is not None:
        estimate.check(budget)
    return {run.name: run.outcomes() for run in runs}


def _with_candidates(data: Dataset, candidates: int | Mapping[str, Sequence[str]] | None) -> Dataset:
    if isinstance(candidates, int):
        data = data.with_lexical_candidates(candidates)
    elif candidates is not None:
        data = replace(data, candidates=candidates)
    if missing := [query for query in data.queries if not data.candidates.get(query)]:
        raise BadRequestError(
            f"{len(missing)} of {len(data.queries)} queries have no candidates, for example {missing[0]}: pass "
            "candidates by query, or candidates=30 for a lexical search"
        )
    return data


def _check_names(rerankers: Mapping[str, object]) -> None:
    if not rerankers:
        raise BadRequestError("rerankers must not be empty: pass {'name': 'provider/model'}")
    if reserved := sorted(rerankers.keys() & set(REFERENCES)):
        raise BadRequestError(f"{', '.join(reserved)}: reserved for reference rows; rename your reranker")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
