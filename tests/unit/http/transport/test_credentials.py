"""Redirects, headers, credentials in addresses, and keys that no header can carry."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from tests.support.harness import KEY, Mode, leaks
from tests.support.loopback import Line, Loopback, in_turn, well
from tests.unit.http.transport.network import GOOD, QUERY, failure, works

from anyrerank import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["{other}/v2/rerank?q=1", "/v2/elsewhere", ""])
def test_a_redirect_is_not_followed(
    status: int, place: str, way: Mode, server: Loopback, serve: Callable[..., Loopback]
) -> None:
    other = serve()
    headers = {"location": place.format(other=other.url)} if place else {}
    server.script = in_turn(lambda line: line.answer(status, b"", headers), well)
    reranker = way.reranker(api_base=server.url, http_client=way.client(follow_redirects=True) if way.own else None)
    error = failure(way, reranker)
    assert type(error) is APIResponseValidationError
    assert error.status_code == status
    assert (other.host in error.message) == ("{other}" in place)
    assert (len(server.hits), other.connections, other.hits) == (1, 0, [])
    works(way, reranker)


def test_cookies_are_not_kept(mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(body=GOOD, headers={"set-cookie": "session=1; path=/"})
    # a name, because cookies of bare addresses are ignored anyway
    reranker = mode.reranker(api_base=f"http://localhost:{server.port}")
    works(mode, reranker)
    works(mode, reranker)
    assert [hit.headers.get("cookie") for hit in server.hits] == [None, None]


def test_login_in_the_base_becomes_a_header(way: Mode, server: Loopback) -> None:
    expected = base64.b64encode(b"ann:p@ss-w0rd-9").decode()
    reranker = way.reranker(api_base=f"http://ann:p%40ss-w0rd-9@{server.host}/v2", api_key=None)
    works(way, reranker)
    assert server.hits[0].headers["authorization"] == f"Basic {expected}"
    assert server.hits[0].target == "/v2/rerank"
    server.script = Line.hang_up
    assert not leaks(failure(way, reranker), [expected, "w0rd-9"])
    assert "w0rd-9" not in repr(reranker)


@pytest.mark.parametrize("quoted", ["{header}", "{token}", "{password}"])
def test_a_login_that_the_server_quotes_is_not_shown(quoted: str, sync_mode: Mode, server: Loopback) -> None:
    def script(line: Line) -> None:
        header = line.hit.headers["authorization"]
        token = header.split()[1]
        password = base64.b64decode(token).decode().split(":")[1]
        line.answer(401, {"message": "refused " + quoted.format(header=header, token=token, password=password)})

    server.script = script
    reranker = sync_mode.reranker(api_base=f"http://ann:p%40ss-w0rd-9@{server.host}", api_key=None)
    error = failure(sync_mode, reranker)
    assert type(error) is AuthenticationError
    assert not leaks(error, [base64.b64encode(b"ann:p@ss-w0rd-9").decode(), "w0rd-9"])


@pytest.mark.parametrize("key", [f"{KEY}\nx-injected: 1", f"{KEY}\r\nhost: evil", f"{KEY}\x00", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str, way: Mode, server: Loopback) -> None:
    error = failure(way, way.reranker(api_base=server.url, api_key=key))
    assert type(error) is AuthenticationError
    assert server.hits == []


def test_white_space_around_a_key_is_dropped(mode: Mode, server: Loopback) -> None:
    works(mode, mode.reranker(api_base=server.url, api_key=f" {KEY}\n"))
    assert server.hits[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("header", ["x-tenant", "x\n-tenant"])
def test_a_header_with_a_line_break_is_refused(header: str, way: Mode, server: Loopback) -> None:
    value = f"{KEY}\nx-injected: 1" if header == "x-tenant" else KEY
    error = failure(way, way.reranker(api_base=server.url, headers={header: value}))
    assert type(error) is BadRequestError
    assert server.hits == []


def test_own_headers_are_sent_and_win(way: Mode, server: Loopback) -> None:
    headers = {"X-Tenant": "7", "Authorization": "Token mine", "Accept": "application/vnd.x+json"}
    works(way, way.reranker(api_base=server.url, headers=headers))
    sent = server.hits[0].headers
    assert (sent["x-tenant"], sent["authorization"], sent["accept"]) == ("7", "Token mine", "application/vnd.x+json")


def test_a_large_request_arrives_whole(way: Mode, server: Loopback) -> None:
    documents = [f"{'long ' * 200_000} {number}" for number in (3, 1, 2)]
    response = way.rerank(way.reranker(api_base=server.url), QUERY, documents)
    assert server.hits[0].documents == documents
    assert [each.index for each in response.results] == [1, 2, 0]
