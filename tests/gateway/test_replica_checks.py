"""What a gateway with replicas checks when it starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.redis_server import RedisServer

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.configuration import shared_state
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.sharing import RedisSharing
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.state import RedisState


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
