"""What the gateway says about paths that it does not serve, and about bodies that it cannot read."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.support.gateway import gateway_of, running


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of(master_key=None)) as address:
        yield address


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/cohere/rerank", "the nearest route is /cohere/v2/rerank"),
        ("/voyage/rerank", "the nearest route is /voyage/v1/rerank"),
        ("/v1/rernak", "the nearest route is /v1/rerank"),
        ("/tei/rerank2", "the nearest route is /tei/rerank"),
        ("/key/generat", "the nearest route is /key/generate"),
        ("/v1/chat/completions", "only reranking is served"),
        ("/openai/v1/embeddings", "only reranking is served"),
        ("/qqqqqqqqqqqq", "/openapi.json lists the routes"),
        (f"/{'x' * 5000}", "/openapi.json lists the routes"),
    ],
)
def test_unknown_path_names_what_is_served(url: str, path: str, says: str) -> None:
    answer = httpx.post(f"{url}{path}", json={})
    assert answer.status_code == 404
    assert says in answer.json()["message"]
    assert answer.json()["message"].startswith("Not Found: POST /")


def test_only_routes_with_the_same_method_are_suggested(url: str) -> None:
    answer = httpx.get(f"{url}/customer/list")
    assert "the nearest route is /customer/info" in answer.json()["message"]
    assert "/openapi.json lists the routes" in httpx.put(f"{url}/key/generat").json()["message"]


@pytest.mark.parametrize("secret", ["sk-abcdefgh", "sk-x9_Qw4Fq8Zr1uXw", "hunter2", "5f" * 32, "Z" * 40])
@pytest.mark.parametrize("path", ["/key/{}/rotate", "/v1/rerank/{}", "/{}"])
def test_unknown_path_is_answered_without_what_may_be_a_key(url: str, path: str, secret: str) -> None:
    answer = httpx.post(url + path.format(secret), json={})
    assert answer.status_code == 404
    assert secret not in answer.text
    assert answer.json()["message"].startswith(f"Not Found: POST {path.format('***')};")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b'{"query": secret}', "not valid JSON at line 1, column 11"),
        (b'{\n"query": "secret",\n}', "not valid JSON at line 2, column 18"),
        (b'{"query": "secret', "not valid JSON at line 1, column "),
        (b'{"query": "\\ud800", secret}', "not valid JSON at line 1, column 21"),
        (b'{"query": "\xff secret"}', "byte 12 is not UTF-8"),
        (b'["secret"]', "must be a JSON object, got an array"),
        (b'"secret"', "must be a JSON object, got a string"),
        (b"7", "must be a JSON object, got a number"),
        (b"null", "must be a JSON object, got null"),
        (b"[" * 5000, "not valid JSON at line 1, column "),
    ],
)
def test_body_that_cannot_be_read_is_told_where_without_quoting_it(url: str, content: bytes, says: str) -> None:
    answer = httpx.post(f"{url}/rerank", content=content)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert "secret" not in answer.text
