"""Scores from the cache, or from identical concurrent requests.

The key of an entry is a digest, its value 8 bytes for the cost followed by the scores. For a pointwise model an entry
is a pair of query and document: one score, then the relevant spans as JSON if there are some. For a listwise model it
is a call, and holds all indexes and scores.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

from anyrerank._core.engine.batching import merged
from anyrerank._core.engine.single_flight import SingleFlight, Values
from anyrerank._core.redis import RedisUnavailableError
from anyrerank._core.runtime import Flow, Invoke
from anyrerank._core.types import Answer, RerankRequest
from anyrerank.cache import Cache

T = TypeVar("T")

_log = logging.getLogger("anyrerank")

_COST = struct.Struct("<d")
_PAIR = struct.Struct("<dd")
_ROW = struct.Struct("<Id")
_DIGEST_BYTES = 16
_in_flight = SingleFlight()

Send = Callable[[Sequence[int]], Flow[tuple[Answer, float | None]]]
"""Sends the documents at some indexes; returns the answer and its cost in US dollars, if known."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The number of scores that were not paid for again, and the US dollars that they cost originally, if known."""

    documents: int
    dollars: float | None

    def at_most(self, dollars: float | None) -> Saved:
        """The same, with at most so much saved; `None` is no limit."""
        if dollars is None or self.dollars is None:
            return self
        return replace(self, dollars=min(dollars, self.dollars))


NOTHING_SAVED = Saved(0, 0.0)


def cached_pointwise(texts: Sequence[str], send: Send, *, cache: Cache, seed: bytes) -> Flow[tuple[Answer, Saved]]:
    """The scores of a pointwise model; only documents that are neither cached nor in flight are sent, each text once.

    Args:
        texts: The text of each document that the model reads.
        send: Sends the documents at some indexes.
        cache: Stores the scores.
        seed: Digest of everything that a score depends on, except the document; see `seed_of`.
    """
    keys = _pair_keys(texts, seed)
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    answers: list[Answer] = []

    def compute(missing: Sequence[bytes]) -> Flow[Values]:
        answer, cost = yield from send([first[key] for key in missing])
        answers.append(answer)
        share = math.nan if cost is None else cost / len(missing)
        spans = {index: orjson.dumps(found) for index, found in answer.spans.items()}
        return {missing[index]: _PAIR.pack(share, score) + spans.get(index, b"") for index, score in answer.scores}

    values, computed = yield from _cached(cache, list(first), compute, _is_pair)
    pairs = {key: _PAIR.unpack_from(value) for key, value in values.items()}
    found = {key: orjson.loads(value[_PAIR.size :]) for key, value in values.items() if len(value) > _PAIR.size}
    cached = [key for key in keys if key not in computed]
    scores = [(index, pairs[key][1]) for index, key in enumerate(keys)]
    saved = _saved(len(cached), (pairs[key][0] for key in dict.fromkeys(cached)))
    spans = {index: found[key] for index, key in enumerate(keys) if key in found}
    return replace(_one(answers), scores=scores, spans=spans), saved


def cached_listwise(texts: Sequence[str], send: Send, *, cache: Cache, seed: bytes) -> Flow[tuple[Answer, Saved]]:
    """The scores of a listwise model, which are valid for exactly these documents; see `cached_pointwise`."""
    key, count = _call_key(texts, seed), len(texts)
    answers: list[Answer] = []

    def compute(_: Sequence[bytes]) -> Flow[Values]:
        answer, cost = yield from send(range(count))
        answers.append(answer)
        rows = b"".join(_ROW.pack(index, score) for index, score in answer.scores)
        return {key: _COST.pack(math.nan if cost is None else cost) + rows}

    values, computed = yield from _cached(cache, [key], compute, partial(_is_call, count=count))
    value = values[key]
    scores = list(_ROW.iter_unpack(value[_COST.size :]))
    saved = NOTHING_SAVED if computed else _saved(count, _COST.unpack_from(value))
    return replace(_one(answers), scores=scores), saved


def missing(texts: Sequence[str], *, cache: Cache, seed: bytes, together: bool) -> list[int]:
    """Indexes of the documents that a call would send, because their scores are not cached. It may block.

    Args:
        texts, cache, seed: As for `cached_pointwise`.
        together: Whether the model is listwise.
    """
    if together:
        key = _call_key(texts, seed)
        known = _found(cache, [key]).get(key)
        return [] if known is not None and _is_call(known, len(texts)) else list(range(len(texts)))
    first: dict[bytes, int] = {}
    for index, key in enumerate(_pair_keys(texts, seed)):
        first.setdefault(key, index)
    found = _found(cache, list(first))
    return [index for key, index in first.items() if key not in found or not _is_pair(found[key])]


