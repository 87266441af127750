"""Limits of a key over replicas, while Redis does not answer, and when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from anyrerank._core.redis import RedisUnavailableError
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys import shared_limits
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.shared_limits import SharedLimits
from anyrerank.state import Notifications, RedisState
from anyrerank.state.whole import Whole


@pytest.fixture
def server(new_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis server of the test's own."""
    server = new_redis()
    server.start()
    return server


class _Two(Notifications):
    """News of two replicas."""

    @property
    def replicas(self) -> int:
        return 2


@pytest.fixture
async def state(server: RedisServer) -> AsyncIterator[RedisState]:
    """The state of a replica; it waits long, so that only a server that is down does not answer."""
    async with RedisState(server.url, timeout=2.0) as made:
        yield made


def limits_of(state: RedisState) -> SharedLimits:
    return SharedLimits(state.calls("key"), _Two(state.link, "news", Whole("news:whole", ())), Clock())


async def allowed(limits: SharedLimits, key: Key, tokens: int = 0) -> bool:
    try:
        await limits.count(key, tokens)
    except GatewayError:
        return False
    return True


async def test_share_of_what_was_left_is_allowed(state: RedisState, server: RedisServer) -> None:
    key = Key(token="t", key_name="k", rpm_limit=10)
    one, two = limits_of(state), limits_of(state)
    assert [await allowed(each, key) for each in (one, one, one, one, two)] == [True] * 5
    server.kill()
    assert [await allowed(two, key) for _ in range(4)] == [True, True, False, False]  # half of 5 that were left
    assert [await allowed(one, key) for _ in range(4)] == [True, True, True, False]  # it had heard of 4
    assert (
        two.headers(key).items() >= {"x-ratelimit-limit-requests": "2", "x-ratelimit-remaining-requests": "0"}.items()
    )


async def test_nothing_more_is_allowed_where_nothing_was_left(state: RedisState, server: RedisServer) -> None:
    key = Key(token="t", key_name="k", tpm_limit=100)
    limits = limits_of(state)
    assert [await allowed(limits, key, 60) for _ in range(2)] == [True, False]
    server.kill()
    assert [await allowed(limits, key, 30), await allowed(limits, key, 20)] == [False, True]


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        (Key(token="t", key_name="k", rpm_limit=3), "requests"),
        (Key(token="t", key_name="k", tpm_limit=3), "tokens"),
    ],
    ids=["requests", "tokens"],
)
async def test_refusal_while_the_server_is_away_names_the_limit_and_what_is_left_of_it(
    state: RedisState, server: RedisServer, key: Key, unit: str
) -> None:
    limits = limits_of(state)
    assert await allowed(limits, key, 1)
    server.kill()
    assert await allowed(limits, key, 1)
    with pytest.raises(GatewayError) as caught:
        await limits.count(key, 1)
    message = caught.value.message
    assert f"3 {unit} per minute" in message
    assert "Redis does not answer" in message
    assert "its share of what was left, 1," in message


async def test_what_was_allowed_counts_when_the_server_is_back(state: RedisState, server: RedisServer) -> None:
    key = Key(token="t", key_name="k", rpm_limit=10)
    limits = limits_of(state)
    await state.connect()
    server.kill()
    found = [await allowed(limits, key) for _ in range(6)]
    assert found == [True] * 5 + [False]  # its share, as it has not heard of any
    server.start()
    await until_connected(state)
    counted = [await allowed(limits, key) for _ in range(10)]
    assert counted.count(True) <= 10 - found.count(True) + 1  # the call that was under way may have run


async def entered(limits: SharedLimits, key: Key) -> str | None:
    try:
        return await limits.enter(key)
    except GatewayError:
        return None


async def test_calls_in_flight_that_were_let_in_meanwhile_count_when_the_server_is_back(
    state: RedisState, server: RedisServer
) -> None:
    key = Key(token="t", key_name="k", max_parallel_requests=4)
    limits = limits_of(state)
    assert await entered(limits, key)
    server.kill()
    found = [await entered(limits, key) for _ in range(2)]
    assert [each is not None for each in found] == [True, False]  # its share is 2
    server.start()
    await until_connected(state)
    assert [await entered(limits, key) is not None for _ in range(3)] == [True, True, False]
    limits.leave(found[0])
    assert await entered(limits, key)


async def test_server_that_lost_its_data_learns_what_is_in_flight(
    state: RedisState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_limits, "_RENEWAL_SECONDS", 0.01)
    key = Key(token="t", key_name="k", max_parallel_requests=2)
    one, two = limits_of(state), limits_of(state)
    tickets = [await entered(one, key) for _ in range(2)]
    await state.link.acall(("FLUSHDB",))
    assert await asyncio.to_thread(eventually, lambda: state.link.call(("ZCARD", "anyrerank:calls:key:in_flight")) == 2)
    assert await entered(two, key) is None
    for each in tickets:
        one.leave(each)
    assert await state.link.acall(("PING",))  # after both have left
    assert await entered(two, key)


async def until_connected(state: RedisState) -> None:
    is_connected = False
    while not is_connected:
        await asyncio.sleep(0.01)
        is_connected = await answers(state)


async def answers(state: RedisState) -> bool:
    """Whether commands of this loop are answered."""
    try:
        return bool(await state.link.acall(("PING",)))
    except RedisUnavailableError:
        return False
