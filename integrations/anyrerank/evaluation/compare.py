"""`compare` and `collect`: run several rerankers over the same candidates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike

from anyrerank._core.client import BaseReranker, Reranker, Router
from anyrerank._core.pricing import Budget
from anyrerank.cache import Cache, MemoryCache
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.dataset import Dataset, has_relevant
from anyrerank.evaluation.estimate import Estimate
from anyrerank.evaluation.files import read_run
from anyrerank.evaluation.forms import ids_of
from anyrerank.evaluation.outcomes import Outcomes
from anyrerank.evaluation.references import FIRST_STAGE, REFERENCES, references
from anyrerank.evaluation.report import Report
from anyrerank.evaluation.runs import RerankerRun, RunSettings

_PROCESS_CACHE = MemoryCache(256 * 2**20, None)
"""The default cache, so that running a notebook cell again is free."""
_MAX_K = 1000
_DEFAULT_CANDIDATES = 30

FirstStage = str | PathLike[str] | Mapping[str, Sequence[str]] | Callable[[str], Iterable[str]]
"""A run file, document ids by query id, or a function from the text of a query to document ids, best first."""


def compare(
    rerankers: Mapping[str, str | BaseReranker],
    data: Dataset,
    *,
    candidates: int | Mapping[str, Sequence[str]] | None = None,
    first_stage: FirstStage | None = None,
    include_self: bool = False,
    k: int = 10,
    baseline: str = FIRST_STAGE,
    budget_usd: float | None = None,
    shuffle: bool = False,
    max_concurrency: int = 8,
    rpm: float | None = None,
    cache: Cache | None = _PROCESS_CACHE,
    progress: bool | None = None,
    announce: Callable[[str], object] | None = None,
) -> Report:
    """Rerank the candidates of every query with every reranker, and report quality, latency and cost.

    Every report has three reference rows: the order of the first stage, a random order, and an oracle that uses the
    labels. They show the range of possible results.

    A query whose call fails counts with the order of the first stage; the report marks such numbers. A reranker whose
    every call failed is reported as failed, without numbers. After a refused key, a missing permission or an unknown
    model (401, 403, 404) nothing more is sent to that reranker. After a 429, calls wait as long as the provider asks. A
    reranker without a successful call for 5 minutes, or for 90 seconds if none ever succeeded, is given up: its
    remaining queries count as failed. Warnings of the same kind are logged once; the report counts the failed calls.

    Args:
        rerankers: Model strings, `Reranker`s, or names of a router (`router.as_reranker(...)`), by the name to report.
            Their `top_n`, `score_threshold`, `on_error` and `cache` are ignored.
        data: Queries, documents, labels and candidates.
        candidates: Number of candidates to find for each query, by lexical search unless `first_stage` is given; or
            document ids by query. By default the candidates of `data`. All rerankers get the same candidates.
        first_stage: Your retriever: the path of a run in TREC's format, document ids by query id, or a function that
            takes the text of a query and returns document ids, best first. The best `candidates` are used, by default
            30.
        include_self: Whether a lexical search may return the query itself, as in `Dataset.with_lexical_candidates`.
        k: Number of top results that count, from 1 to 1,000.
        baseline: The row that the others are compared with: a name of `rerankers`, or `"first_stage"`.
        budget_usd: Maximum total cost in US dollars. Requires a known price for every reranker. A reranker with its
            own budget is limited by that instead.
        shuffle: Send the candidates in random order, to reveal a reranker that depends on the incoming order.
        max_concurrency: Maximum number of concurrent calls to one reranker. Concurrent calls take longer than single
            ones. Models on this machine are called one at a time.
        rpm: Maximum number of calls per minute to one reranker, for example 10 for a trial key.
        cache: Where outcomes are cached, latencies and costs included; by default in this process.
            `SQLiteCache("compare.db")` keeps them on disk. `None` asks again, for example after a model has changed
            under the same name. Outcomes of rerankers with guardrails are not cached.
        progress: Show a progress bar; by default only in a notebook.
        announce: Called with one line, the number of calls and their estimated cost, before the first call. By
            default the line is printed.

    Raises:
        BadRequestError: A query has no candidates, no query has a relevant document, a name is reserved or `baseline`
            is unknown.
        BudgetExceededError: The estimated cost exceeds `budget_usd`. Nothing was sent.
        RerankError: A reranker cannot be used at all, for example because its key is missing. Nothing was sent.
    """
    _check(rerankers, data)
    data = _with_candidates(data, candidates, first_stage, include_self=include_self)
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
        rpm=rpm,
        cache=cache,
        progress=progress,
        announce=announce,
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
    rpm: float | None = None,
    cache: Cache | None = _PROCESS_CACHE,
    progress: bool | None = None,
    announce: Callable[[str], object] | None = None,
) -> dict[str, Outcomes]:
    """Run the rerankers without labels, for `agreement` and `label`.

    Arguments and errors are those of `compare`.

    Returns:
        The outcome of each query, by reranker.
    """
    _check(rerankers, data)
    data = _with_candidates(data, None, None)
    if type(max_concurrency) is not int or max_concurrency < 1:
        raise BadRequestError(f"max_concurrency must be a positive integer, got {max_concurrency!r}")
    if rpm is not None and not rpm > 0:
        raise BadRequestError(f"rpm must be a positive number of calls per minute, or None, got {rpm!r}")
    budget = None if budget_usd is None else Budget(budget_usd)
    settings = RunSettings(
        data=data,
        shuffle=shuffle,
        max_concurrency=max_concurrency,
        rpm=rpm,
        budget=budget,
        cache=cache,
        progress=progress,
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
    (announce or _print)(str(estimate))
    if budget is not None:
        estimate.check(budget)
    return {run.name: run.outcomes() for run in runs}


def _with_candidates(
    data: Dataset,
    candidates: int | Mapping[str, Sequence[str]] | None,
    first_stage: FirstStage | None,
    *,
    include_self: bool = False,
) -> Dataset:
    if first_stage is not None:
        if isinstance(candidates, Mapping):
            raise BadRequestError("candidates must be a number, or None, if first_stage is given")
        data = replace(data, candidates=retrieved(first_stage, data, candidates or _DEFAULT_CANDIDATES))
    elif isinstance(candidates, int):
        data = data.with_lexical_candidates(candidates, include_self=include_self)
    elif candidates is not None:
        data = replace(data, candidates=candidates)
    if missing := [query for query in data.queries if not data.candidates.get(query)]:
        raise BadRequestError(
            f"{len(missing)} of {len(data.queries)} queries have no candidates, for example {missing[0]}: pass "
            "first_stage= with your retriever, candidates by query, or candidates=30 for a lexical search"
        )
    return data


def retrieved(first_stage: FirstStage, data: Dataset, count: int) -> dict[str, list[str]]:
    """The `count` best documents of a first stage for each query.

    Raises:
        BadRequestError: A run cannot be read, or a function returned something other than ids of documents.
    """
    if callable(first_stage):
        found = {query: ids_of(first_stage(text), "what first_stage returns") for query, text in data.queries.items()}
        if any(not isinstance(each, str) for ids in found.values() for each in ids):
            raise BadRequestError("first_stage must return the ids of documents, as strings")
    else:
        run = first_stage if isinstance(first_stage, Mapping) else read_run(first_stage)
        found = {query: list(run.get(query, ())) for query in data.queries}
    return {query: list(dict.fromkeys(ids))[:count] for query, ids in found.items()}


def _check(rerankers: object, data: object) -> None:
    if not isinstance(data, Dataset):
        raise BadRequestError(f"data must be a Dataset, got {type(data).__name__}")
    if not isinstance(rerankers, Mapping):
        kind = type(rerankers).__name__
        raise BadRequestError(f"rerankers must be a mapping such as {{'name': 'provider/model'}}, got {kind}")
    if not rerankers:
        raise BadRequestError("rerankers must not be empty: pass {'name': 'provider/model'}")
    if reserved := sorted(rerankers.keys() & set(REFERENCES)):
        raise BadRequestError(f"{', '.join(reserved)}: reserved for reference rows; rename your reranker")
    for name, each in rerankers.items():
        if isinstance(each, Router):
            raise BadRequestError(
                f"reranker {name} is a Router: pass router.as_reranker('a name') for each of its names"
            )
        if not isinstance(each, str | BaseReranker):
            raise BadRequestError(f"reranker {name} must be a model string or a Reranker, got {type(each).__name__}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
