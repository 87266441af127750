"""What web pages may do."""

from pathlib import Path

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, gateway_of, running
from tests.support.keys import serving

ASK = {"query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
CHAT = "https://chat.example.com"


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://localhost:1", "https://chat.example.com.evil"]
)
@pytest.mark.parametrize("master_key", [None, MASTER_KEY])
def test_page_of_another_host_is_refused(origin: str, master_key: str | None) -> None:
    with running(gateway_of(master_key=master_key, settings={"allowed_origins": [CHAT]})) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "origin": origin})

    assert answer.status_code == 403
    assert "allowed_origins" in answer.json()["message"]
    assert "access-control-allow-origin" not in answer.headers


def test_page_of_the_gateway_itself_is_answered() -> None:
    with running(gateway_of(master_key=None)) as url:
        assert httpx.post(f"{url}/rerank", json=ASK, headers={"origin": url}).status_code == 200


def test_page_of_an_allowed_host_is_answered() -> None:
    ask = {"origin": CHAT, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with running(gateway_of(settings={"allowed_origins": [CHAT]})) as url:
        preflight = httpx.options(f"{url}/rerank", headers=ask)
        answer = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "origin": CHAT})
        refused = httpx.post(f"{url}/rerank", json=ASK, headers={"origin": CHAT})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    for each in (preflight, answer, refused):
        assert each.headers["access-control-allow-origin"] == CHAT
    assert (answer.status_code, refused.status_code) == (200, 401)


def test_preflight_of_another_host_is_refused() -> None:
    ask = {"origin": "https://evil.example.com", "access-control-request-method": "POST"}
    with running(gateway_of(settings={"allowed_origins": [CHAT]})) as url:
        answer = httpx.options(f"{url}/rerank", headers=ask)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example.com", "localhost.evil.example.com", "192.0.2.1", "127.0.0.1.evil", "[::2]:80", "[", "@"]
)
def test_name_that_points_at_this_machine_is_refused_without_a_master_key(host: str) -> None:
    with running(gateway_of(master_key=None)) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers={"host": host})

    assert answer.status_code == 403
    assert "master_key" in answer.json()["message"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:4000", "127.0.0.1", "127.1.2.3:80", "[::1]:4000", "api.localhost"]
)
def test_names_of_this_machine_are_answered(host: str) -> None:
    with running(gateway_of(master_key=None)) as url:
        assert httpx.post(f"{url}/rerank", json=ASK, headers={"host": host}).status_code == 200


def test_any_name_is_answered_with_a_master_key() -> None:
    with running(gateway_of()) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "host": "rerank.example.com"})

    assert answer.status_code == 200


def test_name_that_a_stranger_points_at_a_trusted_network_is_refused() -> None:
    settings = {"trusted_networks": {"127.0.0.0/8": "team"}}
    page = {"host": "evil.example.com", "origin": "http://evil.example.com"}
    with running(gateway_of(settings=settings)) as url:
        refused = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, **page})
        own = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "origin": url})

    assert (refused.status_code, own.status_code) == (403, 200)


def test_name_that_points_at_this_machine_is_refused_where_keys_are_kept_without_a_master_key(tmp_path: Path) -> None:
    with serving(tmp_path, master_key=None) as gateway:
        refused = gateway.rerank(None, {"host": "evil.example.com"})
        own = gateway.rerank(None)

    assert (refused.status_code, own.status_code) == (403, 200)
