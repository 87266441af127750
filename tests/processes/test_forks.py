"""What a forked child may use of its parent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.harness import KEY, Mode
from tests.support.loopback import MAX_WAIT, Line, Loopback, well
from tests.support.processes import forked, needs_fork

from anyrerank import Budget, RerankResponse, Router

QUERY = "which is first?"
DOCUMENTS = ["this is second 2", "this is first 1"]

pytestmark = needs_fork


def entry(name: str, url: str, group: str = "r", **params: Any) -> dict[str, Any]:
    connection = {"model": "cohere/rerank-v3.5", "api_base": url, "api_key": KEY}
    return {"model_name": group, "litellm_params": {**connection, **params}, "model_info": {"id": name}}


def ids(response: RerankResponse) -> list[str | None]:
    return [attempt.model_id for attempt in response.attempts]


def in_flight(router: Router) -> int:
    (standing,) = router.deployment_status()
    return standing.in_flight


def test_a_child_opens_connections_of_its_own(mode: Mode, server: Loopback) -> None:
    def order(mode: Mode) -> tuple[int, ...]:
        return mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes

    reranker = mode.reranker(api_base=server.url)
    assert order(mode) == (1, 0)
    assert forked(lambda: order(Mode(asynchronous=mode.asynchronous))) == "(1, 0)"
    assert server.settles(connections=1)
    assert order(mode) == (1, 0)
    before, of_the_child, after = (hit.connection for hit in server.hits)
    assert before == after != of_the_child


def test_a_child_continues_from_the_limits_of_its_parent(server: Loopback) -> None:
    entries = [entry("a", server.url, rpm=1), entry("b", server.url, "spare", budget=Budget(1.0))]
    with Router(entries, fallbacks={"r": ["spare"]}, top_n=1) as router:
        router.rerank("r", QUERY, DOCUMENTS)
        assert forked(lambda: ids(router.rerank("r", QUERY, DOCUMENTS))) == "['b']"
        assert ids(router.rerank("r", QUERY, DOCUMENTS)) == ["b"]


def test_a_child_has_none_of_the_calls_in_flight_in_its_parents_threads(serve: Callable[..., Loopback]) -> None:
    reached, over = threading.Event(), threading.Event()

    def hold(line: Line) -> None:
        reached.set()
        over.wait(MAX_WAIT)
        well(line)

    with Router([entry("a", serve(hold).url)]) as router, ThreadPoolExecutor(1) as pool:
        call = pool.submit(router.rerank, "r", QUERY, DOCUMENTS)
        assert reached.wait(MAX_WAIT)
        assert forked(lambda: in_flight(router)) == "0"
        assert in_flight(router) == 1
        over.set()
        assert ids(call.result()) == ["a"]
        assert in_flight(router) == 0
