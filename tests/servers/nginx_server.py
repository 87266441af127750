"""nginx with the configuration in `deploy/nginx/`, and gateways behind it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.support.server_process import HOST, ServerProcess, missing

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "nginx"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class NginxServer(ServerProcess):
    """nginx with the configuration that is shipped, except for its port, its folders and the addresses of gateways.

    Args:
        folder: For its configuration and its data.
        gateways: The ports of the gateways.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    def __init__(self, folder: Path, gateways: Sequence[int]) -> None:
        super().__init__(folder)
        program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        if program is None:
            missing("nginx is not installed: install nginx")
        self._program = program
        text = (SHIPPED / "nginx.conf").read_text(encoding="utf-8")
        assert text.count("listen 8080;") == 1
        folders = "".join(f"    {each}_temp_path {folder / each};\n" for each in _TEMPORARY)
        text = text.replace("listen 8080;", f"listen {HOST}:{self.port};").replace("http {\n", f"http {{\n{folders}", 1)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        servers = "".join(f"server {HOST}:{port}{_options()};\n" for port in gateways)
        (folder / "gateways.conf").write_text(servers, encoding="utf-8")

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self, settings: Mapping[str, str]) -> Sequence[str]:
        user = "user root; " if os.geteuid() == 0 else ""
        own = f"daemon off; pid {self.folder / 'pid'}; {user}"
        return [self._program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", own]

    def answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0):
                return True
        except OSError:
            return False


def _options() -> str:
    """The options of a gateway in the file that is shipped, without the one that needs a resolver."""
    lines = (SHIPPED / "gateways.conf").read_text(encoding="utf-8").splitlines()
    found = {line.partition(":4000 resolve")[2].rstrip(";") for line in lines if line.startswith("server ")}
    (options,) = found
    return options


class GatewayServer(ServerProcess):
    """`anyrerank serve` with a configuration file."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path, config: Path, environment: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._config = config
        self._environment = environment

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self, settings: Mapping[str, str]) -> Sequence[str]:
        return [sys.executable, "-m", "anyrerank", "serve", "--config", str(self._config), "--port", str(self.port)]

    def ownership(self) -> dict[str, Any]:
        given = super().ownership()
        own = {"PYTHONPATH": str(ROOT / "integrations"), "XDG_STATE_HOME": str(self.folder), "HOME": str(self.folder)}
        return {**given, "env": {**given["env"], **own, **self._environment}}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/readiness", trust_env=False).is_success
        except httpx.TransportError:
            return False
