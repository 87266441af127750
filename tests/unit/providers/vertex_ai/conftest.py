"""Google's credentials and servers, without those of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.loopback import Line, Loopback
from tests.unit.providers.vertex_ai.tokens import CLIENT_SECRET, RECORDS, REFRESH_TOKEN, service_account

from anyrerank.providers import vertex_ai


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in ("GCLOUD_PROJECT", "GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("PATH", str(tmp_path))
    vertex_ai.credentials_for.cache_clear()
    yield
    vertex_ai.credentials_for.cache_clear()


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def pem(private_key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return private_key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def google(serve: Callable[..., Loopback]) -> Loopback:
    """A server that issues tokens and ranks."""

    def script(line: Line) -> None:
        if line.hit.target == "/token":
            number = sum(hit.target == "/token" for hit in line.server.hits)
            line.answer(body={"access_token": f"ya29.token-{number}", "expires_in": 3600, "token_type": "Bearer"})
        else:
            line.answer(body=RECORDS)

    return serve(script)


@pytest.fixture
def account(pem: str, google: Loopback) -> dict[str, Any]:
    return service_account(pem, google)


@pytest.fixture
def user(google: Loopback, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{google.url}/token")
    return {
        "type": "authorized_user",
        "client_id": "client-1",
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
    }
