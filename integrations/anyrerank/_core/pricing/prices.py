"""What an attempt costs in US dollars: by the caller's prices, by what the provider reports, or by the list prices.

`data/prices.json` holds the list prices, and says where and when they were read. Nothing here uses the network. A price
that is not known is `None`, never 0.
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
from anyrerank._core.types import Attempt, Document, Meta, default_search_units, tokens_to_read
from anyrerank.errors import BadRequestError, ConfigurationError

PriceFile: TypeAlias = str | os.PathLike[str] | Mapping[str, Mapping[str, Any]]
"""A file in the format of LiteLLM's `model_prices_and_context_window.json`, or the content of one."""

_PER_QUERY, _PER_TOKEN = "input_cost_per_query", "input_cost_per_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a model.

    Attributes:
        per_query: US dollars per search unit.
        per_token: US dollars per token.

    Raises:
        BadRequestError: One of them is not a number of at least 0.
    """

    per_query: float | None = None
    per_token: float | None = None

    def __post_init__(self) -> None:
        for name, value in ((_PER_QUERY, self.per_query), (_PER_TOKEN, self.per_token)):
            if value is not None and not (is_number(value) and value >= 0):
                raise BadRequestError(f"{name} must be a number of US dollars of at least 0, or None")

    def __bool__(self) -> bool:
        return self.per_query is not None or self.per_token is not None

    def less(self, discount: float) -> Price:
        """This price, lower by a share from 0 to 1."""
        per_query, per_token = (
            None if each is None else each * (1 - discount) for each in (self.per_query, self.per_token)
        )
        return Price(per_query=per_query, per_token=per_token)


FREE = Price(per_query=0.0, per_token=0.0)
"""The price of a model that runs on this machine."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What an attempt cost.

    Attributes:
        dollars: US dollars, or `None` if that is not known.
        estimated: Whether the provider did not report what was used.
    """

    dollars: float | None
    estimated: bool = False


def spent(price: Price | None, meta: Meta | None, documents: int) -> Spent:
    """What an answer cost.

    Args:
        price: The price of the model, or `None` if it is not known.
        meta: What the provider reports as used; `None` for an answer that was billed and could not be read.
        documents: How many documents were sent.
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
    units = default_search_units(documents) if units is None else units
    return Spent((price.per_query or 0.0) * units + (price.per_token or 0.0) * (tokens or 0), estimated)


def estimated(
    price: Price | None,
    query: str,
    documents: Sequence[Document],
    rank_fields: Sequence[str] | None = None,
    *,
    starts: Sequence[int] = (0,),
) -> float | None:
    """About how many US dollars it costs to rank `documents`, or `None` if the price is not known.

    Args:
        price: The price of the model.
        query: The query, for prices per token.
        documents: Those that are sent.
        rank_fields: The fields of mapping documents that are ranked on.
        starts: Index of the first document of each request.
    """
    if not price:
        return None
    by_token = price.per_token * tokens_to_read(query, documents, rank_fields) if price.per_token else 0.0
    ends = (*starts[1:], len(documents))
    units = sum(default_search_units(end - start) for start, end in zip(starts, ends, strict=True))
    return by_token + (price.per_query or 0.0) * units


def total(attempts: Iterable[Attempt]) -> float | None:
    """The cost of all attempts; `None` if that of a billed one is not known, or if none but timeouts may be billed."""
    given = list(attempts)
    costs = [attempt.cost for attempt in given if attempt.billed]
    return None if not costs and any(attempt.error in MAYBE_BILLED for attempt in given) else together(costs)


def together(costs: Iterable[float | None]) -> float | None:
    """The sum of costs, or `None` if one of them is not known."""
    given = list(costs)
    known = [cost for cost in given if cost is not None]
    return math.fsum(known) if len(known) == len(given) else None


def owed(attempts: Iterable[Attempt]) -> float | None:
    """What a budget counts for attempts; `None` if a cost is not known, or whether an attempt was billed."""
    given = list(attempts)
    return None if any(attempt.error in MAYBE_BILLED for attempt in given) else total(given)


MAYBE_BILLED = frozenset({"APITimeoutError"})
"""Errors of attempts that the provider may have finished and billed all the same."""


def listed(names: Iterable[str]) -> Price | None:
    """The list price of a model, under the first of its names that is listed; `None` if none is."""
    table = _table()
    return next((table[name.casefold()] for name in names if name.casefold() in table), None)


def read(source: PriceFile) -> Mapping[str, Price]:
    """Prices by `provider/model` in lower case, from LiteLLM's format, in which 0 stands for unknown.

    Args:
        source: A file, or its content.

    Raises:
        ConfigurationError: It cannot be read, is not JSON, or has a price that is not a number.
    """
    if isinstance(source, Mapping):
        return _prices_in(source, "prices")
    path = Path(source)
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ConfigurationError(f"the price file {path} cannot be read: {type(error).__name__}") from None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> Mapping[str, Price]:  # noqa: ARG001  a changed file is read again
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the price file {path} cannot be read: {type(error).__name__}") from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise ConfigurationError(f"the price file {path} is not JSON: line {line}") from None
    if not isinstance(entries, dict):
        raise ConfigurationError(f"the price file {path} must be a JSON object of models")
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
    return {
        name: Price(per_query=entry.get("usd_per_search_unit"), per_token=_per_token(entry))
        for name, entry in _price_list()["models"].items()
    }


def price_dates() -> Mapping[str, str]:
    """The day on which each of them was read, as `2026-01-31`."""
    content = _price_list()
    return {name: entry.get("read", content["read"]) for name, entry in content["models"].items()}


def _price_list() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(
        files("anyrerank._core.pricing").joinpath("data/prices.json").read_text(encoding="utf-8")
    )
    return content


def _per_token(entry: Mapping[str, float]) -> float | None:
    million = entry.get("usd_per_million_tokens")
    return None if million is None else million / 1e6
