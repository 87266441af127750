"""Gateways with virtual keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from tests.support.ledger_worker import NEVER

from anyrerank import Router
from anyrerank.gateway.keys import Database, Keyring, Store
from anyrerank.ledger import Ledger

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
EACH = 0.002
"""What a search costs at Cohere."""


def paid(url: str, name: str = "rerank", model: str = "cohere/rerank-v3.5") -> dict[str, Any]:
    """An entry for a vendor on loopback, which costs `EACH`."""
    return entry(name, model, api_key="vendor-key", api_base=url)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@dataclass
class Running:
    """A gateway that listens, and the keys that it has."""

    url: str
    keyring: Keyring
    router: Router

    def rerank(self, key: str | None, headers: Mapping[str, str] | None = None, **fields: Any) -> httpx.Response:
        given = {**({} if key is None else bearer(key)), **(headers or {})}
        sent = {name.encode(): value.encode() for name, value in given.items()}
        return httpx.post(f"{self.url}/rerank", json={**ASK, **fields}, headers=sent, timeout=30)

    def post(self, path: str, caller: str = MASTER_KEY, /, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=fields, headers=bearer(caller))

    def get(self, path: str, caller: str = MASTER_KEY, /, **params: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=params, headers=bearer(caller))

    def new_key(self, **fields: Any) -> str:
        answer = self.post("/key/generate", **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["key"])


def keyring_of(
    folder: Path,
    *,
    master_key: str | None = MASTER_KEY,
    url: str | None = None,
    interval: float = NEVER,
    **more: Any,
) -> Keyring:
    """The keys in a database, read once; `refresh` reads them again. The ledger is written every `interval` seconds."""
    database = Database(url or f"sqlite:///{folder / 'keys.db'}")
    database.prepare()
    ledger = Ledger(database.url.render_as_string(hide_password=False), spool=folder / "spool", interval=interval)
    keyring = Keyring(Store(database), ledger, master_key=master_key, **more)
    keyring.refresh()
    return keyring


@contextmanager
def serving(
    folder: Path,
    models: Sequence[Mapping[str, Any]] = (entry("rerank"),),
    *,
    settings: Mapping[str, Any] | None = None,
    router: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.time,
    **keys: Any,
) -> Iterator[Running]:
    """A gateway with keys in a folder."""
    keyring = keyring_of(folder, clock=clock, **keys)
    try:
        gateway = gateway_of(models, access=keyring, settings=settings, **(router or {}))
        with running(gateway) as url:
            yield Running(url, keyring, gateway.service.router)
    finally:
        keyring.close()
