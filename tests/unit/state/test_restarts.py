"""A Redis server that has older data: it was restarted, or another one was in its place meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from typing import Any

import pytest
from redis import Redis
from tests.support.cable import cable
from tests.support.redis_server import RedisServer
from tests.support.spending import pay
from tests.support.waiting import eventually

from anyrerank import Budget
from anyrerank._core.redis import Command, RedisUnavailableError
from anyrerank._core.runtime import run
from anyrerank.state import RedisCalls, RedisState, notifications


class _Process:
    """One that counts calls, and gives them back."""

    def __init__(self, url: str) -> None:
        self.state = RedisState(url, prefix="a*", timeout=5.0)
        self.calls: RedisCalls = self.state.calls("key")
        self.state.notifications.add(self)
        self.start()

    def start(self) -> None:
        """Start to listen."""
        self.state.notifications.start()

    def connected(self) -> None:
        pass

    def received(self, message: dict[str, Any]) -> None:
        pass

    def lost(self, loss: str | None) -> None:
        if loss is not None:
            self.calls.give_back(loss)

    def count(self, requests: int) -> int:
        """The requests of the last minute, with these."""
        return run(self.calls.count(None, None, requests, 0)).requests

    def is_connected(self) -> bool:
        try:
            return bool(self.state.link.call(("PING",)))
        except RedisUnavailableError:
            return False

    def budget(self, name: str, past: float | None) -> Budget:
        budget = Budget(1)
        budget.share(self.state, name, None if past is None else lambda _, __: past)
        return budget


def test_processes_restore_what_they_know_and_nothing_else_is_forgotten(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    server.start()
    one, two = _Process(server.url), _Process(server.url)
    with one.state, two.state, Redis.from_url(server.url) as client:
        assert eventually(lambda: one.state.notifications.replicas == two.state.notifications.replicas == 2)
        assert [one.count(3), two.count(1)] == [3, 4]
        for budget in (one.budget("of this state alone", None), one.budget("of a ledger", 0.25)):
            pay(budget, 0.1).settle(0.1)
        client.set("ab:calls:of-another-gateway", "1")
        client.save()
        assert [one.count(4), two.count(2)] == [8, 10]
        server.kill()
        server.start()
        assert eventually(two.is_connected)
        assert two.count(0) == 10
        found = two.budget("of this state alone", None), two.budget("of a ledger", 0.5)
        assert [each.spent() for each in found] == [0.1, 0.5]
        assert client.get("ab:calls:of-another-gateway") == b"1"


def test_server_that_comes_back_after_another_one_forgets_what_it_had(new_redis: Callable[..., RedisServer]) -> None:
    first, second = new_redis(), new_redis()
    first.start()
    second.start()
    with cable(first.url) as address:
        one, two = _Process(address.url), _Process(address.url)
        with one.state, two.state:
            assert eventually(lambda: one.state.notifications.replicas == two.state.notifications.replicas == 2)
            assert one.count(3) == 3
            pay(one.budget("of a ledger", 0.25), 0.1).settle(0.1)
            before = one.state.notifications.whole.value
            address.lead_to(second.url)
            address.reset()
            assert eventually(two.is_connected)
            assert two.count(4) == 7
            assert eventually(lambda: before not in [each.state.notifications.whole.value for each in (one, two)])
            pay(two.budget("of a ledger", 0.375), 0.1).settle(0.1)
            address.lead_to(first.url)
            address.reset()
            assert eventually(one.is_connected)
            assert [one.count(1), two.count(0)] == [8, 8]
            assert two.budget("of a ledger", 0.5).spent() == 0.5


def test_process_that_started_at_the_second_server_distrusts_the_first_one(
    new_redis: Callable[..., RedisServer],
) -> None:
    first, second = new_redis(), new_redis()
    first.start()
    second.start()
    before = _Process(first.url)
    with before.state:
        pay(before.budget("of a ledger", 0.25), 0.1).settle(0.1)
        assert before.count(3) == 3
    with cable(second.url) as address:
        after = _Process(address.url)
        with after.state:
            assert after.count(4) == 4
            address.lead_to(first.url)
            address.reset()
            assert eventually(after.is_connected)
            assert after.budget("of a ledger", 0.5).spent() == 0.5
            assert after.count(0) == 4


class _SlowToListen(_Process):
    def start(self) -> None:
        pass


def test_calls_of_a_process_that_has_yet_to_listen_are_counted_once(redis_url: str) -> None:
    first = _Process(redis_url)
    with first.state:
        assert first.count(1) == 1
        new = _SlowToListen(redis_url)
        with new.state:
            assert new.count(2) == 3
            new.state.notifications.start()
            assert eventually(lambda: new.state.notifications.whole.number > 0)
            assert first.count(0) == 3


def test_process_that_listens_again_restores_what_was_lost_meanwhile(redis_url: str) -> None:
    one = _Process(redis_url)
    with one.state, Redis.from_url(redis_url) as client:
        assert one.count(3) == 3
        one.state.notifications.close()
        client.flushall()
        two = _Process(redis_url)
        with two.state:
            assert two.count(1) == 1
            one.state.notifications.start()
            assert eventually(lambda: two.count(0) == 4)


class _Held(_Process):
    """One whose thread stops at a message until it is let go on, as that of a process that was paused."""

    def __init__(self, url: str) -> None:
        self.is_held, self.goes_on = threading.Event(), threading.Event()
        super().__init__(url)

    def received(self, message: dict[str, Any]) -> None:
        self.is_held.set()
        self.goes_on.wait(20)


def test_process_that_others_did_not_wait_for_counts_each_call_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "_GIVING_SECONDS", 0.2)
    late, other = _Held(redis_url), _Process(redis_url)
    with late.state, other.state, Redis.from_url(redis_url) as client, ThreadPoolExecutor() as pool:
        assert eventually(lambda: late.state.notifications.replicas == other.state.notifications.replicas == 2)
        assert late.count(3) == 3
        other.state.notifications.send({"wait": True})
        assert late.is_held.wait(20)
        client.flushall()
        assert other.count(1) == 1
        late.calls.add(5, 0)
        counting = pool.submit(late.count, 4)
        wait([counting], 0.3)  # it has asked by then
        late.goes_on.set()
        assert counting.result() == other.count(0) == 13


def test_others_are_waited_for_only_once_while_connections_break(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "_GIVING_SECONDS", 2.0)
    gone, one = _Process(redis_url), _Process(redis_url)
    call, asked = one.state.link.call, count()

    def often_broken(command: Command) -> Any:
        if command[0] == "HLEN" and next(asked) % 10 == 9:
            raise RedisUnavailableError("the connection broke", may_have_run=True)
        return call(command)

    with gone.state, one.state, Redis.from_url(redis_url) as client:
        assert eventually(lambda: one.state.notifications.replicas == 2)
        gone.state.notifications.close()
        one.state.link.call = often_broken  # type: ignore[method-assign]
        client.flushall()
        assert eventually(lambda: bool(client.exists(one.state.notifications.whole.key)), within=15)


class _Failing(_Process):
    def __init__(self, url: str) -> None:
        self.messages: list[dict[str, Any]] = []
        super().__init__(url)

    def received(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if len(self.messages) == 1:
            raise RuntimeError("can't start new thread")


def test_process_whose_listener_fails_goes_on_and_gives_back(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    one = _Failing(redis_url)
    with one.state, Redis.from_url(redis_url) as client:
        assert one.count(3) == 3
        client.publish(one.state.notifications.channel, "[" * 100_000)
        one.state.notifications.send({"number": 1})
        assert eventually(lambda: "can't start new thread" in caplog.text)
        client.flushall()
        assert one.count(1) == 4
        one.state.notifications.send({"number": 2})
        assert eventually(lambda: one.messages == [{"number": 1}, {"number": 2}])
