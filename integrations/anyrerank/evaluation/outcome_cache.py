"""Cached outcomes, so that a repeated comparison sends nothing."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from anyrerank._core.engine import warn_once
from anyrerank.cache import Cache
from anyrerank.evaluation.outcomes import Outcome, Outcomes


class OutcomeCache:
    """The outcomes of one reranker in a `Cache`.

    The first failure of a cache is logged; the comparison continues without it.

    Args:
        cache: Where outcomes are stored, or `None` to store nothing.
        keys: The key of each query.
    """

    def __init__(self, cache: Cache | None, keys: Mapping[str, bytes]) -> None:
        self._cache = cache
        self._keys = keys

    def load(self) -> dict[str, Outcome]:
        """The cached outcomes by query."""
        if self._cache is None:
            return {}
        try:
            cached = self._cache.get(list(self._keys.values()))
            fields = {query: orjson.loads(cached[key]) for query, key in self._keys.items() if key in cached}
            return {query: Outcome(**each) for query, each in fields.items()}
        except Exception as error:  # noqa: BLE001  a custom cache may raise anything
            warn_once(self._cache, error)
            return {}

    def save(self, outcomes: Outcomes) -> None:
        """Store the outcomes of calls that succeeded."""
        if self._cache is None:
            return
        succeeded = {query: outcome for query, outcome in outcomes.items() if outcome.error is None}
        try:
            self._cache.put({self._keys[query]: orjson.dumps(outcome) for query, outcome in succeeded.items()})
        except Exception as error:  # noqa: BLE001  a custom cache may raise anything
            warn_once(self._cache, error)
