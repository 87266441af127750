"""Fresh interpreters and forks."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

import pytest
from tests.support.loopback import MAX_WAIT

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")


def python(code: str, *arguments: str) -> str:
    """What `code` prints in a fresh interpreter, which must end well and print no warning."""
    command = [sys.executable, "-W", "default", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def forked(work: Callable[[], object]) -> str:
    """What `work` returns in a fork of this process, as a string."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # this process has threads, of which Python warns from 3.12 on
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        outcome = "failed"
        try:
            outcome = str(work())
        finally:
            os.write(writing, outcome.encode())
            os._exit(0)
    os.close(writing)
    try:
        assert select.select([reading], [], [], 3 * MAX_WAIT)[0], "the child does not answer"
        return os.read(reading, 1000).decode()
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
