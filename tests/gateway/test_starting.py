"""The port of a gateway: closed until the gateway can answer, so that load balancers ask another one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of
from tests.support.keys import ASK, bearer
from tests.support.server_process import HOST, free_port

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.server import Server, bind
from anyrerank.state import RedisState

SECONDS = 30.0


@pytest.fixture
def slow_server() -> Iterator[socket.socket]:
    """A server that lets programs connect, and says nothing."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(SECONDS)
        yield listener


def url_of(scheme: str, listener: socket.socket) -> str:
    return f"{scheme}://:secret@{HOST}:{listener.getsockname()[1]}/0"


def is_refused(port: int) -> bool:
    """Whether the system refuses a connection to a port."""
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) != 0


@pytest.mark.process
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_port_refuses_connections_while_the_start_of_a_gateway_fails(
    slow_server: socket.socket, tmp_path: Path, options: Sequence[str]
) -> None:
    port, file = free_port(), tmp_path / "config.yaml"
    shared = {"redis_url": url_of("redis", slow_server), "redis_seconds": SECONDS}
    file.write_text(json.dumps({"model_list": [entry("rerank")], "anyrerank_settings": shared}))  # JSON is YAML
    command = [sys.executable, "-m", "anyrerank", "serve", "--config", str(file), "--port", str(port), *options]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            connection, _ = slow_server.accept()  # the gateway asks if it can use Redis
            refused = is_refused(port)
            slow_server.close()
            connection.close()
            _, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert refused
    assert process.returncode == 1
    assert errors.startswith("error: redis_url: ")


def test_port_opens_once_the_gateway_is_connected_to_redis(slow_server: socket.socket) -> None:
    state = RedisState(url_of("redis", slow_server), timeout=SECONDS)
    gateway = gateway_of()
    gateway.state = state
    bound, started = bind(HOST, 0), threading.Event()
    port = bound.getsockname()[1]
    server = Server(gateway, started=lambda _: started.set(), reload=lambda: None)
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    with closing(state):
        thread.start()
        try:
            connection, _ = slow_server.accept()
            assert is_refused(port)
            slow_server.close()
            connection.close()
            assert started.wait(SECONDS)
            answer = httpx.post(f"http://{HOST}:{port}/rerank", json=ASK, headers=bearer(MASTER_KEY))
            assert answer.status_code == 200
        finally:
            server.should_exit = True
            thread.join(SECONDS)


def test_port_that_another_program_takes_during_the_start_is_named() -> None:
    bound = bind(HOST, 0)
    port = bound.getsockname()[1]
    with closing(bound), closing(bind(HOST, port)) as other:
        other.listen()
        server = Server(gateway_of(), started=lambda _: None, reload=lambda: None)
        with pytest.raises(ConfigurationError, match=f"cannot listen on {HOST}:{port}: another program listens there"):
            server.run([bound])
