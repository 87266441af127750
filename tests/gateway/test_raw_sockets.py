"""HTTP that no client library would send. After each case the gateway must serve the next call."""

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, gateway_of, running
from tests.support.sockets import BODY, body_of, connected, raw, received, request, status_of

CHUNKED = "Transfer-Encoding: chunked"

REFUSED = {
    "no host": (400, request(host=None)),
    "two hosts": (400, request("Host: elsewhere")),
    "length and chunks": (400, request(CHUNKED)),
    "two lengths": (400, request("Content-Length: 5")),
    "negative length": (400, request("Content-Length: -1", length=False)),
    "huge length": (400, request(f"Content-Length: {'9' * 30}", length=False)),
    "length over the limit": (413, request(f"Content-Length: {2**40}", length=False)),
    "chunk without a size": (400, request(CHUNKED, length=False, body=b"zz\r\n\r\n")),
    "chunk longer than its size": (400, request(CHUNKED, length=False, body=b"2\r\nabcdef\r\n0\r\n\r\n")),
    "space before the colon": (400, request("Transfer-Encoding : chunked")),
    "folded line": (400, request("X-Folded: a\r\n b")),
    "zero byte": (400, request("X-Zero: a\0b")),
    "line feeds alone": (400, b"POST /rerank HTTP/1.1\nHost: localhost\n\n"),
    "not ASCII in the path": (400, request(start="POST /r\xe9rank HTTP/1.1")),
    "no path": (400, request(start="POST http:// HTTP/1.1")),
    "CONNECT": (400, request(start="CONNECT localhost:80 HTTP/1.1", body=b"")),
    "HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "200 header lines": (431, request(*(f"X-{number}: a" for number in range(200)))),
    "500 kB of headers": (431, request(*(f"X-{number}: {'a' * 10_000}" for number in range(50)))),
    "1 MB header that does not end": (431, b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2**20),
    "path of 100 kB": (431, request(start=f"POST /{'a' * 100_000} HTTP/1.1")),
    "1 MB trailer that does not end": (431, request(CHUNKED, length=False, body=b"0\r\nX: " + b"a" * 2**20)),
    "traversal": (404, request(start="POST /../../etc/passwd HTTP/1.1")),
    "websocket": (400, request("Upgrade: websocket", "Connection: Upgrade", body=b"", close=False)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_request_is_refused_and_the_next_one_is_served(case: str) -> None:
    status, data = REFUSED[case]
    with running(gateway_of(master_key=None, settings={"body_seconds": 0.2})) as url:
        with connected(url) as connection:
            try:
                connection.sendall(data)
                answer = connection.recv(65536)
            except ConnectionError:  # the server closes before it has read everything
                answer = connection.recv(65536)
        served = httpx.post(f"{url}/rerank", content=BODY)

    assert status_of(answer) == status
    assert served.status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        request(start="POST /rerank HTTP/1.0"),
        request(start="POST /rerank HTTP/1.0", host=None),
        request(start="POST http://localhost/rerank HTTP/1.1"),
        request(CHUNKED, length=False, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        b"\r\n\r\n" + request(),
        request(*(f"X-{number}: {'a' * 600}" for number in range(90))),
    ],
    ids=["HTTP/1.0", "HTTP/1.0 without host", "absolute URL", "chunks", "empty lines before", "54 kB of headers"],
)
def test_unusual_request_is_answered(data: bytes) -> None:
    with running(gateway_of(master_key=None)) as url:
        answer = raw(url, data)

    assert status_of(answer) == 200
    assert body_of(answer)["results"][0]["index"] == 1


def test_trailers_are_no_headers() -> None:
    trailers = f"Authorization: Bearer {MASTER_KEY}\r\nOrigin: http://elsewhere\r\nHost: elsewhere"
    body = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(BODY), BODY, trailers.encode())
    key = f"Authorization: Bearer {MASTER_KEY}"
    with running(gateway_of()) as url:
        without_key = raw(url, request(CHUNKED, length=False, body=body))
        with_key = raw(url, request(key, CHUNKED, length=False, body=body))

    assert status_of(without_key) == 401
    assert status_of(with_key) == 200


def test_chunks_whose_size_and_content_come_apart_are_read() -> None:
    chunks = [BODY[start : start + 1000] for start in range(0, len(BODY), 1000)]
    with running(gateway_of(master_key=None)) as url, connected(url) as connection:
        connection.sendall(request(CHUNKED, length=False, body=b""))
        padding = b" " * 20_000
        for chunk in (*[padding] * 10, *chunks):
            connection.sendall(b"%x\r\n" % len(chunk))
            connection.sendall(chunk + b"\r\n")
        connection.sendall(b"0\r\n")
        connection.sendall(b"\r\n")
        answer = received(connection)

    assert status_of(answer) == 200


