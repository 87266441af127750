"""What a try costs, in US dollars: by the caller's own prices, by what the provider says, or by a table.

The table holds list prices (`data/prices.json` says when they were read, and where). Nothing is asked of the network,
and a price that is not known is `None`, never 0.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from anyrerank._core.runtime import is_number
from anyrerank._core.types import Attempt, Document, Meta, tokens_to_read, usual_units
from anyrerank.errors import BadRequestError, ConfigurationError

PriceFile: TypeAlias = str | os.PathLike[str] | Mapping[str, Mapping[str, Any]]
"""A file in the format of LiteLLM's `model_prices_and_context_window.json`, or what it holds."""

_PER_QUERY, _PER_TOKEN = "input_cost_per_query", "input_cost_per_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a search unit and for a token; a model has one of them, or both."""

    per_query: float | None = None
    per_token: float | None = None

    def __post_init__(self) -> None:
        for name, value in ((_PER_QUERY, self.per_query), (_PER_TOKEN, self.per_token)):
            if value is not None and not (is_number(value) and value >= 0):
                raise BadRequestError(f"{name} is a number of US dollars of at least 0, or None")

    def __bool__(self) -> bool:
        return self.per_query is not None or self.per_token is not None


FREE = Price(per_query=0.0, per_token=0.0)
"""Of what runs on this machine."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a try cost, or `None` where that is not known; `estimated` when the provider did not say what it used."""

    dollars: float | None
    estimated: bool = False


def spent(price: Price | None, meta: Meta | None, documents: int) -> Spent:
    """What an answer cost.

    Args:
        price: Of the model, or `None` when it is not known.
        meta: What was used; `None` for an answer that was billed but could not be read.
        documents: How many were sent.
    """
    if not price:
        return Spent(None)
    if not (price.per_query or price.per_token):
        return Spent(0.0)
    billed = meta.billed_units if meta else None
    units, tokens = (billed.search_units, billed.total_tokens) if billed else (None, None)
    if price.per_token and tokens is None:
        return Spent(None)
    estimated = price.per_query is not None and (units is None or bool(meta and meta.estimated))
    units = usual_units(documents) if units is None else units
    return Spent((price.per_query or 0.0) * units + (price.per_token or 0.0) * (tokens or 0), estimated)


def estimated(
    price: Price | None,
    query: str,
    documents: Sequence[Document],
    rank_fields: Sequence[str] | None = None,
    *,
    starts: Sequence[int] = (0,),
) -> float | None:
    """About what it will cost to rank `documents`, or `None` when the price is not known.

    Args:
        starts: Where each request begins in the documents, when there are several.
    """
    if not price:
        return None
    by_token = price.per_token * tokens_to_read(query, documents, rank_fields) if price.per_token else 0.0
    ends = (*starts[1:], len(documents))
    units = sum(usual_units(end - start) for start, end in zip(starts, ends, strict=True))
    return by_token + (price.per_query or 0.0) * units


def total(attempts: Iterable[Attempt]) -> float | None:
    """What all tries cost together; `None` when one was billed and its cost is not known, or when all may have been."""
    tries = list(attempts)
    costs = [attempt.cost for attempt in tries if attempt.billed]
    return None if not costs and any(attempt.error in MAYBE_BILLED for attempt in tries) else together(costs)


def together(costs: Iterable[float | None]) -> float | None:
    """The sum of some costs, or `None` when one of them is not known."""
    given = list(costs)
    known = [cost for cost in given if cost is not None]
    return math.fsum(known) if len(known) == len(given) else None


def owed(attempts: Iterable[Attempt]) -> float | None:
    """What a budget has to count for some tries; `None` when nobody here knows whether one was billed, or its cost."""
    tries = list(attempts)
    return None if any(attempt.error in MAYBE_BILLED for attempt in tries) else total(tries)


MAYBE_BILLED = frozenset({"APITimeoutError"})
"""Tries of which nobody here knows whether the provider finished them."""


def listed(names: Iterable[str]) -> Price | None:
    """The list price of a model, by the first of its names that the table has."""
    table = _table()
    return next((table[name.casefold()] for name in names if name.casefold() in table), None)


def read(source: PriceFile) -> Mapping[str, Price]:
    """Prices by `provider/model` in lower case, from a file in LiteLLM's format, where a 0 stands for unknown.

    Raises:
        ConfigurationError: It cannot be read, is not JSON, or holds a price that is no number.
    """
    if isinstance(source, Mapping):
        return _prices_in(source, "prices")
    path = Path(source)
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ConfigurationError(f"the price file {path} cannot be read: {type(error).__name__}") from None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> Mapping[str, Price]:  # noqa: ARG001  a file that has changed is read again
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the price file {path} cannot be read: {type(error).__name__}") from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise ConfigurationError(f"the price file {path} is not JSON: line {line}") from None
    if not isinstance(entries, dict):
        raise ConfigurationError(f"the price file {path} is no JSON object of models")
    return _prices_in(entries, f"the price file {path}")


def _prices_in(entries: Mapping[str, Any], where: str) -> dict[str, Price]:
    prices = {}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping) or not entry.keys() & {_PER_QUERY, _PER_TOKEN}:
            continue
        try:
            price = Price(per_query=entry.get(_PER_QUERY) or None, per_token=entry.get(_PER_TOKEN) or None)
        except BadRequestError as error:
            raise ConfigurationError(f"{where}, {name}: {error.message}") from None
        if not price:
            continue
        provider = entry.get("litellm_provider")
        full = name if not provider or name.startswith(f"{provider}/") else f"{provider}/{name}"
        prices[full.casefold()] = price
    return prices


@cache
def _table() -> Mapping[str, Price]:
    return {name.casefold(): price for name, price in list_prices().items()}


@cache
def list_prices() -> Mapping[str, Price]:
    """The list price of every model in the built-in table, by `provider/model`."""
    text = files("anyrerank._core.pricing").joinpath("data/prices.json").read_text(encoding="utf-8")
    return {
        name: Price(per_query=entry.get("usd_per_search_unit"), per_token=_each(entry))
        for name, entry in json.loads(text)["models"].items()
    }


def _each(entry: Mapping[str, float]) -> float | None:
    million = entry.get("usd_per_million_tokens")
    return None if million is None else million / 1e6
