"""A changed configuration beside running `anyrerank serve`: refused, or taken over by one after the other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateways import Gateways, Replica, race, start
from tests.support.keys import EACH
from tests.support.loopback import Loopback

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def gateways(tmp_path: Path, server: Loopback, redis_url: str, database_url: str) -> Iterator[Gateways]:
    made = Gateways(tmp_path, server.url, redis_url, database_url, seconds=5.0)
    made.write(litellm_settings={"max_budget": 10.0, "budget_duration": "365d"})
    yield made
    made.close()


def warnings(gateways: Gateways) -> str:
    return (gateways.config.parent / "errors").read_text()


def stop(replica: Replica) -> None:
    replica.signal(signal.SIGTERM)
    assert replica.process.wait(30) == 0


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_gateway_with_another_configuration_is_refused_beside_running_ones(
    gateways: Gateways, options: tuple[str, ...]
) -> None:
    running = gateways.start()
    gateways.write(litellm_settings={"max_budget": 20.0}, general_settings={"max_parallel_requests": 3})
    refused = start(gateways.config, options)
    out, _ = refused.communicate(timeout=60)
    assert (refused.returncode, "listens" in out) == (1, False)
    (line,) = (line for line in warnings(gateways).splitlines() if line.startswith("error:"))
    assert "have another configuration than this one: max_budget, max_parallel_requests. Give all" in line
    assert "--rolling-change" in line
    stop(running)
    gateways.start(*options)


@pytest.mark.parametrize("way", ["option", "variable"])
def test_configuration_is_changed_at_one_after_the_other(
    gateways: Gateways, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--rolling-change"] if way == "option" else []
    one, two = gateways.pair()
    key = gateways.key(one, two, max_budget=100 * EACH)
    assert race((one, two), key, 20) == {200: 20}
    gateways.write(litellm_settings={"max_budget": 30 * EACH})
    if way == "variable":
        monkeypatch.setenv("ANYRERANK_ROLLING_CHANGE", "1")
    stop(one)
    one = gateways.start(*options)
    assert "have another configuration than this one: max_budget;" in warnings(gateways)
    stop(two)
    monkeypatch.delenv("ANYRERANK_ROLLING_CHANGE", raising=False)
    before = warnings(gateways).count("another configuration")
    two = gateways.start()  # the old ones are gone
    assert warnings(gateways).count("another configuration") == before
    assert race((one, two), key, 20) == {200: 10, 429: 10}


def test_file_that_is_read_again_may_differ(gateways: Gateways) -> None:
    one, _ = gateways.pair()
    gateways.write(litellm_settings={"max_budget": 20.0})
    assert one.post("/config/reload").status_code == 200
    gateways.start("--rolling-change")
