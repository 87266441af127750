"""How a model would be reached, as text: its URL, the proxy and the certificate authorities."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyrerank.providers import Provider

_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def where(provider: Provider) -> str | None:
    """The URL of a request, without a query string; `None` for a model on this machine.

    Raises:
        RerankError: The base URL, or something that is a part of it, is missing.
        NotImplementedError: It is known when a call is made.
    """
    from anyrerank.errors import public_url
    from anyrerank.providers import RerankRequest

    return None if type(provider).free else public_url(provider.url(RerankRequest(query="", documents=())))


def network_facts(provider: Provider, ssl_verify: bool | str | None) -> Iterator[tuple[str, str]]:
    """Rows for the URL, the proxy and the certificate authorities, and where each comes from."""
    try:
        url = where(provider)
    except NotImplementedError:
        url = "known when a call is made"
    if url is None:
        yield "URL", "none, it runs on this machine"
        return
    yield "URL", f"{url} ({_origin(provider)})"
    yield "proxy", _proxy(provider)
    if not url.startswith("http://"):
        yield "certificates", _certificates(ssl_verify)


def _origin(provider: Provider) -> str:
    held = provider.connection
    if held.base_variable is not None:
        return f"from {held.base_variable}"
    return "given" if held.api_base is not None else "the default"


def _proxy(provider: Provider) -> str:
    from anyrerank._core.http import Proxies
    from anyrerank.errors import public_url

    try:
        proxy = Proxies().of(where(provider) or "")
    except NotImplementedError:
        return "known when a call is made"
    return "none" if proxy is None else f"{public_url(proxy)} (from the environment)"


def _certificates(ssl_verify: bool | str | None) -> str:
    """Which certificate authorities are trusted."""
    if ssl_verify is False:
        return "not checked (ssl_verify=False)"
    if isinstance(ssl_verify, str):
        return f"{ssl_verify} (ssl_verify)"
    named = next((name for name in _CERTIFICATE_VARIABLES if os.environ.get(name)), None)
    return "those of certifi" if named is None else f"{os.environ[named]} (from {named})"
