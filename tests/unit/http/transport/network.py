"""Calls whose answers a broken server or network sends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import KEY, Mode, leaks
from tests.support.loopback import Line, Script, ranking

from anyrerank import (
    Reranker,
    RerankError,
)

QUERY = "who signed the zebra-quartz contract"
DOCUMENTS = ["the walrus-onyx clause was signed by Jane Roe 2", "nobody signed the heron-topaz clause 1"]
SECRETS = [KEY, QUERY, *DOCUMENTS, "zebra-quartz", "walrus-onyx", "heron-topaz", "Jane Roe"]
GENEROUS = 3.0
"""Seconds by which even a slow machine has noticed."""


def failure(way: Mode, reranker: Reranker, documents: list[str] = DOCUMENTS, **overrides: Any) -> RerankError:
    """The error of a call, which must come in time and show nothing."""
    began = time.monotonic()
    with pytest.raises(RerankError) as caught:
        way.rerank(reranker, QUERY, documents, **overrides)
    assert time.monotonic() - began < GENEROUS
    assert not leaks(caught.value, SECRETS)
    return caught.value


def works(way: Mode, reranker: Reranker) -> None:
    response = way.rerank(reranker, QUERY, DOCUMENTS)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 1 / 2), (0, 1 / 3)]


GOOD = json.dumps(ranking(DOCUMENTS)).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def sends(data: bytes, then: Callable[[Line], Any] = Line.hang_up) -> Script:
    def script(line: Line) -> None:
        line.send(data)
        then(line)

    return script


def length(count: int) -> bytes:
    return f"content-length: {count}\r\n\r\n".encode()


def silence(line: Line) -> None:
    line.client_left()
