"""Separate environments for servers whose dependencies conflict with ours, and processes of these servers."""

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

_START_SECONDS = 180.0
"""Seconds that a server may take to start."""
_STOP_SECONDS = 20.0
"""Seconds that a server may take to stop before it is killed."""
_QUIET = {
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONUNBUFFERED": "1",
}
"""Keeps servers from using the network."""


def interpreter(name: str, report: Callable[[str], None]) -> str:
    """The Python of the environment with `requirements-<name>.txt`, which is created once and cached."""
    requirements = _HERE / f"requirements-{name}.txt"
    folder = _ENVIRONMENTS / name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        report(f"installing {name} into {folder.relative_to(_ENVIRONMENTS.parent)} (once)")
        _ENVIRONMENTS.mkdir(exist_ok=True)
        (_ENVIRONMENTS / ".gitignore").write_text("*\n")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--requirement", str(requirements)])
        installed.write_text(requirements.read_text())
    return str(python)


def script(python: str, path: Path, *arguments: str, given: str) -> str:
    """The output of a script that runs in another environment with `given` as its input."""
    command = [python, str(path), *arguments]
    done = subprocess.run(  # noqa: S603
        command, input=given, capture_output=True, text=True, env=environment(path.parent), check=False
    )
    if done.returncode:
        pytest.fail(f"{path.name} failed:\n{done.stderr[-4000:]}", pytrace=False)
    return done.stdout


@contextmanager
def running(command: Sequence[str], *, ready: str, folder: Path) -> Iterator[None]:
    """Run a server in `folder`, with its log there; the block starts when the URL `ready` answers."""
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
            if problem := _start_problem(process, ready):
                shown = log.read_text(errors="replace")[-4000:]
                pytest.fail(f"{log.stem} {problem}; its log ends:\n{shown}", pytrace=False)
            yield
        finally:
            _stop(process)


def free_port() -> int:
    """A port that is not in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def environment(home: Path) -> Mapping[str, str]:
    """The environment variables of another process: no keys, no proxies, no network."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **_QUIET}


def _start_problem(process: subprocess.Popen[bytes], ready: str) -> str | None:
    """Why a server did not start; `None` if it is ready."""
    deadline = time.monotonic() + _START_SECONDS
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
    return f"was not ready within {_START_SECONDS:.0f} seconds"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server and the processes that it started."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}", pytrace=False)
