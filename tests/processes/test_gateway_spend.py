"""`anyrerank serve` in processes that are killed: what was answered was spent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.keys import ASK, EACH, bearer

from anyrerank.testing import StubServer

MASTER = "sk-master-of-this-test"

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    with StubServer() as vendor:
        params = {"model": "cohere/rerank-v3.5", "api_key": "vendor-key", "api_base": vendor.url}
        document = {
            "model_list": [{"model_name": "rerank", "litellm_params": params}],
            "litellm_settings": {"max_end_user_budget": 2 * EACH},
            "general_settings": {"master_key": MASTER, "database_url": f"sqlite:///{tmp_path / 'keys.db'}"},
        }
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        yield path


@contextmanager
def served(config: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL of a gateway in a process, which is killed at the end at the latest."""
    command = [sys.executable, "-m", "anyrerank", "serve", "--config", str(config), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})  # noqa: S603
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " listens on " in line
        yield line.split()[-1], process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def call(url: str, key: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{url}/rerank", json={**ASK, **fields}, headers=bearer(key), timeout=30)


def test_keys_and_spend_survive_sigkill(config: Path) -> None:
    with served(config) as (url, process):
        fields = {"max_budget": 3 * EACH, "budget_duration": "365d"}
        key = httpx.post(f"{url}/key/generate", json=fields, headers=bearer(MASTER)).json()["key"]
        assert [call(url, key, user="ann").status_code for _ in range(2)] == [200, 200]
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait(30)
    with served(config) as (url, _):
        info = httpx.get(f"{url}/key/info", headers=bearer(key)).json()["info"]
        assert info["spend"] == pytest.approx(2 * EACH)
        assert call(url, key, user="ann").status_code == 429
        assert [call(url, key).status_code for _ in range(2)] == [200, 429]


def test_command_line_revokes_a_key_of_a_running_gateway(config: Path) -> None:
    database = json.loads(config.read_text())["general_settings"]["database_url"]

    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "anyrerank", "keys", *arguments, "--db", database]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    with served(config) as (url, _):
        key = keys("create", "--alias", "cli")
        while call(url, key).status_code != 200:
            pass  # until the gateway has seen it
        keys("revoke", "cli")
        while call(url, key).status_code != 401:
            pass


def test_reload_without_a_master_key_is_refused_where_other_machines_are_let_in(config: Path) -> None:
    document = json.loads(config.read_text())
    with served(config, "--host", "0.0.0.0") as (everywhere, _):  # noqa: S104
        url = everywhere.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        del document["general_settings"]["master_key"]
        config.write_text(json.dumps(document))
        refused = httpx.post(f"{url}/config/reload", headers=bearer(MASTER))
        assert (refused.status_code, "no master key" in refused.json()["message"]) == (400, True)
        assert call(url, "sk-nobody").status_code == 401
        assert call(url, MASTER).status_code == 200
