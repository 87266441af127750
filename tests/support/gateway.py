"""A gateway that listens on loopback, in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anyrerank import Router
from anyrerank.gateway import Gateway, GatewaySettings, Service
from anyrerank.gateway.rerank import Access, MasterKey, Open, isolation_of
from anyrerank.gateway.server import Server, bind

MASTER_KEY = "sk-master-4Fq8Zr1uXw"


def entry(name: str, model: str = "local/lexical", **params: Any) -> dict[str, Any]:
    """An entry of a `model_list`."""
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def gateway_of(
    models: Sequence[Mapping[str, Any]] = (entry("rerank"),),
    *,
    master_key: str | None = MASTER_KEY,
    access: Access | None = None,
    settings: Mapping[str, Any] | None = None,
    **router: Any,
) -> Gateway:
    """A gateway over a router with these models."""
    made, own = Router(models, **{"drop_params": True, **router}), GatewaySettings(**(settings or {}))
    return Gateway(
        Service(
            router=made,
            settings=own,
            access=access or (Open() if master_key is None else MasterKey(master_key)),
            isolation=isolation_of(made, own),
        )
    )


@contextmanager
def running(gateway: Gateway) -> Iterator[str]:
    """The URL of a gateway that listens inside the block."""
    urls: list[str] = []
    ready = threading.Event()

    def started(url: str) -> None:
        urls.append(url)
        ready.set()

    server = Server(gateway, started=started, reload=lambda: None)
    thread = threading.Thread(target=server.run, args=([bind("127.0.0.1", 0)],), name="gateway", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield urls[0]
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
