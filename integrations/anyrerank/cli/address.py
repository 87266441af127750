"""Where requests to a model go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyrerank.providers import Provider


def address_of(provider: Provider) -> str:
    """Where a request would go, without a query string.

    Raises:
        RerankError: The base URL, or something that is a part of it, is missing.
    """
    from anyrerank.errors import public_url
    from anyrerank.providers import RerankRequest

    if type(provider).free:
        return "none, it runs on this machine"
    try:
        return public_url(provider.url(RerankRequest(query="", documents=())))
    except NotImplementedError:
        return "known when a call is made"
