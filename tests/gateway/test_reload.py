"""A reload while calls are in flight: no budget starts anew, and a file that may not be served changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, running
from tests.support.keys import ASK, EACH, bearer, keyring_of, paid

from anyrerank.gateway import Gateway
from anyrerank.gateway.configuration import config_of_file, service_of
from anyrerank.gateway.keys import Keyring
from anyrerank.ledger import LedgerError
from anyrerank.testing import StubServer


@dataclass
class Reloaded:
    """A gateway that reads a file."""

    url: str
    file: Path
    keyring: Keyring
    announced: list[str]

    def write(self, **changes: Any) -> None:
        self.file.write_text(json.dumps({**json.loads(self.file.read_text()), **changes}))

    def reload(self) -> httpx.Response:
        return httpx.post(f"{self.url}/config/reload", headers=bearer(MASTER_KEY), timeout=30)

    def rerank(self, **fields: Any) -> int:
        answer = httpx.post(f"{self.url}/rerank", json={**ASK, **fields}, headers=bearer(MASTER_KEY), timeout=30)
        return answer.status_code


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@contextmanager
def reloadable(folder: Path, models: list[dict[str, Any]], **settings: Any) -> Iterator[Reloaded]:
    file = folder / "config.yaml"
    general = {"master_key": MASTER_KEY}
    file.write_text(json.dumps({"model_list": models, "litellm_settings": settings, "general_settings": general}))
    keyring, announced = keyring_of(folder), list[str]()
    gateway = Gateway(
        service_of(config_of_file(file), keyring),
        reread=lambda: service_of(config_of_file(file), keyring, gateway.service),
        announce=announced.append,
    )
    try:
        with running(gateway) as url:
            yield Reloaded(url, file, keyring, announced)
    finally:
        keyring.close()


def in_flight_during_a_reload(gateway: Reloaded, vendor: StubServer, **fields: Any) -> int:
    """The status of a call that begins before a reload and ends after it, when another one was refused."""
    vendor.fail("hang", times=1)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(gateway.rerank, **fields)
        assert vendor.wait_for_requests(1)
        assert gateway.reload().status_code == 200
        assert gateway.rerank(**fields) == 429
        vendor.recover()
        return call.result()


def test_budget_of_everything_counts_what_is_in_flight(tmp_path: Path, vendor: StubServer) -> None:
    with reloadable(tmp_path, [paid(vendor.url)], max_budget=EACH) as gateway:
        assert in_flight_during_a_reload(gateway, vendor) == 200
        assert [gateway.rerank(), gateway.reload().status_code, gateway.rerank()] == [429, 200, 429]
    assert len(vendor.requests) == 1


def test_budget_of_an_end_user_counts_what_is_in_flight(tmp_path: Path, vendor: StubServer) -> None:
    with reloadable(tmp_path, [paid(vendor.url)], max_end_user_budget=EACH) as gateway:
        assert in_flight_during_a_reload(gateway, vendor, user="ann") == 200
        assert [gateway.rerank(user="ann"), gateway.rerank(user="bob")] == [429, 200]


@pytest.mark.parametrize(("name", "model"), [("rerank", "cohere/rerank-v3.5"), ("rer*", "cohere/*")])
def test_budget_of_a_deployment_counts_what_is_in_flight(
    tmp_path: Path, vendor: StubServer, name: str, model: str
) -> None:
    entry = paid(vendor.url, name, model)
    entry["litellm_params"] |= {"max_budget": EACH, "input_cost_per_query": EACH}
    with reloadable(tmp_path, [entry]) as gateway:
        assert in_flight_during_a_reload(gateway, vendor) == 200
        assert gateway.rerank() == 429


def test_changed_budget_goes_on_from_what_was_spent(tmp_path: Path, vendor: StubServer) -> None:
    with reloadable(tmp_path, [paid(vendor.url)], max_budget=EACH) as gateway:
        assert [gateway.rerank(), gateway.rerank()] == [200, 429]
        for changed in ({"max_budget": 2 * EACH}, {"max_budget": 3 * EACH, "budget_duration": "36500d"}):
            gateway.write(litellm_settings=changed)
            assert gateway.reload().status_code == 200
            assert [gateway.rerank(), gateway.rerank()] == [200, 429]


def test_reload_that_cannot_read_what_was_spent_leaves_the_keys_as_they_are(
    tmp_path: Path, vendor: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reloadable(tmp_path, [paid(vendor.url)]) as gateway:
        gateway.write(litellm_settings={"max_budget": 1}, general_settings={"master_key": "sk-another-one"})
        store = gateway.keyring.ledger._store
        monkeypatch.setattr(store, "total", lambda _: (_ for _ in ()).throw(LedgerError("out of reach")))
        assert gateway.reload().status_code == 400
        assert gateway.rerank() == 200


def test_reload_names_what_it_cannot_change_until_a_restart(
    tmp_path: Path, vendor: StubServer, caplog: pytest.LogCaptureFixture
) -> None:
    general = {"master_key": MASTER_KEY}
    with reloadable(tmp_path, [paid(vendor.url)]) as gateway:
        assert gateway.reload().json()["needs_restart"] == []
        gateway.write(general_settings={**general, "database_url": "postgresql://user:hunter2@other/name"})
        gateway.write(router_settings={"redis_host": "other", "redis_password": "hunter2"})
        for _ in range(2):  # it stays so, however often the file is read
            assert gateway.reload().json()["needs_restart"] == ["database_url", "redis_url"]
        gateway.write(general_settings=general, router_settings={})
        assert gateway.reload().json()["needs_restart"] == []
    warnings = [each.getMessage() for each in caplog.records if "restart" in each.getMessage()]
    assert warnings == ["a reload does not change database_url, redis_url: restart the gateway"] * 2


def test_reload_warns_of_models_that_cannot_be_called(
    tmp_path: Path, vendor: StubServer, caplog: pytest.LogCaptureFixture
) -> None:
    with reloadable(tmp_path, [paid(vendor.url)]) as gateway:
        assert gateway.reload().json()["warnings"] == []
        gateway.write(model_list=[entry("rerank", "local/lexcal"), entry("free", "cohere/new", api_key="k")])
        gateway.write(litellm_settings={"fallbacks": [{"rerank": ["free"]}]})
        uncallable, unpriced = gateway.reload().json()["warnings"]
        assert uncallable.startswith("rerank (local/lexcal) cannot be called: the only model of local/")
        assert unpriced.startswith("free (cohere/new) has no known price, so that calls with a budget")
        assert [uncallable, unpriced] == [each.getMessage() for each in caplog.records[-2:]]
        gateway.write(litellm_settings={})
        assert gateway.reload().status_code == 200
        assert gateway.rerank() == 503


def test_each_reload_is_announced_with_its_outcome(tmp_path: Path, vendor: StubServer) -> None:
    with reloadable(tmp_path, [paid(vendor.url)]) as gateway:
        gateway.reload()
        gateway.file.write_text("model_list: [")
        refused = gateway.reload()
    assert (refused.status_code, "not valid YAML" in refused.json()["message"]) == (400, True)
    good, bad = gateway.announced
    assert good == "the configuration was reloaded"
    assert bad.startswith("error: the configuration was not reloaded: ")


def test_limits_of_a_deployment_go_on_unless_it_is_another_one(tmp_path: Path, vendor: StubServer) -> None:
    entry = paid(vendor.url)
    entry["litellm_params"]["rpm"] = 2
    with reloadable(tmp_path, [entry]) as gateway:
        assert [gateway.rerank(), gateway.rerank(), gateway.rerank()] == [200, 200, 503]
        assert gateway.reload().status_code == 200
        assert gateway.rerank() == 503
        other = {**entry, "litellm_params": {**entry["litellm_params"], "model": "cohere/rerank-v4.0-pro"}}
        gateway.write(model_list=[other])
        assert gateway.reload().status_code == 200
        assert gateway.rerank() == 200


def test_cooldown_goes_on(tmp_path: Path, vendor: StubServer) -> None:
    with reloadable(tmp_path, [paid(vendor.url)], cooldown_time=60, num_retries=0) as gateway:
        vendor.fail(429, times=1, headers={"retry-after": "30"})
        assert gateway.rerank() == 429
        assert gateway.reload().status_code == 200
        assert gateway.rerank() == 503
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(("ttl", "asked"), [(600, 1), (60, 2)])
def test_cache_in_memory_goes_on_with_the_same_settings(
    tmp_path: Path, vendor: StubServer, ttl: int, asked: int
) -> None:
    with reloadable(tmp_path, [paid(vendor.url)], cache=True, cache_params={"ttl": 600}) as gateway:
        assert gateway.rerank() == 200
        gateway.write(litellm_settings={"cache": True, "cache_params": {"ttl": ttl}})
        assert gateway.reload().status_code == 200
        assert gateway.rerank() == 200
    assert len(vendor.requests) == asked
