"""Environments of their own for servers whose dependencies would not fit in ours, and the servers' processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parents[1] / ".venv-servers"

_PATIENCE = 180.0
"""Seconds after which a server is not going to start."""
_FAREWELL = 20.0
"""Seconds that a server gets to end by itself."""
_QUIET = {
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONUNBUFFERED": "1",
}
"""No server calls home, or anywhere else."""


def interpreter(name: str, tell: Callable[[str], None]) -> str:
    """Python of the environment with `requirements-<name>.txt`, which is made at first and kept."""
    requirements = _HERE / f"requirements-{name}.txt"
    folder = _ENVIRONMENTS / name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        tell(f"installing {name} into {folder.relative_to(_ENVIRONMENTS.parent)} (once)")
        _ENVIRONMENTS.mkdir(exist_ok=True)
        (_ENVIRONMENTS / ".gitignore").write_text("*\n")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--requirement", str(requirements)])
        installed.write_text(requirements.read_text())
    return str(python)


def script(python: str, path: Path, *arguments: str, given: str) -> str:
    """What a script prints that runs in another environment and reads `given`."""
    command = [python, str(path), *arguments]
    done = subprocess.run(  # noqa: S603
        command, input=given, capture_output=True, text=True, env=environment(path.parent), check=False
    )
    if done.returncode:
        pytest.fail(f"{path.name} failed:\n{done.stderr[-4000:]}", pytrace=False)
    return done.stdout


@contextmanager
def running(command: Sequence[str], *, ready: str, folder: Path) -> Iterator[None]:
    """A server, from when it answers at the address `ready` until the block is left; it works and logs in `folder`."""
    log = folder / f"{Path(command[0]).name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(folder),
            start_new_session=True,
        ) as process,
    ):
        try:
            if problem := _trouble(process, ready):
                shown = log.read_text(errors="replace")[-4000:]
                pytest.fail(f"{log.stem} {problem}; its log ends:\n{shown}", pytrace=False)
            yield
        finally:
            _end(process)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def environment(home: Path) -> Mapping[str, str]:
    """The environment variables of another process: no key, no proxy, nothing to fetch."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **_QUIET}


def _trouble(process: subprocess.Popen[bytes], ready: str) -> str | None:
    """Why a server will not be ready; `None` when it is."""
    deadline = time.monotonic() + _PATIENCE
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return f"ended with {process.returncode}"
            try:
                if client.get(ready).is_success:
                    return None
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    return f"was not ready within {_PATIENCE:.0f} seconds"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server, and what it started."""
    process.terminate()
    try:
        process.wait(_FAREWELL)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}", pytrace=False)
