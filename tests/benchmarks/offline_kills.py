"""`anyrerank batch`, killed four times: how many rows are paid twice, and how soon a run sends again after a kill.

The time to the first request is CPU time of the new process, so that other work on the machine does not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from anyrerank.testing import StubServer
from tests.benchmarks.figures import Figure, stays_under
from tests.benchmarks.loopback import ROOT
from tests.benchmarks.offline_rows import jsonl

_ROWS, _CHARACTERS = 5_000, 100
_KILLS = (700, 1_900, 2_800, 4_000)
"""Requests after which a run is killed."""
_IN_FLIGHT = 64
_SECONDS = 120.0


def run() -> list[Figure]:
    if sys.platform != "linux":
        sys.stderr.write("offline_kills: not measured, CPU time is read from Linux's /proc\n")
        return []
    with StubServer() as server, tempfile.TemporaryDirectory() as folder:
        path = jsonl(Path(folder), _ROWS, _CHARACTERS)
        arguments = [
            str(path),
            "--out",
            f"{folder}/out",
            "--model",
            "cohere_compatible/m",
            "--in-flight",
            str(_IN_FLIGHT),
        ]
        command = [sys.executable, "-m", "anyrerank", "batch", *arguments, "--api-base", server.url, "--yes"]
        restarts = [_killed(command, server, moment) for moment in _KILLS]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)  # noqa: S603
        asked = {request.json["query"] for request in server.requests}
        assert len(asked) == _ROWS
        twice = len(server.requests) - _ROWS
    return [
        stays_under(
            "offline_kills", "rows paid twice after 4 kills", twice, None, "calls", limit=len(_KILLS) * _IN_FLIGHT
        ),
        stays_under("offline_kills", "CPU to the first request after a kill", max(restarts), None, "s", limit=1.0),
    ]


def _killed(command: list[str], server: StubServer, moment: int) -> float:
    """Start a run, kill it after a number of requests, and return its CPU seconds to the first one."""
    before = len(server.requests)
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        assert server.wait_for_requests(before + 1, _SECONDS)
        seconds = _cpu_seconds(process.pid)
        assert server.wait_for_requests(moment, _SECONDS)
        process.kill()
    return seconds


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
