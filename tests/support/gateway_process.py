"""A gateway in a process of its own: `python gateway_process.py SPEND_DB SETTINGS VENDOR_URL...`.

Each vendor is a model: `model-0` and so on. SIGHUP leaves only the last one, or fails if there is only one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyrerank import Router
from anyrerank.errors import ConfigurationError
from anyrerank.gateway import Gateway, GatewaySettings, Service
from anyrerank.gateway.rerank import Open
from anyrerank.gateway.server import Server, bind
from anyrerank.ledger import Ledger

ROOT = Path(__file__).parents[2]


class GatewayProcess:
    """A running gateway."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def exit_code(self, within: float = 20.0) -> int:
        return self._process.wait(within)


@contextmanager
def gateway_process(
    folder: Path, vendors: Sequence[str], settings: Mapping[str, Any] | None = None
) -> Iterator[GatewayProcess]:
    """A gateway over some vendors; its ledger is `spend.db` in the folder."""
    command = [sys.executable, __file__, str(folder / "spend.db"), json.dumps(settings or {}), *vendors]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield GatewayProcess(process, process.stdout.readline().strip())
        finally:
            process.kill()


def main(database: str, settings: str, *vendors: str) -> None:
    ledger = Ledger(database, interval=1000.0)

    def service(first: int) -> Service:
        models = [
            {
                "model_name": f"model-{number}",
                "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": "vendor-key", "api_base": url},
            }
            for number, url in list(enumerate(vendors))[first:]
        ]
        if not models:
            raise ConfigurationError("no model is left")
        given = GatewaySettings(**json.loads(settings))
        return Service(router=Router(models, hooks=[ledger]), settings=given, access=Open())

    gateway = Gateway(service(0), reread=lambda: service(1))

    def reload() -> None:
        try:
            gateway.reload()
        except ConfigurationError as error:
            print(f"not reloaded: {error.message}", flush=True)  # noqa: T201
        else:
            print("reloaded", flush=True)  # noqa: T201

    server = Server(gateway, started=lambda url: print(url, flush=True), reload=reload)  # noqa: T201
    server.run([bind("127.0.0.1", 0)])
    print("ended", flush=True)  # noqa: T201


SIGNALS = (signal.SIGTERM, signal.SIGINT)

if __name__ == "__main__":
    main(*sys.argv[1:])
