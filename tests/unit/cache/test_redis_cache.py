"""Scores in a Redis server: shared, isolated, and never in the way of a call."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from redis import Redis
from tests.support.frameworks import Wire
from tests.support.harness import QUERY, Mode
from tests.support.redis_cache import afetched, fetched
from tests.support.redis_server import RedisServer

from anyrerank import ConfigurationError, RedisCache, Reranker, RerankResponse, StateUnavailableError
from anyrerank.cache import Cache
from anyrerank.cache import redis as redis_cache

JINA = "jina_ai/jina-reranker-v3"
TEXTS = ["a 0.1", "b 0.9", "c 0.5"]
ENTRIES = {bytes([number]) * 16: bytes([number]) * (8 + number) for number in range(30)}
LONG = 2.0
"""Seconds that a call without Redis stays far below, on a busy machine too; each wait for Redis ends after 0.05."""


@pytest.fixture
def server(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def served(mode: Mode, wire: Wire, cache: Cache, model: str = "cohere/rerank-v3.5") -> Reranker:
    return mode.reranker(model, http_client=mode.client(transport=httpx.MockTransport(wire)), cache=cache)


def stored(mode: Mode, cache: RedisCache) -> None:
    """Wait until everything is stored."""
    if mode.asynchronous:
        mode.run(cache.aclose())


def reranked(mode: Mode, wire: Wire, cache: RedisCache, model: str = "cohere/rerank-v3.5") -> RerankResponse:
    mode.run(afetched(cache, [b"none" * 4])) if mode.asynchronous else fetched(cache, [b"none" * 4])
    response = mode.rerank(served(mode, wire, cache, model), QUERY, TEXTS)
    stored(mode, cache)
    assert [result.index for result in response.results] == [1, 2, 0]
    return response


@pytest.mark.parametrize("model", ["cohere/rerank-v3.5", JINA])
def test_another_process_finds_the_scores(mode: Mode, redis_url: str, model: str) -> None:
    wire = Wire()
    first = reranked(mode, wire, RedisCache(redis_url), model)
    second = reranked(mode, wire, RedisCache(redis_url), model)
    assert (first.cached, second.cached, len(wire.requests)) == (0, 3, 1)
    assert second.results.scores == first.results.scores
    assert second.saved == pytest.approx(first.cost)


def test_values_of_any_size_and_number_come_back(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_cache, "_SECONDS", 5.0)  # this machine may be busy
    cache = RedisCache(redis_url)
    many = {number.to_bytes(32, "big"): number.to_bytes(8, "big") for number in range(9_000)}
    large = {b"large" * 4: bytes(100_000)}
    for entries in (ENTRIES, many, large):
        cache.put(entries)
        assert cache.get([*entries, b"not there" * 2]) == entries
    cache.put({})
    assert cache.get([]) == {}


def test_entries_expire(redis_url: str, server: Redis) -> None:
    RedisCache(redis_url, ttl=90).put(ENTRIES)
    assert {1 <= server.ttl(key) <= 90 for key in server.scan_iter()} == {True}
    RedisCache(redis_url, ttl=None).put(ENTRIES)
    assert {server.ttl(key) for key in server.scan_iter()} == {-1}
    RedisCache(redis_url, ttl=0.0001).put(ENTRIES)
    while server.dbsize():
        pass


def damage(server: Redis) -> Iterator[None]:
    """Change all values, in one way after another."""
    keys = list(server.scan_iter())
    values = [server.get(key) for key in keys]
    for change in (
        lambda value, _: value[:-1],
        lambda value, _: bytes([*value[:-1], value[-1] ^ 1]),
        lambda _, other: other,
        lambda *_: b"",
        lambda *_: bytes(20),
        lambda *_: b"a value of another program",
    ):
        for key, value, other in zip(keys, values, values[1:] + values[:1], strict=True):
            server.set(key, change(value, other))
        yield
    for key in keys:
        server.delete(key)
        server.rpush(key, "not a string")
    yield


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_damaged_or_foreign_value_counts_as_not_cached(redis_url: str, server: Redis, asynchronous: bool) -> None:
    cache = RedisCache(redis_url)
    cache.put(ENTRIES)
    for _ in damage(server):
        assert (asyncio.run(afetched(cache, list(ENTRIES))) if asynchronous else fetched(cache, list(ENTRIES))) == {}


def test_a_damaged_score_is_asked_for_again(mode: Mode, redis_url: str, server: Redis) -> None:
    wire, cache = Wire(), RedisCache(redis_url)
    reranked(mode, wire, cache)
    key = next(server.scan_iter())
    server.setrange(key, 12, b"\x01")
    assert reranked(mode, wire, cache).cached == 2
    assert [len(body["documents"]) for body in wire.bodies] == [3, 1]


def test_clear_removes_the_entries_of_its_prefix_alone(redis_url: str, server: Redis) -> None:
    caches = [RedisCache(redis_url, prefix=prefix) for prefix in ("a", "ab", "a*", "[ab]", "a\\")]
    for cache in caches:
        cache.put(ENTRIES)
    for name in ("a:budget:nightly", "a:scoreboard", "other"):
        server.set(name, "1")
    for done, cache in enumerate(caches, 1):
        cache.clear()
        assert [len(each.get(list(ENTRIES))) for each in caches] == [0] * done + [30] * (len(caches) - done)
    assert server.dbsize() == 3


def test_a_pickle_and_a_repr_hold_no_password(
    new_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = new_redis(password="secret-word")
    redis.start()
    monkeypatch.setenv("REDIS_URL", redis.url)
    cache = RedisCache("os.environ/REDIS_URL", ttl=60, prefix="p")
    cache.put(ENTRIES)
    text = pickle.dumps(cache)
    assert b"secret" not in text
    assert "secret" not in repr(cache)
    for other in (pickle.loads(text), copy.deepcopy(cache)):  # noqa: S301
        assert other.get(list(ENTRIES)) == ENTRIES
        assert repr(other) == repr(cache)


def test_threads_and_event_loops_share_a_cache(redis_url: str) -> None:
    cache = RedisCache(redis_url)

    async def once(number: int) -> dict[bytes, bytes]:
        await cache.aput({bytes([number]) * 16: b"x" * 8})
        await cache.aclose()
        return await afetched(cache, [bytes([number]) * 16])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda number: asyncio.run(once(number)), range(8)))
        assert all(pool.map(lambda number: cache.get([bytes([number]) * 16]), range(8)))


def test_the_end_of_an_event_loop_waits_for_what_is_stored(redis_url: str) -> None:
    cache = RedisCache(redis_url)
    asyncio.run(cache.aput(ENTRIES))
    assert cache.get(list(ENTRIES)) == ENTRIES


# A server that cannot be used


def timed(mode: Mode, wire: Wire, cache: RedisCache) -> None:
    """Calls go on, without waiting for long, and say once that the cache failed."""
    reranker = served(mode, wire, cache)
    began = time.monotonic()
    for number in range(1, 6):
        response = mode.rerank(reranker, QUERY, TEXTS)
        assert (response.results.indexes, response.cached, len(wire.requests)) == ((1, 2, 0), 0, number)
    assert time.monotonic() - began < LONG


def test_calls_go_on_while_the_server_is_away(
    mode: Mode, new_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    redis = new_redis()
    timed(mode, Wire(), RedisCache(redis.url))
    assert [each.levelno for each in caplog.records if "RedisCache failed" in each.getMessage()] == [logging.WARNING]


def test_calls_go_on_while_the_server_hangs(mode: Mode, new_redis: Callable[..., RedisServer]) -> None:
    redis, wire = new_redis(), Wire()
    redis.start()
    cache = RedisCache(redis.url)
    reranked(mode, Wire(), cache)
    redis.pause()
    timed(mode, wire, cache)
    redis.resume()
    cache = RedisCache(redis.url)
    assert reranked(mode, wire, cache).cached == 3


def test_calls_go_on_where_connections_are_made_and_never_answered(mode: Mode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        timed(mode, Wire(), RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}"))


def test_a_server_that_comes_back_is_used_again(mode: Mode, new_redis: Callable[..., RedisServer]) -> None:
    redis, wire = new_redis(), Wire()
    cache = RedisCache(redis.url)
    reranker = served(mode, wire, cache)
    mode.rerank(reranker, QUERY, TEXTS)
    redis.start()
    deadline = time.monotonic() + 20
    while not mode.rerank(reranker, QUERY, TEXTS).cached:
        assert time.monotonic() < deadline


def test_what_a_server_that_is_away_would_have_stored_is_not_kept(new_redis: Callable[..., RedisServer]) -> None:
    redis = new_redis()
    cache = RedisCache(redis.url)

    async def work() -> None:
        for number in range(20_000):
            await cache.aput({number.to_bytes(16, "big"): bytes(1_000)})
            if not number % 1_000:
                await asyncio.sleep(0)
        gc.collect()
        tuples = [each for each in gc.get_objects() if type(each) is tuple and each]
        held = [each for each in tuples if isinstance(each[0], str) and each[0] == "EVALSHA"]
        assert len(held) < 2_000

    asyncio.run(work())


def test_a_cache_that_cannot_be_cleared_says_so(new_redis: Callable[..., RedisServer]) -> None:
    with pytest.raises(StateUnavailableError, match="cannot be cleared"):
        RedisCache(new_redis().url).clear()


WRONG: dict[str, dict[str, Any]] = {
    "URL": {"url": "http://secret-word@host"},
    "variable": {"url": "os.environ/NOT_SET"},
    "ttl": {"ttl": 0},
    "prefix": {"prefix": ""},
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisCache(**{"url": "redis://127.0.0.1", **given})
    assert "secret" not in str(caught.value)


def test_check_finds_a_server_that_cannot_be_used_and_says_why(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis(password="pass-Word-1")
    cache = RedisCache(server.url)
    with pytest.raises(StateUnavailableError, match="so no scores are cached; check the URL"):
        cache.check()
    server.start()
    cache.check()
    for url in (server.url.replace("Word-1", "Word-2"), server.url.replace(":pass-Word-1@", "")):
        with pytest.raises(StateUnavailableError, match="so no scores are cached") as refused:
            RedisCache(url).check()
        assert "Word" not in str(refused.value)
    server.stop()
    server.start(replicaof="127.0.0.1 1")
    with pytest.raises(StateUnavailableError, match="read only replica, so no scores are cached"):
        cache.check()


def test_failure_is_logged_once_with_the_reason(
    mode: Mode, new_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    cache = RedisCache(new_redis().url)
    with caplog.at_level(logging.WARNING, "anyrerank"):
        for _ in range(2):
            mode.rerank(served(mode, Wire(), cache), QUERY, TEXTS)
    (record,) = caplog.records
    assert "RedisCache failed: Redis at redis://127.0.0.1" in record.getMessage()
