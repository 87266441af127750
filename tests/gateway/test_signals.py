"""What a gateway does when its process gets a signal."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.support.gateway_process import SIGNALS, gateway_process
from tests.support.ledger_worker import users
from tests.support.loopback import MAX_WAIT

from anyrerank.testing import StubServer

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no signals")]

ASK = {"query": "red planet", "documents": ["Venus", "Mars is the red planet"], "user": "ann"}


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def wait_until_unready(client: httpx.Client) -> httpx.Response:
    while (answer := client.get("/readyz")).status_code == 200:
        pass
    return answer


def wait_until_nobody_listens(url: str) -> None:
    while True:
        try:
            httpx.get(f"{url}/livez")
        except httpx.ConnectError:
            return
        except httpx.TransportError:
            pass  # accepted, and closed with the listener


@pytest.mark.parametrize("number", SIGNALS)
def test_call_in_flight_is_finished_and_paid(number: int, vendor: StubServer, tmp_path: Path) -> None:
    vendor.fail("hang", times=1)
    with ThreadPoolExecutor() as pool, gateway_process(tmp_path, [vendor.url], {"drain_delay": 0.1}) as gateway:
        call = pool.submit(httpx.post, f"{gateway.url}/rerank", json=ASK, timeout=MAX_WAIT)
        assert vendor.wait_for_requests(1)
        gateway.signal(number)
        wait_until_nobody_listens(gateway.url)
        vendor.recover()

        assert call.result().status_code == 200
        assert gateway.exit_code() == 0
        assert gateway.line() == "ended"
    assert users(tmp_path / "spend.db") == ["ann"]


def test_sigterm_lets_load_balancers_notice_before_it_stops(vendor: StubServer, tmp_path: Path) -> None:
    with gateway_process(tmp_path, [vendor.url], {"drain_delay": 100}) as gateway:
        with httpx.Client(base_url=gateway.url) as client:
            assert client.get("/readyz").status_code == 200
            gateway.signal(signal.SIGTERM)
            unready = wait_until_unready(client)
            call = client.post("/rerank", json=ASK)
            alive = client.get("/livez")

        assert unready.status_code == 503
        assert {each.headers["connection"] for each in (call, alive)} == {"close"}
        assert "shutting down" in unready.json()["reasons"]["gateway"]
        assert (call.status_code, alive.status_code) == (200, 200)
        gateway.signal(signal.SIGTERM)
        assert gateway.exit_code() == 0


def test_request_on_a_connection_from_before_the_port_was_closed_is_answered(
    vendor: StubServer, tmp_path: Path
) -> None:
    with gateway_process(tmp_path, [vendor.url], {"drain_delay": 0.1}) as gateway:
        url = httpx.URL(gateway.url)
        with socket.create_connection((url.host, url.port or 0), timeout=MAX_WAIT) as connection:
            gateway.signal(signal.SIGTERM)
            wait_until_nobody_listens(gateway.url)
            body = json.dumps(ASK)
            head = f"POST /rerank HTTP/1.1\r\nhost: {url.host}\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall((head + body).encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in answer
        assert gateway.exit_code() == 0


def test_second_signal_does_not_wait_for_calls(vendor: StubServer, tmp_path: Path) -> None:
    vendor.fail("hang")
    with ThreadPoolExecutor() as pool, gateway_process(tmp_path, [vendor.url], {"drain_delay": 100}) as gateway:
        call = pool.submit(httpx.post, f"{gateway.url}/rerank", json=ASK, timeout=MAX_WAIT)
        assert vendor.wait_for_requests(1)
        with httpx.Client(base_url=gateway.url) as client:
            gateway.signal(signal.SIGTERM)
            wait_until_unready(client)
        gateway.signal(signal.SIGTERM)

        assert gateway.exit_code(5) == 0
        assert call.result().status_code == 503


def test_call_that_does_not_end_is_given_up(vendor: StubServer, tmp_path: Path) -> None:
    vendor.fail("hang")
    settings = {"drain_delay": 0, "shutdown_timeout": 1}
    with ThreadPoolExecutor() as pool, gateway_process(tmp_path, [vendor.url], settings) as gateway:
        call = pool.submit(httpx.post, f"{gateway.url}/rerank", json=ASK, timeout=MAX_WAIT)
        assert vendor.wait_for_requests(1)
        gateway.signal(signal.SIGTERM)

        assert gateway.exit_code(8) == 0
        assert call.result().status_code == 503
        assert "shutting down" in call.result().json()["message"]


def test_sighup_replaces_the_configuration_without_losing_a_call(vendor: StubServer, tmp_path: Path) -> None:
    vendor.fail("hang", times=1)
    with (
        StubServer() as other,
        ThreadPoolExecutor() as pool,
        gateway_process(tmp_path, [vendor.url, other.url]) as gateway,
    ):
        ask = {**ASK, "model": "model-0"}
        call = pool.submit(httpx.post, f"{gateway.url}/rerank", json=ask, timeout=MAX_WAIT)
        assert vendor.wait_for_requests(1)
        gateway.signal(signal.SIGHUP)
        assert gateway.line() == "reloaded"
        models = [each["id"] for each in httpx.get(f"{gateway.url}/v1/models").json()["data"]]
        vendor.recover()

        assert models == ["model-1"]
        assert call.result().status_code == 200
        assert httpx.post(f"{gateway.url}/rerank", json=ASK).status_code == 200
        assert len(other.requests) == 1


def test_sighup_with_a_wrong_configuration_changes_nothing(vendor: StubServer, tmp_path: Path) -> None:
    with gateway_process(tmp_path, [vendor.url]) as gateway:
        gateway.signal(signal.SIGHUP)
        assert gateway.line() == "not reloaded: no model is left"
        assert httpx.post(f"{gateway.url}/rerank", json=ASK).status_code == 200
