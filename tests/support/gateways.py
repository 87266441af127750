"""`anyrerank serve` in processes that share a Redis and a PostgreSQL server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from tests.support.keys import ASK, bearer
from tests.support.waiting import eventually

MASTER = "sk-master-of-this-test"
PROGRAM = ("-m", "anyrerank")
"""What runs a command of anyrerank."""


class Replica:
    """A gateway in a process."""

    def __init__(self, config: Path, options: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> None:
        self.process = start(config, options, program)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " listens on " in line, line
        self.url = line.split()[-1]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def post(self, path: str, caller: str = MASTER, /, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=fields, headers=bearer(caller), timeout=30)

    def get(self, path: str, caller: str = MASTER, /, **params: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=params, headers=bearer(caller), timeout=30)

    def ask(self, key: str, **fields: Any) -> httpx.Response:
        return self.post("/rerank", key, **{**ASK, **fields})

    def new_key(self, **fields: Any) -> str:
        answer = self.post("/key/generate", **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["key"])

    def knows(self, key: str) -> bool:
        return self.get("/key/info", key).status_code == 200

    def spend(self, key: str) -> float:
        """What a key has spent, as this replica says; -1 if it does not know."""
        answer = self.get("/key/info", key)
        return round(float(answer.json()["info"]["spend"]), 9) if answer.status_code == 200 else -1.0

    def recorded_calls(self, caller: str = MASTER) -> int:
        """How many calls are in the database, as this replica reports; -1 if it cannot.

        A key asks for its own calls, the master for those of all keys.
        """
        answer = self.get("/spend/keys", caller)
        return sum(int(row["calls"]) for row in answer.json()) if answer.status_code == 200 else -1

    def spend_once_known(self, key: str) -> float:
        """`spend`, once this replica can ask its servers again: their answers to calls may come before."""
        return next(spend for spend in (self.spend(key) for _ in range(100)) if spend >= 0)


class Gateways:
    """Replicas of one gateway.

    Args:
        folder: For the configuration.
        vendor_url: Where the model is.
        redis_url, database_url: What they share.
        seconds: How long they wait for Redis.
    """

    def __init__(self, folder: Path, vendor_url: str, redis_url: str, database_url: str, seconds: float = 0.05) -> None:
        params = {"model": "cohere/rerank-v3.5", "api_key": "vendor-key", "api_base": vendor_url}
        self.document: dict[str, dict[str, Any] | list[Any]] = {
            "model_list": [{"model_name": "rerank", "litellm_params": params, "model_info": {"id": "a"}}],
            "router_settings": {"num_retries": 0},
            "general_settings": {"master_key": MASTER, "database_url": database_url},
            "anyrerank_settings": {
                "redis_url": redis_url,
                "redis_seconds": seconds,
                "max_in_flight": 2000,
                "drain_delay": 0,
            },
        }
        self.config = folder / "config.yaml"
        self.write()
        self._stack = ExitStack()

    def write(self, **sections: Mapping[str, Any]) -> None:
        """Write the configuration, with more settings in some of its sections."""
        for section, given in sections.items():
            settings = self.document.setdefault(section, {})
            assert isinstance(settings, dict)
            settings.update(given)
        self.config.write_text(json.dumps(self.document))  # JSON is YAML

    def start(self, *options: str) -> Replica:
        """One more replica, with options of the command line."""
        made = Replica(self.config, options)
        self._stack.callback(made.close)
        return made

    def skewed(self, seconds: float) -> Replica:
        """One more replica, whose clock is that far ahead."""
        made = Replica(self.config, program=(str(Path(__file__).with_name("skewed.py")), str(seconds)))
        self._stack.callback(made.close)
        return made

    def pair(self) -> tuple[Replica, Replica]:
        return self.start(), self.start()

    def key(self, one: Replica, two: Replica, **fields: Any) -> str:
        """A new key, made at one and known at both."""
        key = one.new_key(**fields)
        assert eventually(lambda: two.knows(key))
        return key

    def close(self) -> None:
        self._stack.close()


def start(config: Path, options: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> subprocess.Popen[str]:
    command = [sys.executable, *program, "serve", "--config", str(config), "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": str(config.parent)}
    with (config.parent / "errors").open("a") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)  # noqa: S603


def race(gateways: Sequence[Replica], key: str, calls: int, at_once: int = 60) -> Counter[int]:
    """The statuses of calls that race at all replicas; 0 for one without an answer."""

    async def work() -> Counter[int]:
        found: Counter[int] = Counter()
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        numbers = iter(range(calls))

        async def worker(client: httpx.AsyncClient) -> None:
            for number in numbers:
                url = f"{gateways[number % len(gateways)].url}/rerank"
                try:
                    answer = await client.post(url, json=ASK, headers=bearer(key))
                except httpx.TransportError:
                    found[0] += 1
                else:
                    found[answer.status_code] += 1

        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            await asyncio.gather(*(worker(client) for _ in range(at_once)))
        return found

    return asyncio.run(work())
