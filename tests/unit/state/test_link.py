"""Commands to a Redis server that answers, answers late, or is gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from redis import Redis
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, took

from anyrerank import ConfigurationError
from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script

BOUND = 2.0
"""Seconds: far more than the limit for a command, since this machine may be busy; what hangs takes far longer."""
PING = ("PING",)


@pytest.fixture
def server(new_redis: Callable[..., RedisServer]) -> RedisServer:
    made = new_redis()
    made.start()
    return made


def refused(link: RedisLink, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(RedisUnavailableError):
            link.call(PING)


async def arefused(link: RedisLink) -> None:
    with pytest.raises(RedisUnavailableError):
        await link.acall(PING)


def answers(link: RedisLink) -> bool:
    try:
        return bool(link.call(PING))
    except RedisUnavailableError:
        return False


async def answers_again(link: RedisLink) -> float:
    """Seconds until it answers."""
    began = time.perf_counter()
    while time.perf_counter() < began + 10:
        try:
            await link.acall(PING)
        except RedisUnavailableError:
            await asyncio.sleep(0.005)
        else:
            return time.perf_counter() - began
    raise AssertionError("the link does not find the server again")


def test_sync_calls_do_not_wait_for_a_server_that_hangs(server: RedisServer) -> None:
    with closing(RedisLink(server.url)) as link:
        assert link.call(PING)
        server.pause()
        assert took(lambda: refused(link, 20)) < BOUND
        server.resume()
        assert took(lambda: eventually(lambda: answers(link))) < 1.5


async def test_async_calls_do_not_wait_for_a_server_that_hangs(server: RedisServer) -> None:
    link = RedisLink(server.url)
    assert await link.acall(PING)
    server.pause()
    began = time.perf_counter()
    await asyncio.gather(*(arefused(link) for _ in range(1000)))
    assert time.perf_counter() - began < BOUND
    server.resume()
    assert await answers_again(link) < 1.5
    await link.aclose()


async def test_calls_of_a_new_loop_do_not_wait_for_a_server_that_was_away_just_now(server: RedisServer) -> None:
    link = RedisLink(server.url)
    server.pause()
    refused(link)
    began = time.perf_counter()
    await arefused(link)
    assert time.perf_counter() - began < BOUND
    server.resume()
    assert await answers_again(link) < 1.5
    await link.aclose()


async def test_time_in_which_the_loop_was_busy_does_not_count(server: RedisServer) -> None:
    link = RedisLink(server.url)
    await link.acall(PING)
    for steps in range(6):  # at any moment of the command
        reply = asyncio.ensure_future(link.acall(PING))
        for _ in range(steps):
            await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251  this is what is tested
        assert await reply
    await link.aclose()


def test_server_that_was_restarted_gets_the_scripts_again(server: RedisServer) -> None:
    count = Script("anyrerank.state.scripts", "leave").command(["key"], ["id", 0])
    with closing(RedisLink(server.url)) as link:
        assert link.call(count) == 0
        server.kill()
        refused(link)
        server.start()
        assert eventually(lambda: answers(link))
        assert link.call(count) == 0


def test_posts_wait_for_the_server_and_say_whether_they_may_have_run(server: RedisServer) -> None:
    with closing(RedisLink(server.url)) as link, Redis.from_url(server.url) as client:
        link.call(PING)
        server.pause()
        for name in "abc":
            link.post(("RPUSH", "posts", name, 0))
        server.resume()
        assert eventually(lambda: answers(link))
        # The server may run the first one twice, and so is told; the others were not sent before.
        assert client.lrange("posts", 0, -1) in (
            [b"a", b"0", b"a", b"1", b"b", b"0", b"c", b"0"],
            [b"a", b"1", b"b", b"0", b"c", b"0"],
        )


async def test_async_posts_wait_for_the_server_too(server: RedisServer) -> None:
    link = RedisLink(server.url)
    await link.acall(PING)
    server.pause()
    link.post(("RPUSH", "posts", "a", 0))
    await arefused(link)
    for _ in range(600):  # more than one pipeline
        link.post(("RPUSH", "later", 0))
    server.resume()
    await answers_again(link)
    with Redis.from_url(server.url) as client:
        assert client.lrange("posts", -2, -1) == [b"a", b"1"]
        assert client.lrange("later", 0, -1) == [b"0"] * 600
    await link.aclose()


def test_posts_are_sent_before_the_loop_ends(redis_url: str) -> None:
    link = RedisLink(redis_url)

    async def work() -> None:
        await link.acall(PING)
        for _ in range(600):
            link.post(("INCRBY", "posts", 1))

    asyncio.run(work())
    with Redis.from_url(redis_url) as client:
        assert client.get("posts") == b"600"


def test_posts_of_a_loop_that_ended_while_the_server_was_away_are_not_lost(server: RedisServer) -> None:
    link = RedisLink(server.url)

    async def away() -> None:
        await link.acall(PING)
        server.pause()
        await arefused(link)
        link.post(("RPUSH", "posts", 0))

    asyncio.run(away())
    server.resume()
    asyncio.run(answers_again(link))
    with Redis.from_url(server.url) as client:
        assert client.lrange("posts", 0, -1) == [b"0"]


def test_loops_leave_no_connection_behind(redis_url: str) -> None:
    link = RedisLink(redis_url)

    async def work() -> None:
        await asyncio.gather(*(link.acall(PING) for _ in range(5)))

    with Redis.from_url(redis_url) as client:

        def connections() -> int:
            return sum(each["name"] == "anyrerank" for each in client.client_list())

        before = connections()
        for _ in range(20):
            asyncio.run(work())
        assert eventually(lambda: connections() == before)


def test_many_threads_and_loops_share_a_link(redis_url: str) -> None:
    with closing(RedisLink(redis_url)) as link, Redis.from_url(redis_url) as client:

        async def on_a_loop() -> None:
            await asyncio.gather(*(link.acall(("INCRBY", "count", 1)) for _ in range(50)))

        def in_a_thread() -> None:
            for _ in range(50):
                link.call(("INCRBY", "count", 1))

        threads = [threading.Thread(target=in_a_thread) for _ in range(4)]
        threads += [threading.Thread(target=asyncio.run, args=(on_a_loop(),)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert client.get("count") == b"400"


async def test_cancelled_callers_leave_the_replies_of_others_alone(redis_url: str) -> None:
    link = RedisLink(redis_url)
    for number in range(30):
        calls = [asyncio.ensure_future(link.acall(("ECHO", str(each)))) for each in range(10)]
        for _ in range(number % 6):
            await asyncio.sleep(0)
        for cancelled in calls[::2]:
            cancelled.cancel()
        assert await asyncio.gather(*calls[1::2]) == [str(each).encode() for each in range(1, 10, 2)]
    await link.aclose()


async def test_loop_whose_tasks_were_all_cancelled_finds_the_server_again(server: RedisServer) -> None:
    link = RedisLink(server.url)
    await link.acall(PING)
    server.pause()
    await arefused(link)
    own = asyncio.current_task()
    others = [each for each in asyncio.all_tasks() if each is not own]
    for each in others:
        each.cancel()
    await asyncio.wait(others)
    server.resume()
    assert await answers_again(link) < 1.5
    await link.aclose()


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost:x", "", None, 5])
def test_wrong_url_is_refused_without_a_connection(url: object) -> None:
    with pytest.raises(ConfigurationError, match="a Redis URL must be"):
        RedisLink(url)  # type: ignore[arg-type]


def test_errors_hold_no_password(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis(password="pass-Word-1%/@")
    server.start()
    wrong = server.url.replace("pass-Word-1", "wrong-Word-2")
    link = RedisLink(wrong)

    async def on_a_loop() -> None:
        await link.acall(PING)

    works: list[Callable[[], object]] = [
        lambda: link.call(PING),
        lambda: link.call_slowly(PING),
        lambda: asyncio.run(on_a_loop()),
    ]
    for work in works:
        with pytest.raises(RedisUnavailableError) as caught:
            work()
        assert "Word" not in f"{caught.value} {caught.value!r} {link!r}"
    with closing(RedisLink(server.url)) as right:
        assert right.call(PING)
