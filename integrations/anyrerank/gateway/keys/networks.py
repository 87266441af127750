"""Networks that need no key."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from anyrerank.errors import ConfigurationError


class Networks:
    """Finds the alias of the key that counts for an address. The smallest network with it decides.

    Args:
        aliases: The alias of a key for each network, such as `10.0.0.0/8`.

    Raises:
        ConfigurationError: One of them is no network.
    """

    def __init__(self, aliases: Mapping[str, str]) -> None:
        found = [(_network(text), alias) for text, alias in aliases.items()]
        self._aliases = sorted(found, key=lambda each: each[0].prefixlen, reverse=True)

    def alias(self, scope: Scope) -> str | None:
        """The alias for a request, by the address of the connection: a header could name any address."""
        client = scope.get("client")
        if not (self._aliases and client):
            return None
        try:
            address = ip_address(client[0])
        except ValueError:
            return None
        address = getattr(address, "ipv4_mapped", None) or address
        return next((alias for network, alias in self._aliases if address in network), None)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigurationError(
            f"trusted_networks: {text[:80]!r} must be a network such as 10.0.0.0/8 or fd00::/8, without bits after its "
            "prefix"
        ) from None
