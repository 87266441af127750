"""Cached outcomes, so that a repeated comparison sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import orjson

from anyrerank._core.engine import warn_once
from anyrerank._core.pricing import Price, attempt_cost
from anyrerank._core.types import BilledUnits, Meta
from anyrerank.cache import Cache
from anyrerank.evaluation.outcomes import Outcome, Outcomes


class OutcomeCache:
    """The outcomes of one reranker in a `Cache`.

    The first failure of a cache is logged; the comparison continues without it.

    Args:
        cache: Where outcomes are stored, or `None` to store nothing.
        keys: The key of each query.
        price: The price of the model, or `None` if it is unknown. Where it has changed, costs are computed anew.
    """

    def __init__(self, cache: Cache | None, keys: Mapping[str, bytes], price: Price | None) -> None:
        self._cache = cache
        self._keys = keys
        self._price = price

    def load(self) -> dict[str, Outcome]:
        """The cached outcomes by query."""
        if self._cache is None:
            return {}
        try:
            cached = self._cache.get(list(self._keys.values()))
            fields = {query: orjson.loads(cached[key]) for query, key in self._keys.items() if key in cached}
            return {query: self._outcome(each) for query, each in fields.items()}
        except Exception as error:  # noqa: BLE001  a custom cache may raise anything
            warn_once(self._cache, error)
            return {}

    def save(self, outcomes: Outcomes) -> None:
        """Store the outcomes of calls that succeeded."""
        if self._cache is None:
            return
        succeeded = {query: outcome for query, outcome in outcomes.items() if outcome.error is None}
        try:
            self._cache.put({self._keys[query]: self._stored(outcome) for query, outcome in succeeded.items()})
        except Exception as error:  # noqa: BLE001  a custom cache may raise anything
            warn_once(self._cache, error)

    def _stored(self, outcome: Outcome) -> bytes:
        return orjson.dumps({**asdict(outcome), "price": self._price and asdict(self._price)})

    def _outcome(self, fields: dict[str, Any]) -> Outcome:
        price = Price(**(fields.pop("price", None) or {}))
        outcome = Outcome(**fields)
        if not self._price or self._price == price:
            return outcome
        billed = BilledUnits(search_units=outcome.search_units, total_tokens=outcome.total_tokens)
        cost = attempt_cost(self._price, Meta(billed_units=billed), len(outcome.ranking)).dollars
        return outcome if cost is None else replace(outcome, cost=cost)
