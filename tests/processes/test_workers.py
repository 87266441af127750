"""`anyrerank serve --workers`: several processes at one address, as one gateway."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.gateway import MASTER_KEY
from tests.support.keys import bearer
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from anyrerank.testing import Exchange, StubServer

ASK = {"query": "Which planet is red?", "documents": ["Venus is bright.", "Mars is red."]}

pytestmark = [pytest.mark.process, pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a gateway with one model."""
    with StubServer() as vendor:
        params = {"model": "cohere/rerank-v3.5", "api_base": vendor.url, "api_key": "k"}
        document = {
            "model_list": [{"model_name": "rerank", "litellm_params": params}],
            "general_settings": {"master_key": MASTER_KEY, "database_url": f"sqlite:///{tmp_path / 'keys.db'}"},
            "anyrerank_settings": {"drain_delay": 0},
        }
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        yield path


@contextmanager
def served(config: Path, redis_url: str, *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """The URL of a gateway with two workers, and the process that supervises them."""
    command = [sys.executable, "-m", "anyrerank", "serve", "--config", str(config), "--port", "0", "--workers", "2"]
    command += ["--redis-url", redis_url, *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(config.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        assert process.stdout is not None
        supervisor = psutil.Process(process.pid)
        try:
            line = process.stdout.readline()
            assert " listens on " in line
            yield line.split()[-1], supervisor
        finally:
            workers = supervisor.children() if supervisor.is_running() else []
            process.kill()
            for worker in workers:
                worker.kill()


def call(url: str, key: str = MASTER_KEY) -> int:
    """The status of a call on a connection of its own, so that any worker may get it."""
    return httpx.post(f"{url}/rerank", json=ASK, headers=bearer(key), timeout=30).status_code


def answers(url: str) -> bool:
    try:
        return call(url) == 200
    except httpx.TransportError:  # the worker that had accepted it was killed
        return False


def total(url: str, metric: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{metric}\{{[^}}]*rerank[^}}]*\}} (\S+)$", text, re.MULTILINE))


def test_workers_are_one_gateway(config: Path, redis_url: str) -> None:
    with served(config, redis_url) as (url, supervisor):
        assert eventually(lambda: len(supervisor.children()) == 2)
        made = httpx.post(f"{url}/key/generate", json={"rpm_limit": 5}, headers=bearer(MASTER_KEY))
        key = made.json()["key"]

        def is_known() -> bool:
            return all(httpx.get(f"{url}/key/info", headers=bearer(key)).status_code == 200 for _ in range(8))

        assert eventually(is_known)  # to both workers
        found = [call(url, key) for _ in range(20)]
        assert (found.count(200), found.count(429)) == (5, 15)
        supervisor.terminate()
        assert supervisor.wait(30) == 0


def test_a_worker_that_dies_is_replaced_and_its_counts_stay(config: Path, redis_url: str) -> None:
    with served(config, redis_url) as (url, supervisor):
        assert eventually(lambda: len(supervisor.children()) == 2)
        assert {call(url) for _ in range(6)} == {200}
        # Each worker knows of all calls, and has therefore told the other one of its own.
        assert eventually(lambda: {total(url, "anyrerank_requests_total") for _ in range(8)} == {6})
        first, second = supervisor.children()
        second.kill()
        assert eventually(lambda: {first.pid, second.pid} != {each.pid for each in supervisor.children()}, within=20)
        assert eventually(lambda: len(supervisor.children()) == 2, within=20)
        assert {call(url) for _ in range(4)} == {200}
        assert eventually(lambda: total(url, "anyrerank_requests_total") == 10)


def test_a_worker_that_dies_is_replaced_while_redis_is_away(
    config: Path, new_redis: Callable[..., RedisServer]
) -> None:
    redis = new_redis()
    redis.start()
    with served(config, redis.url) as (url, supervisor):
        assert eventually(lambda: len(supervisor.children()) == 2)
        before = {each.pid for each in supervisor.children()}
        redis.pause()
        for each in supervisor.children():
            each.kill()
        assert eventually(lambda: not before & {each.pid for each in supervisor.children()}, within=20)
        assert eventually(lambda: answers(url), within=20)
        redis.resume()
        assert call(url) == 200


def test_workers_stop_when_their_supervisor_is_killed(config: Path, redis_url: str) -> None:
    with served(config, redis_url) as (url, supervisor):
        assert eventually(lambda: len(supervisor.children()) == 2)
        workers = supervisor.children()
        supervisor.kill()
        gone, alive = psutil.wait_procs(workers, timeout=20)
        assert (len(gone), alive) == (2, [])
        with pytest.raises(httpx.ConnectError):
            call(url)


@pytest.mark.parametrize("reload", ["route", "signal"])
def test_a_reload_reaches_every_worker(config: Path, redis_url: str, reload: str) -> None:
    with served(config, redis_url) as (url, supervisor):
        assert eventually(lambda: len(supervisor.children()) == 2)
        document = json.loads(config.read_text())
        document["model_list"][0]["model_name"] = "other"
        config.write_text(json.dumps(document))
        if reload == "route":
            answer = httpx.post(f"{url}/config/reload", headers=bearer(MASTER_KEY))
            assert answer.json() == {"status": "reloaded", "models": ["other"], "needs_restart": [], "warnings": []}
        else:
            supervisor.send_signal(signal.SIGHUP)

        def names() -> set[str]:
            found = [httpx.get(f"{url}/v1/models", headers=bearer(MASTER_KEY)).json() for _ in range(8)]
            return {each["id"] for answer in found for each in answer["data"]}

        assert eventually(lambda: names() == {"other"})


def test_workers_need_something_that_they_share(config: Path) -> None:
    command = [sys.executable, "-m", "anyrerank", "serve", "--config", str(config), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    message = "--workers 2 needs --redis-url: without it, each worker would allow all that a key allows"
    assert done.stderr.strip() == f"error: {message}"


def test_nothing_accepts_connections_while_the_last_calls_end(config: Path, redis_url: str) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def slowly(exchange: Exchange) -> None:
        hangs.set()
        assert goes_on.wait(20)
        exchange.rank()

    with StubServer(handler=slowly) as vendor:
        document = json.loads(config.read_text())
        document["model_list"][0]["litellm_params"]["api_base"] = vendor.url
        config.write_text(json.dumps(document))
        with served(config, redis_url) as (url, supervisor), ThreadPoolExecutor(1) as pool:
            last = pool.submit(call, url)
            assert hangs.wait(10)
            supervisor.terminate()
            assert eventually(lambda: not _accepts(url))
            goes_on.set()
            assert last.result(20) == 200
            assert supervisor.wait(30) == 0


def _accepts(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
