"""Costs in US dollars: of an attempt, before it is sent or after, and of a whole call.

An unknown cost is `None`, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anyrerank._core.pricing.prices import Price
from anyrerank._core.types import (
    BYTES_PER_TOKEN,
    Attempt,
    Document,
    Meta,
    default_search_units,
    text_of,
    tokens_to_read,
)

MAYBE_BILLED = frozenset({"APITimeoutError"})
"""Errors after which the provider may still finish an attempt, and bill it."""


@dataclass(frozen=True, slots=True)
class AttemptCost:
    """The cost of an attempt.

    Attributes:
        dollars: US dollars, or `None` if it is unknown.
        estimated: Whether it is computed from estimated usage.
    """

    dollars: float | None
    estimated: bool = False


def attempt_cost(price: Price | None, meta: Meta | None, documents: int) -> AttemptCost:
    """The cost of an attempt that the provider bills.

    Args:
        price: The price of the model, or `None` if it is unknown.
        meta: The usage that the provider reports; `None` for an answer that could not be read.
        documents: Number of documents that were sent.
    """
    if not price:
        return AttemptCost(None)
    if not (price.per_query or price.per_token):
        return AttemptCost(0.0)
    billed = meta.billed_units if meta else None
    units, tokens = (billed.search_units, billed.total_tokens) if billed else (None, None)
    if price.per_token and tokens is None:
        return AttemptCost(None)
    estimated = price.per_query is not None and (units is None or bool(meta and meta.estimated))
    units = default_search_units(documents) if units is None else units
    return AttemptCost((price.per_query or 0.0) * units + (price.per_token or 0.0) * (tokens or 0), estimated)


def estimate_cost(
    price: Price | None,
    query: str,
    documents: Sequence[Document],
    rank_fields: Sequence[str] | None = None,
    *,
    starts: Sequence[int] = (0,),
    unit_tokens: int | None = None,
) -> float | None:
    """The estimated cost of ranking `documents` in US dollars, or `None` if the price is unknown.

    Args:
        price: The price of the model.
        query: The query, with the instruction if there is one, for prices per token.
        documents: Those that are sent.
        rank_fields: The fields of mapping documents that are ranked on.
        starts: Index of the first document of each request.
        unit_tokens: As in `expected_units`.
    """
    if not price:
        return None
    by_token = price.per_token * tokens_to_read(query, documents, rank_fields) if price.per_token else 0.0
    return by_token + (price.per_query or 0.0) * expected_units(documents, rank_fields, starts, unit_tokens)


def expected_units(
    documents: Sequence[Document],
    rank_fields: Sequence[str] | None,
    starts: Sequence[int],
    unit_tokens: int | None,
) -> int:
    """The estimated search units of all requests.

    Args:
        documents: Those that are sent.
        rank_fields: The fields of mapping documents that are ranked on.
        starts: Index of the first document of each request.
        unit_tokens: A longer document counts as several, of this many tokens each; `None` if each counts as one.
    """
    ends = (*starts[1:], len(documents))
    if unit_tokens is None:
        return sum(default_search_units(end - start) for start, end in zip(starts, ends, strict=True))
    counts = [_pieces(each, rank_fields, unit_tokens * BYTES_PER_TOKEN) for each in documents]
    return sum(default_search_units(sum(counts[start:end])) for start, end in zip(starts, ends, strict=True))


def _pieces(document: Document, rank_fields: Sequence[str] | None, size: int) -> int:
    """How many pieces of `size` bytes a document is split into; an image is one."""
    if not (isinstance(document, str) or rank_fields or "text" in document):
        return 1
    return max(1, math.ceil(len(text_of(document, rank_fields).encode("utf-8", "replace")) / size))


def total_cost(attempts: Iterable[Attempt]) -> float | None:
    """The cost of all attempts in US dollars.

    Returns:
        `None` if the cost of a billed one is unknown, or if none was billed but one of `MAYBE_BILLED` may be.
    """
    given = list(attempts)
    costs = [attempt.cost for attempt in given if attempt.billed]
    return None if not costs and any(attempt.error in MAYBE_BILLED for attempt in given) else sum_costs(costs)


def sum_costs(costs: Iterable[float | None]) -> float | None:
    """The sum of `costs`, or `None` if one of them is unknown."""
    given = list(costs)
    known = [cost for cost in given if cost is not None]
    return math.fsum(known) if len(known) == len(given) else None


def certain_cost(attempts: Iterable[Attempt]) -> float | None:
    """`total_cost`, or `None` if an attempt may or may not be billed: a budget then counts the estimate."""
    given = list(attempts)
    return None if any(attempt.error in MAYBE_BILLED for attempt in given) else total_cost(given)
