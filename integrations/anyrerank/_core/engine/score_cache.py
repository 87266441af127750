"""Scores that need not be paid for again: kept in a cache, or just computed by an equal call beside this one.

What is kept is bytes under digests: 8 bytes of what it cost, then a score for a pointwise model, where the unit is the
pair of query and document, or every index and score for a listwise one, where it is the call.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

from anyrerank._core.engine.batching import merged
from anyrerank._core.runtime import DEADLOCK, Call, Flow, ForkLock, Wait
from anyrerank._core.types import Answer, RerankRequest
from anyrerank.cache import Cache

T = TypeVar("T")

_log = logging.getLogger("anyrerank")

_COST = struct.Struct("<d")
_PAIR = struct.Struct("<dd")
_ROW = struct.Struct("<Id")
_DIGEST_BYTES = 16

Sent = Callable[[Sequence[int]], Flow[tuple[Answer, float | None]]]
"""Asks for the documents at some places: the answer, and what it cost in US dollars where that is known."""


@dataclass(frozen=True, slots=True)
class Saved:
    """How many documents were not paid for, and what their scores cost once, where that is known."""

    documents: int
    dollars: float | None


NOTHING_SAVED = Saved(0, 0.0)


def pairwise(
    texts: Sequence[str], sent: Sent, *, cache: Cache, seed: bytes, deadline: float | None
) -> Flow[tuple[Answer, Saved]]:
    """Ask a pointwise model for what is neither kept nor under way, each text once.

    Args:
        texts: All that the model sees of each document.
        sent: Asks for the documents at some places.
        seed: Digest of all that a score depends on besides the document; see `seed_of`.
        deadline: A time of the monotonic clock.
    """
    start = blake2b(seed, digest_size=_DIGEST_BYTES)
    keys = [_digest(start, text) for text in texts]
    places: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, place)
    answers: list[Answer] = []

    def compute(missing: Sequence[bytes]) -> Flow[dict[bytes, bytes]]:
        answer, cost = yield from sent([places[key] for key in missing])
        answers.append(answer)
        share = math.nan if cost is None else cost / len(missing)
        return {missing[index]: _PAIR.pack(share, score) for index, score in answer.scores}

    values, fresh = yield from _shared(cache, list(places), compute, _is_pair, deadline)
    pairs = {key: _PAIR.unpack(value) for key, value in values.items()}
    old = [key for key in keys if key not in fresh]
    scores = [(place, pairs[key][1]) for place, key in enumerate(keys)]
    return replace(_one(answers), scores=scores), _saved(len(old), (pairs[key][0] for key in dict.fromkeys(old)))


def callwise(
    texts: Sequence[str], sent: Sent, *, cache: Cache, seed: bytes, deadline: float | None
) -> Flow[tuple[Answer, Saved]]:
    """The same for a listwise model, the scores of which hold for all documents of a call together."""
    state = blake2b(seed, digest_size=_DIGEST_BYTES)
    for text in texts:
        encoded = _encoded(text)
        state.update(len(encoded).to_bytes(8, "little") + encoded)
    key, count = state.digest(), len(texts)
    answers: list[Answer] = []

    def compute(_: Sequence[bytes]) -> Flow[dict[bytes, bytes]]:
        answer, cost = yield from sent(range(count))
        answers.append(answer)
        rows = b"".join(_ROW.pack(index, score) for index, score in answer.scores)
        return {key: _COST.pack(math.nan if cost is None else cost) + rows}

    values, fresh = yield from _shared(cache, [key], compute, partial(_is_call, count=count), deadline)
    value = values[key]
    scores = list(_ROW.iter_unpack(value[_COST.size :]))
    return replace(_one(answers), scores=scores), _saved(
        0 if fresh else count, [] if fresh else _COST.unpack_from(value)
    )


def _one(answers: Sequence[Answer]) -> Answer:
    return merged(answers) if len(answers) > 1 else next(iter(answers), Answer(scores=()))


def seed_of(request: RerankRequest, *about: object) -> bytes:
    """Digest of all that a score depends on besides the document: `about` the model, then query and options."""
    told = [*about, request.query, request.rank_fields, request.options, request.extra_body]
    try:
        encoded = orjson.dumps(told, default=_told, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # what JSON cannot hold, the provider will say
        encoded = _encoded(repr(told))
    return blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


def _told(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else repr(value)


def _digest(start: Any, text: str) -> bytes:
    state = start.copy()
    state.update(_encoded(text))
    found: bytes = state.digest()
    return found


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_pair(value: bytes) -> bool:
    return len(value) == _PAIR.size and math.isfinite(_PAIR.unpack(value)[1])


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


@dataclass(slots=True)
class _Flight:
    """Keys that a call is computing now, and the event loop that runs it, if one does.

    Its future gives what became of them; `None` when it was cut off, so that another call may as well compute them.
    """

    loop: asyncio.AbstractEventLoop | None = field(default_factory=asyncio._get_running_loop)
    future: Future[Mapping[bytes, bytes] | None] = field(default_factory=Future)


class _Flights:
    """What is being computed in this process, so that equal calls beside each other spend once."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._flights: dict[tuple[int, bytes], _Flight] = {}

    def claim(self, cache: Cache, keys: Iterable[bytes], flight: _Flight) -> tuple[list[bytes], list[_Flight]]:
        """Take those of `keys` that nobody computes; the others' flights."""
        mine, others = [], {}
        with self._lock:
            for key in keys:
                other = self._flights.setdefault((id(cache), key), flight)
                if other is flight:
                    mine.append(key)
                else:
                    others[id(other)] = other
        return mine, list(others.values())

    def land(self, cache: Cache, keys: Iterable[bytes], flight: _Flight, values: Mapping[bytes, bytes] | None) -> None:
        """Give back `keys`, and tell those who wait what they are."""
        with self._lock:
            for key in keys:
                if self._flights.get((id(cache), key)) is flight:
                    del self._flights[id(cache), key]
        flight.future.set_result(values)

    def forget(self) -> None:
        """Begin anew in a forked child, where nobody computes what its parent does."""
        self._flights.clear()


