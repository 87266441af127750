"""Prices in US dollars, from the caller or from the built-in list, `data/prices.json`.

The list has the source of each price, and the day on which it was read. Nothing here uses the network. An unknown price
is `None`, never 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from anyrerank._core.runtime import is_number
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

    def discounted(self, discount: float) -> Price:
        """This price less a discount, a fraction from 0 to 1."""
        per_query, per_token = (
            None if each is None else each * (1 - discount) for each in (self.per_query, self.per_token)
        )
        return Price(per_query=per_query, per_token=per_token)


FREE = Price(per_query=0.0, per_token=0.0)
"""The price of a model that runs on this machine."""


def list_price(names: Iterable[str]) -> Price | None:
    """The list price of a model by the first of its names that is in the list, or `None`."""
    table = _table()
    return next((table[name.casefold()] for name in names if name.casefold() in table), None)


def read_prices(source: PriceFile) -> Mapping[str, Price]:
    """Prices by `provider/model` in lower case, from LiteLLM's format, in which 0 means unknown.

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
    """For each of `list_prices` the day on which it was read, as `2026-01-31`."""
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
