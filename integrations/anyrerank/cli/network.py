"""How a model would be reached, as text: its URL, the proxy and the certificate authorities."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anyrerank.cli.address import address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyrerank.providers import Provider

_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def network_facts(provider: Provider, ssl_verify: bool | str | None) -> Iterator[tuple[str, str]]:
    """Rows for the URL, the proxy and the certificate authorities, and where each comes from.

    Raises:
        RerankError: The base URL, or something that is a part of it, is missing.
    """
    url = address_of(provider)
    if "://" not in url:
        yield "URL", url
        return
    yield "URL", f"{url} ({_origin(provider)})"
    yield "proxy", _proxy(url)
    if not url.startswith("http://"):
        yield "certificates", _certificates(ssl_verify)


def _origin(provider: Provider) -> str:
    held = provider.connection
    if held.base_variable is not None:
        return f"from {held.base_variable}"
    return "given" if held.api_base is not None else "the default"


def _proxy(url: str) -> str:
    from anyrerank._core.http import Proxies

    return str(Proxies().of(url) or "none")


def _certificates(ssl_verify: bool | str | None) -> str:
    """Which certificate authorities are trusted."""
    if ssl_verify is False:
        return "not checked (ssl_verify=False)"
    if isinstance(ssl_verify, str):
        return f"{ssl_verify} (ssl_verify)"
    named = next((name for name in _CERTIFICATE_VARIABLES if os.environ.get(name)), None)
    return "those of certifi" if named is None else f"{os.environ[named]} (from {named})"
