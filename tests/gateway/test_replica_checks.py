"""What a gateway with replicas checks when it starts."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from redis import Redis
from tests.support.gateway import entry
from tests.support.keys import EACH, paid, serving
from tests.support.redis_clock import TimedLink
from tests.support.redis_server import RedisServer

from anyrerank import Budget, Limit, Router
from anyrerank._core.routing.litellm_guardrails import guardrails_of
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.configuration import shared_state
from anyrerank.gateway.keys import KeyCollector, Keyring, opened, parts_of
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.redis_sharing import RedisSharing
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.gateway.settings import settings_of as settings_from
from anyrerank.state import Presence, RedisState
from anyrerank.testing import StubServer

Parts: TypeAlias = Mapping[str, str]

NAME = "[0-9a-f]{8}"


def started(settings: GatewaySettings, state: RedisState | None, *, is_rolling_change: bool = False) -> Keyring:
    keyring = opened(settings, state, is_rolling_change=is_rolling_change)
    assert keyring is not None
    return keyring


def test_replicas_must_have_the_same_database(tmp_path: Path, redis_url: str, database_url: str) -> None:
    with RedisState(redis_url) as state, closing(Database(database_url)) as first:
        RedisSharing(state, first)
        RedisSharing(state, first).renew()
        with closing(Database(f"sqlite:///{tmp_path / 'keys.db'}")) as second:
            with pytest.raises(
                ConfigurationError, match="with the prefix anyrerank have another database: use the same"
            ):
                RedisSharing(state, second)
            RedisSharing(RedisState(redis_url, prefix="other"), second)


def settings_of(server: RedisServer, **more: str) -> GatewaySettings:
    return GatewaySettings.model_validate({"redis_url": server.url, **more})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"maxmemory": "8mb", "maxmemory_policy": "allkeys-lru"}, "has the maxmemory-policy allkeys-lru"),
        ({"replicaof": "127.0.0.1 1"}, "is a read-only replica: use the URL of its primary"),
        ({"cluster_enabled": "yes"}, "is a Redis Cluster, which is not supported"),
    ],
    ids=["evicts", "read-only", "cluster"],
)
def test_server_that_cannot_hold_budgets_is_refused(
    new_redis: Callable[..., RedisServer], settings: dict[str, str], message: str
) -> None:
    server = new_redis()
    server.start(**settings)
    with pytest.raises(ConfigurationError, match=message):
        shared_state(settings_of(server))


@pytest.mark.parametrize("setting", ["yes", "no"])
def test_server_that_forgets_when_it_restarts_is_warned_of(
    new_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    server = new_redis()
    server.start(appendonly=setting)
    shared_state(settings_of(server))
    assert ("set appendonly yes" in caplog.text) == (setting == "no")


def test_server_that_is_full_is_refused(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    server.start()
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(ConfigurationError, match=r"Redis at .* > 'maxmemory': it must be writable; if its memory"):
            shared_state(settings_of(server))
        client.config_set("maxmemory", "0")
    assert shared_state(settings_of(server)) is not None


@pytest.mark.parametrize("lacking", ["resetchannels", "-publish", "-subscribe", "-pubsub", "-scan", "-unlink", "-eval"])
def test_user_of_redis_who_may_not_do_all_is_refused(new_redis: Callable[..., RedisServer], lacking: str) -> None:
    server = new_redis()
    server.start()
    with Redis.from_url(server.url) as client:
        for name, rules in (("all", ()), ("some", (lacking,))):
            given = ("on", ">p", "~anyrerank:*", "&anyrerank:*", "+@all", *rules)
            client.execute_command("ACL", "SETUSER", name, *given)
    settings = {
        name: settings_from({"redis_url": f"redis://{name}:p@127.0.0.1:{server.port}"}, "test")
        for name in ("all", "some")
    }
    state = shared_state(settings["all"])
    assert state is not None
    state.close()
    with pytest.raises(ConfigurationError, match="its user must be allowed all commands"):
        shared_state(settings["some"])


def test_server_that_is_down_or_refuses_the_password_is_named_without_it(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis(password="right-horse")
    with pytest.raises(ConfigurationError, match=r"redis_url: Redis at .* cannot be used: .*; check") as down:
        shared_state(settings_of(server))
    server.start()
    wrong = server.url.replace("right-horse", "wrong-horse")
    with pytest.raises(ConfigurationError, match=r"redis_url: Redis at .* cannot be used: .*; check") as refused:
        shared_state(settings_of(server, redis_url=wrong))
    assert "horse" not in f"{down.value!r}{refused.value!r}"
    assert ".;" not in f"{down.value}{refused.value}"
    state = shared_state(settings_of(server))
    assert state is not None
    assert "horse" not in repr(state)


@pytest.mark.parametrize("allowed", [False, True])
def test_gateway_that_would_not_know_the_keys_of_its_replicas_does_not_start(
    tmp_path: Path, redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, *, allowed: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with RedisState(redis_url) as state, closing(Database(database_url)) as first:
        RedisSharing(state, first)
        with pytest.raises(ConfigurationError, match="have another database: use the same database_url"):
            opened(GatewaySettings(allow_requests_on_db_unavailable=allowed), state)  # with the default database


def test_gateways_that_share_a_database_must_count_together(
    redis_url: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def starts(replicas: int = 1, *, redis: RedisState | None = None, is_rolling_change: bool = False) -> None:
        url = None if redis is None else redis_url
        settings = settings_from({"database_url": database_url, "redis_url": url, "replicas": replicas}, "test")
        running.callback(started(settings, redis, is_rolling_change=is_rolling_change).close)

    with RedisState(redis_url, timeout=5.0) as state:
        with ExitStack() as running:
            starts(redis=state)
            starts(redis=state)
            assert caplog.text == ""
            for replicas, way in ((1, "without other gateways"), (2, "as 2 replicas without Redis")):
                with pytest.raises(
                    ConfigurationError, match=f"Redis state {NAME}, and this one {way}, .* --rolling-change"
                ):
                    starts(replicas)
            starts(is_rolling_change=True)
            assert re.search(f"Redis state {NAME}, and this one without other gateways", caplog.text)
        with ExitStack() as running:
            caplog.clear()
            starts(2)
            starts(2)
            assert caplog.text == ""
        with ExitStack() as running:
            starts()
            assert caplog.text == ""
            starts()
            assert "another gateway uses this database" in caplog.text


@pytest.mark.parametrize("where", ["another server", "another prefix"])
def test_gateways_that_share_a_database_must_have_one_redis(
    redis_url: str, database_url: str, new_redis: Callable[..., RedisServer], where: str
) -> None:
    settings = settings_from({"database_url": database_url, "redis_url": redis_url}, "test")
    server = new_redis()
    server.start()
    url, prefix = (server.url, "anyrerank") if where == "another server" else (redis_url, "other")
    with RedisState(redis_url) as state, RedisState(url, prefix=prefix) as other, ExitStack() as running:
        running.callback(started(settings, state).close)
        with pytest.raises(ConfigurationError, match=f"Redis state {NAME}, and this one .*state {NAME}, .* redis_url"):
            opened(settings, other)
        running.callback(started(settings, other, is_rolling_change=True).close)


def test_redis_that_lost_its_data_is_still_the_same(redis_url: str, database_url: str) -> None:
    settings = settings_from({"database_url": database_url, "redis_url": redis_url}, "test")
    with RedisState(redis_url) as state, RedisState(redis_url) as replica, ExitStack() as running:
        first = running.enter_context(closing(started(settings, state)))
        running.enter_context(Redis.from_url(redis_url)).flushdb()
        assert first.sharing is not None
        first.sharing.renew()
        started(settings, replica).close()


def test_redis_that_gets_its_name_back_in_a_moment_is_still_the_same(redis_url: str, database_url: str) -> None:
    settings = settings_from({"database_url": database_url, "redis_url": redis_url}, "test")
    with RedisState(redis_url) as state, RedisState(redis_url) as replica, ExitStack() as running:
        first = running.enter_context(closing(started(settings, state)))
        running.enter_context(Redis.from_url(redis_url)).set("anyrerank:identity", "11111111")
        assert first.sharing is not None
        later = threading.Timer(0.5, first.sharing.renew)
        running.callback(later.join)
        later.start()
        started(settings, replica).close()


def test_gateway_that_cannot_ask_redis_is_taken_for_one_of_the_others(
    redis_url: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_from({"database_url": database_url, "redis_url": redis_url}, "test")
    with RedisState(redis_url) as state, RedisState("redis://127.0.0.1:9") as away, closing(started(settings, state)):
        started(settings, away).close()
    assert "count budgets and limits" not in caplog.text


def test_what_is_left_of_a_budget_is_shown_once_it_is_known(tmp_path: Path, redis_url: str) -> None:
    def left() -> list[float]:
        (found,) = (
            each for each in KeyCollector(keyring).collect() if each.name.startswith("anyrerank_budget_remaining")
        )
        return [sample.value for sample in found.samples]

    with (
        StubServer() as vendor,
        RedisState(redis_url) as state,
        closing(Database(f"sqlite:///{tmp_path / 'keys.db'}")) as database,
        serving(tmp_path, [paid(vendor.url)], sharing=RedisSharing(state, database)) as gateway,
    ):
        keyring = gateway.keyring
        key = gateway.new_key(max_budget=EACH)
        assert left() == []
        assert gateway.rerank(key).status_code == 200
        assert left() == [0.0]
        state.link.call(("FLUSHDB",))
        gateway.keyring.ledger.flush()
        assert gateway.rerank(key).status_code == 429
        assert left() == [0.0]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'keys.db'}")) as made:
        yield made


def content_filter(name: str = "words", word: str = "secret-name", **params: Any) -> dict[str, Any]:
    words = [{"keyword": word, "action": "BLOCK"}]
    given = {"guardrail": "litellm_content_filter", "mode": "pre_call", "blocked_words": words, **params}
    return {"guardrail_name": name, "litellm_params": given}


def parts(
    model: str = "cohere/rerank-v3.5",
    budget: float = 10.0,
    rpm: int = 60,
    parallel: int | None = None,
    guardrails: Sequence[Mapping[str, Any]] = (content_filter(),),
) -> Parts:
    settings = GatewaySettings(max_parallel_requests=parallel)
    entries = [entry("r"), entry("s", model, api_key="k", rpm=rpm)]
    with Router(entries, budget=Budget(budget, "1d"), user_budget=Budget(1)) as router:
        return parts_of(router, settings, guardrails_of([*guardrails]))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (parts(model="cohere/rerank-v3"), "the model s"),
        (parts(rpm=61), "the model s"),
        (parts(budget=20.0), "max_budget"),
        (parts(parallel=3), "max_parallel_requests"),
        (parts(budget=20.0, parallel=3), "max_budget, max_parallel_requests"),
        (parts(guardrails=()), "the guardrail words"),
        (parts(guardrails=[content_filter(word="other")]), "the guardrail words"),
        (parts(guardrails=[content_filter(default_on=True)]), "the guardrail words"),
        (parts(guardrails=[content_filter(), content_filter("more")]), "the guardrail more"),
    ],
)
def test_replica_that_disagrees_is_refused_at_the_start(
    redis_url: str, database: Database, other: Parts, named: str
) -> None:
    with RedisState(redis_url, timeout=5.0) as state:
        running = RedisSharing(state, database)
        running.configured(parts())
        RedisSharing(state, database).configured(parts())
        message = rf"have another configuration than this one: {named}\. .* start each with --rolling-change"
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=message):
                RedisSharing(state, database).configured(other)


def test_rolling_change_is_allowed_and_warned_of_until_it_is_over(
    redis_url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def warned(*sharing: RedisSharing) -> list[str]:
        caplog.clear()
        for each in sharing:
            each.renew()
            each.renew()
        return [
            word for record in caplog.records for word in ("another", "the same") if f"have {word}" in record.message
        ]

    with RedisState(redis_url, timeout=5.0) as state:
        one, two = RedisSharing(state, database), RedisSharing(state, database)
        one.configured(parts())
        two.configured(parts())
        changed = RedisSharing(state, database, is_rolling_change=True)
        changed.configured(parts(budget=20.0))
        assert "have another configuration than this one: max_budget;" in caplog.text
        assert warned(one, changed, two) == ["another", "another"]
        one.close()
        assert warned(one, changed, two) == []
        two.configured(parts(budget=20.0))  # it reads its file again
        assert warned(changed, two) == ["the same", "the same"]


def test_replica_that_was_killed_counts_as_running_for_half_a_minute(redis_url: str) -> None:
    with closing(TimedLink(redis_url)) as link:
        killed, running = Presence(link, "test"), Presence(link, "test")
        assert killed.announce("killed", 30) == []
        link.move(20)
        assert running.announce("runs, with spaces", 30) == ["killed"]
        assert Presence(link, "test").announce("new", 30) == ["killed", "runs, with spaces"]
        link.move(11)
        assert running.announce("runs", 30) == ["new"]


def test_replicas_without_anything_that_they_share_do_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="2 replicas need a redis_url, or a PostgreSQL database_url"):
        opened(GatewaySettings(replicas=2))


def test_at_sign_in_a_password_is_not_taken_for_the_host() -> None:
    with pytest.raises(ConfigurationError, match="more than one @: write one in the password as %40") as refused:
        Database("postgresql://user:first@second@host/name")
    assert "second" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://host/abc", "redis://host:port/0", "http://host", "redis://host/0/1"])
def test_wrong_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="a Redis URL must be redis://user:password@host:port/number") as error:
        RedisState(url)
    assert "host/" not in str(error.value)


@pytest.mark.parametrize("made", [Budget, Limit])
def test_state_must_be_a_state(made: type[Budget] | type[Limit]) -> None:
    with pytest.raises(ConfigurationError, match="state must be a RedisState, got str"):
        made(1, state="redis://host", name="n")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="state must be a RedisState, got str"):
        Router([entry("r")], state="redis://host")  # type: ignore[arg-type]
