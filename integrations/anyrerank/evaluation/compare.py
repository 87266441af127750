"""`compare`: which reranker is best on data of one's own, how long it takes and what it costs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from anyrerank._core.client import BaseReranker, Reranker
from anyrerank._core.pricing import Budget
from anyrerank.cache import Cache, MemoryCache
from anyrerank.errors import BadRequestError, BudgetExceededError, ConfigurationError
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.metrics import is_answered
from anyrerank.evaluation.outcomes import Asking, Contender, Outcomes
from anyrerank.evaluation.reference import FIRST_STAGE, REFERENCES, references
from anyrerank.evaluation.report import Report

_KEPT = MemoryCache(256 * 2**20, None)
"""What was asked in this process, so that running a cell again is free."""
_MOST_RESULTS = 1000


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
    cache: Cache | None = _KEPT,
    progress: bool | None = None,
    announce: Callable[[str], object] | None = None,
) -> Report:
    """Rerank the candidates of every query with every reranker, and report how good, how fast and how dear each is.

    Rows for the first stage, for chance and for an oracle that knows the labels are always there: they say what there
    is to gain. A call that fails counts as the first stage's order, and is said. Number and price of the calls are
    announced before the first one.

    Args:
        rerankers: By name: model strings, `Reranker`s, or names of a router (`router.named(...)`). Their `top_n`,
            `score_threshold`, `on_error` and `cache` do not count here.
        data: Queries, documents, labels and candidates.
        candidates: A number of documents to find for each query by words, or ids of documents by query; by default
            those of `data`. All rerankers get the same.
        k: How many results count, up to 1,000.
        baseline: What the others are compared with: a name of `rerankers`, or `"first_stage"`.
        budget_usd: US dollars that may be spent. Needs a price for every reranker. One that has a budget of its own
            keeps to that.
        shuffle: Hand the candidates over in an order of chance, to expose rerankers that lean on the incoming one.
        max_concurrency: Calls of one reranker under way at once. It makes latencies longer than those of lone calls;
            what runs on this machine is asked one at a time.
        cache: Where outcomes are kept, latencies and prices included; by default in this process. A
            `SQLiteCache("compare.db")` outlives it; `None` asks anew, as after a model has changed behind its name.
            What has guardrails is not kept.
        progress: Show a bar; by default only in a notebook.
        announce: Gets the line that says how many calls will be made and what they cost; by default it is printed.

    Raises:
        BadRequestError: A query has no candidates, a name is taken, `baseline` is no name, or nothing is labelled.
        BudgetExceededError: The calls would cost more than `budget_usd`; nothing was sent.
        RerankError: A reranker cannot be used at all: no key, no base URL, no such provider.
    """
    data = with_candidates(data, candidates)
    if baseline not in (*rerankers, *REFERENCES):
        raise BadRequestError(f"baseline is one of {', '.join((*REFERENCES, *rerankers))}")
    if type(k) is not int or not 1 <= k <= _MOST_RESULTS:
        raise BadRequestError(f"k is an integer of at least 1, and at most {_MOST_RESULTS}")
    if not any(map(is_answered, data.labels.values())):
        raise BadRequestError(
            "no query has a label that says which document answers it: add some to data.labels (label(...) helps), or "
            "see agreement(...) for what can be said without"
        )
    found = collect(
        rerankers,
        data,
        budget_usd=budget_usd,
        shuffle=shuffle,
        max_concurrency=max_concurrency,
        cache=cache,
        progress=progress,
        announce=announce,
    )
    return Report.of(data, {**references(data), **found}, k=k, baseline=baseline, at_once=max_concurrency)


def collect(
    rerankers: Mapping[str, str | BaseReranker],
    data: Dataset,
    *,
    budget_usd: float | None = None,
    shuffle: bool = False,
    max_concurrency: int = 8,
    cache: Cache | None = _KEPT,
    progress: bool | None = None,
    announce: Callable[[str], object] | None = None,
) -> dict[str, Outcomes]:
    """Only ask the rerankers, without labels: the outcome of each query by name, for `agreement` and `label`.

    Arguments and errors are those of `compare`.
    """
    data = with_candidates(data, None)
    if not rerankers:
        raise BadRequestError("there is no reranker: {'a name': 'provider/model'}")
    if taken := sorted(rerankers.keys() & set(REFERENCES)):
        raise BadRequestError(f"{', '.join(taken)}: rows of every report; give your rerankers other names")
    budget = None if budget_usd is None else Budget(budget_usd)
    asking = Asking(
        data=data, shuffle=shuffle, max_concurrency=max_concurrency, budget=budget, cache=cache, progress=progress
    )
    contenders = [
        Contender(name, each if isinstance(each, BaseReranker) else Reranker(each), asking)
        for name, each in rerankers.items()
    ]
    for contender in contenders:
        contender.reranker.check()
    costs = {contender.name: contender.estimate() for contender in contenders}
    (announce or _printed)(_announced(contenders, costs))
    _check_budget(budget, costs)
    return {contender.name: contender.outcomes() for contender in contenders}


def with_candidates(data: Dataset, candidates: int | Mapping[str, Sequence[str]] | None) -> Dataset:
    """`data`, every query of which has candidates: so many found by words, the given ones, or its own."""
    if isinstance(candidates, int):
        data = data.retrieved(candidates)
    elif candidates is not None:
        data = replace(data, candidates=candidates)
    if empty := [query for query in data.queries if not data.candidates.get(query)]:
        raise BadRequestError(
            f"{len(empty)} of {len(data.queries)} queries have no candidates, for example {empty[0]}: give some, or "
            "candidates=30 to find them by words"
        )
    return data


def _announced(contenders: Sequence[Contender], costs: Mapping[str, float | None]) -> str:
    each = [f"{contender.name} {len(contender.missing)} ({_price(costs[contender.name])})" for contender in contenders]
    known = [cost for cost in costs.values() if cost is not None]
    whole = _price(math.fsum(known)) + ("" if len(known) == len(costs) else ", and what is not known")
    calls = sum(len(contender.missing) for contender in contenders)
    return f"{calls} calls, about {whole}: {', '.join(each)}"


def _printed(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _price(cost: float | None) -> str:
    return "price not known" if cost is None else f"${cost:.4f}"


def _check_budget(budget: Budget | None, costs: Mapping[str, float | None]) -> None:
    if budget is None:
        return
    if unknown := [name for name, cost in costs.items() if cost is None]:
        raise ConfigurationError(
            f"budget_usd needs a price for every reranker, and that of {', '.join(unknown)} is not known: make it with "
            "Reranker(..., input_cost_per_query=...)"
        )
    cost = math.fsum(each for each in costs.values() if each is not None)
    if cost > budget.dollars:
        raise BudgetExceededError(
            f"the calls would cost about {_price(cost)}, and budget_usd is {_price(budget.dollars)}; nothing was sent"
        )
