"""`ssl_verify` and `ssl_certificate`, with a real TLS server whose certificate no authority has signed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.support.harness import Mode

from anyrerank import Reranker, Router
from anyrerank._core.engine import RerankerOptions, parse_options
from anyrerank.errors import APIConnectionError, BadRequestError, ConfigurationError, FallbackError, NotFoundError


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        content = json.dumps({"results": [{"index": 0, "relevance_score": 0.5}]}).encode()
        self.send_response(404 if "closed" in f"{self.path} {model}" else 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


def write_certificate(folder: Path) -> Path:
    """A file with a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "company")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "company.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


def serving(certificate: Path, *, ask_client: bool = False) -> ThreadingHTTPServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if ask_client:
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def url(certificate: Path) -> Iterator[str]:
    server = serving(certificate)
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def strict_url(certificate: Path) -> Iterator[str]:
    server = serving(certificate, ask_client=True)
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_own_authority_is_trusted(url: str, certificate: Path, mode: Mode) -> None:
    reranker = Reranker("cohere_compatible/m", api_base=url, ssl_verify=str(certificate))
    assert mode.rerank(reranker, "q", ["a"]).results[0].index == 0


def test_ssl_verify_false_trusts_any_server(url: str, mode: Mode) -> None:
    assert len(mode.rerank(Reranker("cohere_compatible/m", api_base=url, ssl_verify=False), "q", ["a"]).results) == 1


def test_unknown_authority_is_an_error_by_default(url: str, mode: Mode) -> None:
    with pytest.raises(APIConnectionError, match="pass ssl_verify="):
        mode.rerank(Reranker("cohere_compatible/m", api_base=url, max_retries=0), "q", ["a"])


def test_certificate_for_another_host_is_answered_with_what_to_do(url: str, certificate: Path, mode: Mode) -> None:
    reranker = Reranker(
        "cohere_compatible/m",
        api_base=url.replace("127.0.0.1", "localhost"),
        ssl_verify=str(certificate),
        max_retries=0,
    )
    with pytest.raises(APIConnectionError) as caught:
        mode.rerank(reranker, "q", ["a"])
    assert "mismatch" in caught.value.message
    assert caught.value.message.endswith("; use a host in the URL that the certificate names")


def test_http_to_a_port_for_https_is_answered_with_what_to_do(url: str, mode: Mode) -> None:
    reranker = Reranker("cohere_compatible/m", api_base=url.replace("https", "http"), max_retries=0)
    with pytest.raises(APIConnectionError, match="if the server speaks https, write https:// in its URL"):
        mode.rerank(reranker, "q", ["a"])


def test_a_new_reranker_reads_the_authorities_again(
    url: str, certificate: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ask() -> None:
        mode.rerank(Reranker("cohere_compatible/m", api_base=url, max_retries=0), "q", ["a"])
        mode.function(model="cohere_compatible/m", query="q", documents=["a"], api_base=url, max_retries=0)

    with pytest.raises(APIConnectionError):
        ask()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    ask()
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(ConfigurationError) as caught:
        ask()
    assert caught.value.message == (
        f"SSL_CERT_FILE cannot be used: {bundle}: there is no such file; it must be the path of a PEM file"
    )
    bundle.write_bytes(write_certificate(tmp_path).read_bytes())
    with pytest.raises(APIConnectionError):
        ask()
    bundle.write_bytes(certificate.read_bytes())
    mode.rerank(Reranker("cohere_compatible/m", api_base=url, max_retries=0), "q", ["a"])


def test_ssl_certificate_is_shown_to_the_server(strict_url: str, certificate: Path, mode: Mode) -> None:
    params = {"model": "cohere_compatible/m", "api_base": strict_url, "ssl_verify": str(certificate)}
    router = Router([{"model_name": "m", "litellm_params": {**params, "ssl_certificate": str(certificate)}}])
    assert len(mode.rerank(router.as_reranker("m"), "q", ["a"]).results) == 1
    with pytest.raises(APIConnectionError):
        mode.rerank(
            Reranker("cohere_compatible/m", api_base=strict_url, ssl_verify=str(certificate), max_retries=0), "q", ["a"]
        )


def test_each_deployment_of_a_router_has_its_own_authority(url: str, certificate: Path, mode: Mode) -> None:
    params = {"model": "cohere_compatible/m", "api_base": url}
    router = Router(
        [
            {"model_name": "trusted", "litellm_params": {**params, "ssl_verify": str(certificate)}},
            {"model_name": "untrusted", "litellm_params": params},
        ],
        num_retries=0,
    )
    assert len(mode.rerank(router.as_reranker("trusted"), "q", ["a"]).results) == 1
    with pytest.raises(APIConnectionError):
        mode.rerank(router.as_reranker("untrusted"), "q", ["a"])


def test_fallback_at_another_provider_does_not_trust_the_authority(
    url: str, certificate: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_COMPATIBLE_API_BASE", url)
    for trusted in (str(certificate), False):
        reranker = Reranker(
            "cohere_compatible/m",
            api_base=f"{url}/closed",
            ssl_verify=trusted,
            fallbacks=["jina_compatible/m"],
            max_retries=0,
        )
        with pytest.raises(FallbackError) as caught:
            mode.rerank(reranker, "q", ["a"])
        assert [type(error) for error in caught.value.errors] == [NotFoundError, APIConnectionError]


def test_fallback_at_the_same_provider_trusts_the_authority(url: str, certificate: Path, mode: Mode) -> None:
    reranker = Reranker(
        "cohere_compatible/closed", api_base=url, ssl_verify=str(certificate), fallbacks=["cohere_compatible/m"]
    )
    assert mode.rerank(reranker, "q", ["a"]).model == "m"


def test_file_that_is_no_certificate_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.pem").write_text("no certificate")
    for path in (tmp_path / "notes.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="ssl_verify"):
            Reranker("cohere_compatible/m", ssl_verify=str(path))


def test_ssl_verify_of_another_type_is_refused() -> None:
    with pytest.raises(BadRequestError, match="ssl_verify must be"):
        Reranker("cohere_compatible/m", ssl_verify=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("spelled", "flag"), [("False", False), (" true ", True)])
def test_a_flag_in_a_string_is_a_flag(spelled: str, flag: bool) -> None:
    assert parse_options(RerankerOptions, {"ssl_verify": spelled}).ssl_verify is flag
