"""The server in a process of its own, and what is sent to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODEL = "cohere/m"
KEY = "x"
QUERY = "which passage is it?"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "accept": "application/json"}
PATH = "/v2/rerank"


def texts(count: int) -> list[str]:
    """`count` different documents of 500 characters."""
    return [f"{place:09d} ".ljust(500, "abcdefghi "[place % 9]) for place in range(count)]


def body(documents: list[str]) -> dict[str, Any]:
    """The JSON that the provider sends for them."""
    return {"model": MODEL.partition("/")[2], "query": QUERY, "documents": documents}


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    command = [sys.executable, "-m", "tests.benchmarks.server"]
    # Leaving the block closes the server's input, and with that ends it.
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