def test_offer_of_http2_as_by_java_keeps_the_body() -> None:
    offer = request("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEA", close=False)
    with running(gateway_of(master_key=None)) as url, connected(url) as connection:
        connection.sendall(offer)
        assert status_of(connection.recv(65536)) == 200
        connection.sendall(request())
        answer = received(connection)

    assert status_of(answer) == 200


def test_pipelined_requests_are_answered_in_order() -> None:
    first = request("X-Request-Id: first", close=False)
    with running(gateway_of(master_key=None)) as url:
        answer = raw(url, first + request("X-Request-Id: second"))

    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"x-request-id: first") < answer.index(b"x-request-id: second")


def test_expectation_is_answered_before_the_body_is_sent() -> None:
    with running(gateway_of(master_key=None)) as url, connected(url) as connection:
        connection.sendall(request("Expect: 100-continue", body=BODY)[: -len(BODY)])
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(BODY)
        answer = received(connection)

    assert status_of(answer) == 200


@pytest.mark.parametrize(
    "data",
    [b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX-Slow: a", b"P", b"\r\n\r\n"],
    ids=["header", "method", "empty lines"],
)
def test_headers_that_do_not_end_are_given_up(data: bytes) -> None:
    with running(gateway_of(master_key=None, settings={"header_seconds": 0.2})) as url:
        answer = raw(url, data)

    assert status_of(answer) == 408


def test_headers_that_arrive_byte_by_byte_get_no_more_time() -> None:
    with running(gateway_of(master_key=None, settings={"header_seconds": 0.3})) as url, connected(url) as connection:
        connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        connection.settimeout(0.05)
        answer = b""
        while not answer:
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                connection.sendall(b"a")

    assert status_of(answer) == 408


def test_connection_without_a_request_is_closed() -> None:
    with running(gateway_of(master_key=None, settings={"header_seconds": 0.2})) as url:
        assert raw(url, b"") == b""


def test_time_for_headers_does_not_count_the_body_or_the_call() -> None:
    settings = {"header_seconds": 0.2, "body_seconds": 5.0}
    with running(gateway_of(master_key=None, settings=settings)) as url, connected(url) as connection:
        connection.sendall(request()[:-1])
        connection.settimeout(0.4)
        with pytest.raises(TimeoutError):  # no answer, because the body may still arrive
            connection.recv(1)
        connection.settimeout(5)
        connection.sendall(BODY[-1:])
        answer = received(connection)

    assert status_of(answer) == 200


def test_body_that_does_not_end_is_given_up() -> None:
    with running(gateway_of(master_key=None, settings={"body_seconds": 0.2})) as url:
        answer = raw(url, request()[:-1])

    assert status_of(answer) == 408
    assert body_of(answer)["error"]["type"] == "request_timeout"


def test_client_that_does_not_read_its_answer_loses_the_connection() -> None:
    body = httpx.Request("POST", "http://any", json={"query": "a", "documents": ["a" * 10_000] * 1000}).content
    with running(gateway_of(master_key=None, settings={"body_seconds": 0.5})) as url, connected(url) as connection:
        connection.sendall(request(body=body, close=False))
        with httpx.Client(base_url=url) as client:
            while "anyrerank_connections 2.0" in client.get("/metrics").text:
                pass
        answer = received(connection)

    assert status_of(answer) == 200
    assert len(answer) < len(body)


def test_an_answer_that_is_not_read_is_a_request_in_flight() -> None:
    """So a client that asks for large answers and reads none of them cannot fill the memory."""
    body = httpx.Request("POST", "http://any", json={"query": "a", "documents": ["a" * 10_000] * 1000}).content
    with running(gateway_of(master_key=None, settings={"max_held_mb": 15})) as url, connected(url) as connection:
        connection.sendall(request(body=body))
        with httpx.Client(base_url=url) as client:
            while 'route="/rerank",status="200"' not in client.get("/metrics").text:
                pass
            unread = client.get("/metrics").text
            refused = client.post("/rerank", content=body)
            assert status_of(received(connection)) == 200
            while "anyrerank_in_flight 0.0" not in client.get("/metrics").text:
                pass
            served = client.post("/rerank", content=body)

    assert "anyrerank_in_flight 1.0" in unread
    assert "anyrerank_held_bytes 0.0" not in unread
    assert refused.status_code == 503
    assert served.status_code == 200
