"""Proxies of the environment."""

from __future__ import annotations

import base64
import socket
import sys
from collections.abc import Callable

import pytest
from tests.support.harness import KEY, Mode, leaks
from tests.support.loopback import Line, Loopback
from tests.unit.http.transport.network import failure, works

from anyrerank import (
    APIConnectionError,
    BadRequestError,
    ConfigurationError,
)


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_an_environment_proxy_is_used(
    scheme: str, mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", f"{scheme}{proxy.host}")
    works(mode, mode.reranker(api_base="http://rerank.invalid/v2"))
    assert proxy.hits[0].target == "http://rerank.invalid/v2/rerank"
    assert proxy.hits[0].headers["host"] == "rerank.invalid"
    assert proxy.hits[0].headers["authorization"] == f"Bearer {KEY}"


def test_no_proxy_is_honoured(
    mode: Mode, server: Loopback, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    works(mode, mode.reranker(api_base=server.url))
    assert (len(server.hits), proxy.hits) == (1, [])


def test_a_proxy_with_a_login(mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve()
    monkeypatch.setenv("http_proxy", f"http://ann:pr0xy-pass@{proxy.host}")
    reranker = mode.reranker(api_base="http://rerank.invalid")
    works(mode, reranker)
    expected = base64.b64encode(b"ann:pr0xy-pass").decode()
    assert proxy.hits[0].headers["proxy-authorization"] == f"Basic {expected}"
    proxy.script = Line.hang_up
    assert not leaks(failure(mode, reranker), ["pr0xy-pass", expected])


def test_a_socks_proxy_is_one_clear_error(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setitem(sys.modules, "socksio", None)
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert type(error) is ConfigurationError
    assert "pip install 'httpx[socks]'" in error.message


def test_https_goes_through_a_tunnel_that_may_be_refused(
    mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda line: line.answer(407, b"who are you?"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:pr0xy-pass@{proxy.host}")
    error = failure(mode, mode.reranker(api_base="https://rerank.invalid", max_retries=2))
    assert (type(error), len(proxy.hits)) == (APIConnectionError, 1), "a wrong password again may lock the user out"
    assert not leaks(error, ["pr0xy-pass"])
    assert error.message == (
        f"the proxy {proxy.host} (HTTPS_PROXY) refused the connection: it answered 407; write user and password into "
        "its URL, as in http://user:password@proxy:3128"
    )
    assert (proxy.hits[0].method, proxy.hits[0].target) == ("CONNECT", "rerank.invalid:443")
    assert "authorization" not in proxy.hits[0].headers


def test_a_tunnel_may_be_refused_for_another_reason(
    mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda line: line.answer(403, b"not there"))
    monkeypatch.setenv("ALL_PROXY", proxy.host)
    error = failure(mode, mode.reranker(api_base="https://rerank.invalid"))
    assert error.message == (
        f"the proxy {proxy.host} (ALL_PROXY) refused the connection: it answered 403; check that it lets connections "
        "to this server through, or add the server to NO_PROXY"
    )


def test_a_proxy_may_ask_for_a_login_of_a_request_without_a_tunnel(
    mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda line: line.answer(407, b"who are you?"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert type(error) is APIConnectionError
    assert error.message.startswith(
        f"the proxy {proxy.host} (HTTP_PROXY) refused the connection: it answered 407; write"
    )


def test_a_407_without_a_proxy_is_an_answer_of_the_server(mode: Mode, serve: Callable[..., Loopback]) -> None:
    server = serve(lambda line: line.answer(407, {"message": "who are you?"}))
    error = failure(mode, mode.reranker(api_base=server.url))
    assert (type(error), error.status_code) == (BadRequestError, 407)


def test_a_proxy_whose_name_is_not_known(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:pr0xy-pass@proxy.invalid:3128")
    error = failure(mode, mode.reranker(api_base="https://rerank.invalid"))
    assert error.message.startswith("the proxy proxy.invalid:3128 (HTTPS_PROXY) cannot be reached: ")
    assert error.message.endswith("; check its address, or add the server to NO_PROXY")
    assert not leaks(error, ["pr0xy-pass"])


def test_a_new_reranker_reads_the_environment_again(
    mode: Mode, server: Loopback, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    first = mode.reranker(api_base=server.url)
    works(mode, first)
    mode.function(model="cohere/m", query="a", documents=["b"], api_base=server.url, api_key=KEY)
    assert (len(server.hits), len(proxy.hits)) == (0, 2)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    works(mode, mode.reranker(api_base=server.url))
    mode.function(model="cohere/m", query="a", documents=["b"], api_base=server.url, api_key=KEY)
    assert (len(server.hits), len(proxy.hits)) == (2, 2)


def test_a_dead_proxy(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://ann:pr0xy-pass@127.0.0.1:{port}")
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert type(error) is APIConnectionError
    assert error.message == (
        f"the proxy 127.0.0.1:{port} (http_proxy) cannot be reached: [Errno 111] Connection refused; check its "
        "address, or add the server to NO_PROXY"
    )
    assert not leaks(error, ["pr0xy-pass"])


def test_a_malformed_proxy_is_one_clear_error(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:bad")
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert (type(error), error.message[:24]) == (ConfigurationError, "a proxy in the environme")