def has_all(texts: Sequence[str], *, cache: Cache, seed: bytes, together: bool) -> Flow[bool]:
    """Whether a call would send nothing, because all its scores are cached; arguments as for `missing`."""
    keys = [_call_key(texts, seed)] if together else list(dict.fromkeys(_pair_keys(texts, seed)))
    is_valid = partial(_is_call, count=len(texts)) if together else _is_pair
    found = (yield from _try(cache, partial(cache.get, keys), partial(cache.aget, keys))) or {}
    return all(key in found and is_valid(found[key]) for key in keys)


def _found(cache: Cache, keys: Sequence[bytes]) -> Values:
    """What is cached; nothing if the cache fails."""
    try:
        return cache.get(keys)
    except Exception as error:  # noqa: BLE001  a cache may be a user's class, and must not break the call
        warn_once(cache, error)
        return {}


def _pair_keys(texts: Sequence[str], seed: bytes) -> list[bytes]:
    start = blake2b(seed, digest_size=_DIGEST_BYTES)
    return [_digest(start, text) for text in texts]


def _call_key(texts: Sequence[str], seed: bytes) -> bytes:
    state = blake2b(seed, digest_size=_DIGEST_BYTES)
    for text in texts:
        encoded = _encoded(text)
        state.update(len(encoded).to_bytes(8, "little") + encoded)
    return state.digest()


def _cached(
    cache: Cache,
    keys: Sequence[bytes],
    compute: Callable[[Sequence[bytes]], Flow[Values]],
    is_valid: Callable[[bytes], bool],
) -> Flow[tuple[Values, set[bytes]]]:
    """The value of each key, and the keys whose values this call computed."""
    computed: set[bytes] = set()

    def look_up_or_compute(missing: Sequence[bytes]) -> Flow[Values]:
        found = (yield from _try(cache, partial(cache.get, missing), partial(cache.aget, missing))) or {}
        values = {key: found[key] for key in missing if key in found and is_valid(found[key])}
        if unknown := [key for key in missing if key not in values]:
            fresh = yield from compute(unknown)
            computed.update(fresh)
            yield from _try(cache, partial(cache.put, fresh), partial(cache.aput, fresh))
            values |= fresh
        return values

    values = yield from _in_flight.values(cache, keys, look_up_or_compute)
    return values, computed


def _try(cache: Cache, operation: Callable[[], T], asynchronous: Callable[[], Awaitable[T]]) -> Flow[T | None]:
    """The result of a cache operation, or `None` if it fails: the call then goes on without the cache."""
    try:
        if not cache.blocking:
            return operation()
        result: T = yield Invoke(operation, asynchronous)
    except Exception as error:  # noqa: BLE001  a cache may be a user's class, and must not break the call
        warn_once(cache, error)
        return None
    return result


def warn_once(cache: Cache, error: Exception) -> None:
    """Log the first failure of a cache."""
    if not cache.failed:
        cache.failed = True
        # The message of any other error may hold what was to be cached.
        reason = f": {error}" if isinstance(error, RedisUnavailableError) else f" with {type(error).__name__}"
        _log.warning(
            "the cache %s failed%s; calls go on without it, and further failures are not logged",
            type(cache).__name__,
            reason,
        )


def seed_of(request: RerankRequest, *model: object) -> bytes:
    """Digest of everything that a score depends on, except the document: the `model`, the query and the options."""
    parts = [*model, request.query, request.rank_fields, request.options, request.extra_body]
    try:
        encoded = orjson.dumps(parts, default=_jsonable, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # not JSON: sending it will fail
        encoded = _encoded(repr(parts))
    return blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


def _jsonable(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else repr(value)


def _one(answers: Sequence[Answer]) -> Answer:
    return merged(answers) if len(answers) > 1 else next(iter(answers), Answer(scores=()))


def _digest(start: Any, text: str) -> bytes:
    state = start.copy()
    state.update(_encoded(text))
    digest: bytes = state.digest()
    return digest


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_pair(value: bytes) -> bool:
    if len(value) < _PAIR.size or not math.isfinite(_PAIR.unpack_from(value)[1]):
        return False
    return len(value) == _PAIR.size or _is_json_list(value[_PAIR.size :])


def _is_json_list(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), list)
    except ValueError:
        return False


def _is_call(value: bytes, count: int) -> bool:
    rest = len(value) - _COST.size
    if rest <= 0 or rest % _ROW.size:
        return False
    rows = list(_ROW.iter_unpack(value[_COST.size :]))
    known = {index for index, score in rows if index < count and math.isfinite(score)}
    return len(known) == len(rows) == count


def _saved(documents: int, costs: Iterable[float]) -> Saved:
    dollars = math.fsum(costs)
    return Saved(documents, None if math.isnan(dollars) else dollars)