_FLIGHTS = _Flights()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_FLIGHTS.forget)


def _shared(
    cache: Cache,
    keys: Sequence[bytes],
    compute: Callable[[Sequence[bytes]], Flow[dict[bytes, bytes]]],
    sound: Callable[[bytes], bool],
    deadline: float | None,
) -> Flow[tuple[dict[bytes, bytes], set[bytes]]]:
    """The value of each key: kept, computed by another call, or computed here; and which were computed here."""
    values: dict[bytes, bytes] = {}
    fresh: set[bytes] = set()

    def computed(missing: Sequence[bytes]) -> Flow[dict[bytes, bytes]]:
        found = yield from compute(missing)
        fresh.update(found)
        yield from _asked(cache, partial(cache.put, found))
        return found

    while missing := [key for key in keys if key not in values]:
        flight, landed = _Flight(), dict[bytes, bytes]()
        try:
            mine, others = _FLIGHTS.claim(cache, missing, flight)
            if mine:
                kept = (yield from _asked(cache, partial(cache.get, mine))) or {}
                landed |= {key: kept[key] for key in mine if key in kept and sound(kept[key])}
                if unknown := [key for key in mine if key not in landed]:
                    landed |= yield from computed(unknown)
        except BaseException as error:
            _FLIGHTS.land(cache, missing, flight, landed if isinstance(error, Exception) else None)
            raise
        _FLIGHTS.land(cache, missing, flight, landed)
        values |= landed
        cut_off = False
        for other in others:
            found = yield Wait(other.future, other.loop, deadline)
            cut_off = cut_off or found is None
            if found is not None and found is not DEADLOCK:
                values |= {key: found[key] for key in keys if key in found}
        left = [key for key in keys if key not in values]
        if left and not cut_off:  # of a call that failed, or that is not waited for
            values |= yield from computed(left)
    return values, fresh


def _asked(cache: Cache, question: Callable[[], T]) -> Flow[T | None]:
    """What the cache says; it may fail, and then it says nothing."""
    try:
        if not cache.blocking:
            return question()
        said: T = yield Call(question)
    except Exception as error:  # noqa: BLE001  it may be the caller's own, and is no reason to lose an answer
        failed(cache, error)
        return None
    return said


def failed(cache: Cache, error: Exception) -> None:
    """Say once that a cache does not work."""
    if not cache.failed:
        cache.failed = True
        _log.warning(
            "the cache %s failed with %s: the call goes on without it; further failures are not reported",
            type(cache).__name__,
            type(error).__name__,
        )
