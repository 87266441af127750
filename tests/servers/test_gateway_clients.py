"""Rerank clients of other projects call the gateway, unchanged, with nothing but their base URL set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.processes import script
from tests.servers.rerank_clients import SETS, TOP
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

MODELS = [entry("acme-rerank"), entry("another")]
CASE = {
    "query": "Which planet is red?",
    "documents": ["Venus is hot", "Mars is the red planet", "Jupiter is large"],
    "model": "acme-rerank",
}
BEST = "Mars is the red planet"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of(MODELS)) as address:
        yield address


@pytest.fixture(scope="module")
def outcomes(url: str, environment: Callable[[str], str]) -> dict[str, Any]:
    """What each client made of its answer."""
    program = Path(__file__).with_name("rerank_clients.py")
    found: dict[str, Any] = {}
    with running(gateway_of(MODELS, master_key=None)) as open_url:
        for name in SETS:
            printed = script(environment(name), program, name, url, open_url, MASTER_KEY, given=json.dumps(CASE))
            found.update(json.loads(printed.splitlines()[-1]))
    return found


@pytest.mark.parametrize("client", [client for clients in SETS.values() for client in clients])
def test_client_ranks_through_the_gateway(client: str, outcomes: dict[str, Any]) -> None:
    found = outcomes[client]
    assert isinstance(found, list), found
    assert len(found) == TOP
    assert found[0][0] == BEST
    assert found[0][1] > found[1][1]


def test_dify_ranks_through_the_gateway(url: str, environment: Callable[[str], str]) -> None:
    program = Path(__file__).with_name("dify_client.py")
    printed = script(environment("dify"), program, url, MASTER_KEY, given=json.dumps(CASE))
    found = json.loads(printed.splitlines()[-1])

    assert next(text for text, _ in found) == BEST
    assert next(score for _, score in found) == 1.0  # Dify maps the scores of an answer to 0..1 itself
    assert len(found) == len(CASE["documents"])
