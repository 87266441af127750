"""The base class of everything that keeps connections open, with the methods that close them."""

from __future__ import annotations

from typing_extensions import Self

from anyrerank._core.http import Transport


class KeepsConnections:
    """A context manager, synchronous and asynchronous, for connections that stay open between calls."""

    _transport: Transport

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close the connections of calls on the running event loop, and those of synchronous calls."""
        await self._transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
