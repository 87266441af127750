"""The switch that forbids the network, on both transports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from tests.support.harness import Mode, answering, leaks

from anyrerank import RerankError, Router
from anyrerank.testing import NetworkForbiddenError, StubServer, fake_provider, forbid_network

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot.", "Mars is the red planet."]
FAR = "rerank.invalid"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def test_a_request_raises_an_error_that_names_the_switch_and_the_host(way: Mode) -> None:
    reranker = way.reranker(api_base=f"http://user:password@{FAR}", api_key=None, max_retries=2)
    with forbid_network(), pytest.raises(NetworkForbiddenError, match=f"{FAR} .*forbid_network") as caught:
        way.rerank(reranker, QUERY, DOCUMENTS)
    assert not isinstance(caught.value, RerankError)
    assert not leaks(caught.value, [QUERY, *DOCUMENTS, "password"])


def test_loopback_is_forbidden_unless_it_is_allowed(stub: StubServer, way: Mode) -> None:
    reranker = way.reranker(api_base=stub.url)
    with forbid_network(), pytest.raises(NetworkForbiddenError):
        way.rerank(reranker, QUERY, DOCUMENTS)
    assert stub.requests == []
    with forbid_network(allow_loopback=True):
        assert way.rerank(reranker, QUERY, DOCUMENTS).results.indexes == (1, 0)


@pytest.mark.parametrize(
    "host", ["rerank.invalid", "128.0.0.1", "127.0.0.1.example", "localhost.example", "notlocalhost", "[::2]"]
)
def test_what_only_looks_like_loopback_is_forbidden(host: str, mode: Mode) -> None:
    reranker = mode.reranker(api_base=f"http://{host}:9")
    with forbid_network(allow_loopback=True), pytest.raises(NetworkForbiddenError):
        mode.rerank(reranker, QUERY, DOCUMENTS)


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.9.9.9", "[::1]", "LOCALHOST"])
def test_every_name_of_this_machine_is_loopback(host: str, mode: Mode) -> None:
    reranker = mode.reranker(api_base=f"http://{host}:1")
    with forbid_network(allow_loopback=True), pytest.raises(Exception, match="connection") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert not isinstance(caught.value, NetworkForbiddenError)


def test_the_strictest_of_several_blocks_counts(stub: StubServer, mode: Mode) -> None:
    reranker = mode.reranker(api_base=stub.url)
    with forbid_network(), forbid_network(allow_loopback=True), pytest.raises(NetworkForbiddenError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    with forbid_network(allow_loopback=True), ExitStack() as inner:
        inner.enter_context(forbid_network())
        inner.close()
        mode.rerank(reranker, QUERY, DOCUMENTS)


def test_it_ends_with_the_block_also_after_an_error(stub: StubServer, mode: Mode) -> None:
    with pytest.raises(LookupError), forbid_network():
        raise LookupError
    assert mode.rerank(mode.reranker(api_base=stub.url), QUERY, DOCUMENTS).results.indexes == (1, 0)


def test_threads_that_are_already_running_are_covered(stub: StubServer, mode: Mode) -> None:
    caught: list[BaseException] = []
    forbidden = threading.Event()

    def work() -> None:
        forbidden.wait(10)
        try:
            mode.rerank(mode.reranker(api_base=stub.url), QUERY, DOCUMENTS)
        except NetworkForbiddenError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    with forbid_network():
        forbidden.set()
        thread.join(10)
    assert len(caught) == 1


@pytest.mark.parametrize("given", [{"fallbacks": ["local/lexical"]}, {"on_error": "passthrough"}])
def test_neither_a_fallback_nor_passthrough_hides_it(given: dict[str, Any], mode: Mode) -> None:
    reranker = mode.reranker(api_base=f"http://{FAR}", **given)
    with forbid_network(), pytest.raises(NetworkForbiddenError):
        mode.rerank(reranker, QUERY, DOCUMENTS)


def test_a_router_does_not_fall_back_from_it(sync_mode: Mode) -> None:
    entries = [
        {
            "model_name": "best",
            "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": "k", "api_base": f"http://{FAR}"},
        },
        {"model_name": "spare", "litellm_params": {"model": "local/lexical"}},
    ]
    with forbid_network(), pytest.raises(NetworkForbiddenError):
        Router(entries, default_fallbacks=["spare"]).rerank("best", QUERY, DOCUMENTS)


@pytest.mark.parametrize("model", ["local/lexical", "fake/any-model"])
def test_what_sends_nothing_is_let_through(model: str, mode: Mode) -> None:
    custom = fake_provider() if model.startswith("fake") else None
    reranker = mode.reranker(model, custom_llm_provider=custom, api_key=None)
    with forbid_network():
        assert mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes[0] == 1


def test_a_client_with_a_mock_transport_is_let_through(mode: Mode) -> None:
    replay = answering({"results": [{"index": 0, "relevance_score": 0.5}]})
    reranker = mode.reranker(api_base=f"http://{FAR}", http_client=replay.client(mode))
    with forbid_network():
        assert mode.rerank(reranker, QUERY, DOCUMENTS[:1]).results.scores == (0.5,)


def test_a_client_for_the_other_mode_is_not_the_one_that_sends(mode: Mode) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    other = httpx.Client(transport=transport) if mode.asynchronous else httpx.AsyncClient(transport=transport)
    with forbid_network(), pytest.raises(NetworkForbiddenError):
        mode.rerank(mode.reranker(api_base=f"http://{FAR}", http_client=other), QUERY, DOCUMENTS)


def test_it_is_a_decorator_too(mode: Mode) -> None:
    @forbid_network()
    def call() -> None:
        mode.rerank(mode.reranker(api_base=f"http://{FAR}"), QUERY, DOCUMENTS)

    for _ in range(2):
        with pytest.raises(NetworkForbiddenError):
            call()
