"""Health, models, the access log and reload."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Scope
from tests.gateway.operating import ASK, HEADERS, MODEL_ROUTES, at
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from tests.support.keys import EACH, paid, serving

from anyrerank import Router
from anyrerank.errors import ConfigurationError
from anyrerank.gateway import Gateway, Service
from anyrerank.gateway.operation import LIVENESS, READINESS
from anyrerank.gateway.rerank import Caller, key_of
from anyrerank.testing import StubServer


class TwoKeys:
    """A master, and a key that may use one of the models."""

    is_open = False

    def caller(self, scope: Scope) -> Caller:
        if key_of(scope) == MASTER_KEY:
            return Caller(alias="master", is_master=True)
        return Caller(alias="search team", models=["rerank"])


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.mark.parametrize("path", [*LIVENESS, *READINESS])
def test_probe_needs_no_key(path: str) -> None:
    with running(gateway_of()) as url:
        assert httpx.get(url + path).status_code == 200


@pytest.mark.parametrize("path", READINESS)
def test_readiness_names_what_is_missing_and_liveness_stays(path: str) -> None:
    gateway = gateway_of()
    gateway.dependencies["database"] = lambda: "it does not answer"
    with running(gateway) as url:
        answer = httpx.get(url + path)
        alive = httpx.get(f"{url}/livez")

    assert answer.status_code == 503
    assert answer.json()["reasons"] == {"database": "it does not answer"}
    assert alive.status_code == 200


def test_readiness_stays_where_replicas_can_do_without_for_a_while() -> None:
    gateway = gateway_of()
    gateway.helpers["database"] = lambda: "it does not answer"
    with running(gateway) as url:
        answer = httpx.get(f"{url}/readyz")
    found = answer.json()
    assert (answer.status_code, found["status"], found["reasons"]) == (200, "degraded", {})
    assert found["degraded"] == {"database": "it does not answer"}


def test_gateway_without_any_key_of_a_provider_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COHERE_API_KEY", "CO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with running(gateway_of([entry("rerank", "cohere/rerank-v3.5")])) as url:
        answer = httpx.get(f"{url}/readyz")

    assert answer.status_code == 503
    assert "models" in answer.json()["reasons"]


def test_health_asks_no_provider_and_counts_without_a_key(vendor: StubServer) -> None:
    with running(gateway_of([at(vendor)])) as url:
        anonymous = httpx.get(f"{url}/health")
        answer = httpx.get(f"{url}/health", headers=HEADERS)

    assert anonymous.json() == {"healthy_count": 1, "unhealthy_count": 0}
    assert answer.json()["healthy_endpoints"][0]["model_name"] == "rerank"
    assert vendor.requests == []


def test_deep_health_asks_each_model_once(vendor: StubServer) -> None:
    with StubServer(lambda query, document: 0.5) as constant:
        models = [at(vendor, "good"), at(constant, "constant"), at(vendor, "down", extra_body={"down": True})]
        vendor.handler = lambda exchange: (
            exchange.respond(500) if exchange.request.json.get("down") else exchange.rank()
        )
        with running(gateway_of(models, num_retries=0)) as url:
            refused = httpx.get(f"{url}/health?deep=true")
            answers = [httpx.get(f"{url}/health?deep=true", headers=HEADERS).json() for _ in range(2)]

    assert refused.status_code == 401
    assert [each["model_name"] for each in answers[0]["healthy_endpoints"]] == ["good"]
    assert {each["model_name"] for each in answers[0]["unhealthy_endpoints"]} == {"constant", "down"}
    assert answers[0] == answers[1]
    assert len(vendor.requests) == 2


def test_gateway_with_nothing_but_a_wildcard_is_ready_and_lists_it(vendor: StubServer) -> None:
    models = [entry("any/*", "cohere/*", api_key="vendor-key-3f9", api_base=vendor.url)]
    with running(gateway_of(models)) as url, httpx.Client(base_url=url, headers=HEADERS) as client:
        assert client.get("/readyz").status_code == 200
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["any/*"]
        assert client.get("/model/info").json() == client.get("/model_group/info").json() == {"data": []}
        assert client.get("/health?deep=true").json()["unhealthy_endpoints"] == []
    assert vendor.requests == []


def test_deep_health_is_in_the_ledger(tmp_path: Path, vendor: StubServer) -> None:
    with serving(tmp_path, [paid(vendor.url)]) as gateway:
        assert gateway.get("/health", deep="true").json()["healthy_count"] == 1
        (row,) = gateway.get("/spend/keys").json()
        assert (row["tag"], row["spend"], row["requests"]) == ("key:master", pytest.approx(EACH), 1)


def test_deep_health_is_for_the_master(vendor: StubServer) -> None:
    with running(gateway_of([at(vendor)], access=TwoKeys())) as url:
        answer = httpx.get(f"{url}/health?deep=true", headers={"authorization": "Bearer sk-team"})

    assert answer.status_code == 403
    assert vendor.requests == []


@pytest.mark.parametrize("path", MODEL_ROUTES)
def test_models_are_those_of_the_key_without_secrets(path: str, vendor: StubServer) -> None:
    models = [at(vendor), at(vendor, "secret-model")]
    with running(gateway_of(models, access=TwoKeys())) as url:
        mine = httpx.get(url + path, headers={"authorization": "Bearer sk-team"})
        all_of_them = httpx.get(url + path, headers=HEADERS)
        anonymous = httpx.get(url + path)

    assert anonymous.status_code == 401
    assert len(mine.json()["data"]) == 1
    assert len(all_of_them.json()["data"]) == 2
    assert "secret-model" not in mine.text
    assert "vendor-key" not in all_of_them.text
    assert "127.0.0.1" not in all_of_them.text


def test_model_info_has_the_price_of_each_deployment(vendor: StubServer) -> None:
    models = [at(vendor, input_cost_per_query=0.5), at(vendor, input_cost_per_query=2)]
    with running(gateway_of(models)) as url:
        info = httpx.get(f"{url}/model/info", headers=HEADERS).json()["data"]
        groups = httpx.get(f"{url}/model_group/info", headers=HEADERS).json()["data"]

    assert [each["model_info"]["input_cost_per_query"] for each in info] == [0.5, 2]
    assert [(each["model_group"], each["input_cost_per_query"]) for each in groups] == [("rerank", 2)]


def test_access_log_has_a_line_without_texts_and_keys(vendor: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    with running(gateway_of([at(vendor)], settings={"access_log": True})) as url:
        httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "x-request-id": "mine"})
        httpx.get(f"{url}/livez")

    (line,) = capsys.readouterr().out.splitlines()
    facts = json.loads(line)
    assert (facts["request_id"], facts["status"], facts["documents"], facts["key"]) == ("mine", 200, 2, "master")
    for secret in (MASTER_KEY, "vendor-key", "planet", "Venus"):
        assert secret not in line


def test_access_log_names_the_end_user_and_the_deployment(
    vendor: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [{**at(vendor), "model_info": {"id": "account-b"}}]
    with running(gateway_of(models, settings={"access_log": True})) as url:
        httpx.post(f"{url}/rerank", json={**ASK, "user": "ann"}, headers=HEADERS)

    facts = json.loads(capsys.readouterr().out)
    assert (facts["end_user"], facts["deployment"], facts["deployment_id"]) == (
        "ann",
        "cohere/rerank-v3.5",
        "account-b",
    )


def test_access_log_has_reloads_and_who_asked_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = gateway_of(settings={"access_log": True})
    with running(with_reload(gateway, gateway.service)) as url:
        httpx.post(f"{url}/config/reload", headers=HEADERS)
        httpx.post(f"{url}/config/reload", headers={"authorization": "Bearer sk-of-a-stranger"})

    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["route"], good["status"], good["key"]) == ("/config/reload", 200, "master")
    assert (bad["status"], bad["error"], "key" in bad) == (401, "authentication_error", False)


def test_access_log_goes_to_its_logger_if_that_has_a_handler(
    vendor: StubServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("anyrerank.gateway.access")
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger.name)
    try:
        with running(gateway_of([at(vendor)], settings={"access_log": True})) as url:
            httpx.post(f"{url}/rerank", json=ASK)
    finally:
        logger.removeHandler(caplog.handler)

    assert json.loads(caplog.messages[-1])["error"] == "authentication_error"
    assert capsys.readouterr().out == ""


def test_access_log_is_off_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with running(gateway_of()) as url:
        httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert capsys.readouterr().out == ""


def test_listener_that_fails_does_not_keep_the_answer_from_the_client(vendor: StubServer) -> None:
    def fails(_: object) -> None:
        raise ValueError

    gateway = gateway_of([at(vendor)])
    gateway.listeners.append(fails)
    with running(gateway) as url:
        assert httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS).status_code == 200


def with_reload(gateway: Gateway, outcome: Service | ConfigurationError) -> Gateway:
    def reread() -> Service:
        if isinstance(outcome, ConfigurationError):
            raise outcome
        return outcome

    gateway.reread = reread
    return gateway


def test_reload_replaces_the_models() -> None:
    gateway = gateway_of()
    before = gateway.service
    other = Service(router=Router([entry("new")]), settings=before.settings, access=before.access)
    with running(with_reload(gateway, other)) as url:
        refused = httpx.post(f"{url}/config/reload")
        answer = httpx.post(f"{url}/config/reload", headers=HEADERS)
        models = httpx.get(f"{url}/v1/models", headers=HEADERS).json()["data"]

    assert (refused.status_code, answer.status_code) == (401, 200)
    assert [each["id"] for each in models] == ["new"]


def test_reload_of_a_wrong_file_changes_nothing() -> None:
    gateway = with_reload(gateway_of(), ConfigurationError("config.yaml:3: routing_strategy: unknown"))
    with running(gateway) as url:
        answer = httpx.post(f"{url}/config/reload", headers=HEADERS)
        served = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert answer.status_code == 400
    assert "config.yaml:3" in answer.json()["error"]["message"]
    assert served.status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/livez", "/nowhere"])
def test_every_answer_has_the_id_of_its_request(path: str) -> None:
    with running(gateway_of()) as url:
        answer = httpx.get(url + path, headers={"x-request-id": "abc-1"})
        other = httpx.get(url + path, headers={"x-request-id": "a" * 500})

    assert answer.headers["x-request-id"] == "abc-1"
    assert 0 < len(other.headers["x-request-id"]) <= 128
