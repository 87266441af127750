"""`Cache`: the base class of every cache."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import ClassVar

from typing_extensions import Self

from anyrerank._core.runtime import is_number
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError


@public("anyrerank.cache")
class Cache(ABC):
    """Stores values by key. A subclass may store them anywhere, under these conditions:

    - Its methods may be called by several threads at once.
    - A value that it returns for a key is, byte for byte, one that was put under exactly this key.
    - It may lose any entry at any time, and decides by itself how long and how much it stores: nothing else removes
      entries.
    - It may raise any `Exception`: the call then continues without the cache, and the first failure is logged. It
      should raise rather than wait for long, because a call waits for it.

    Keys are digests of 16 to 32 bytes; values have 8 bytes to some 10 kB. Neither contains text.

    `get` and `put` are enough. A cache that is natively asynchronous also has `aget` and `aput`; `aput` may return
    before the entries are stored.

    Attributes:
        blocking: Whether `get` and `put` wait for a disk or a network; asynchronous calls then await `aget` and `aput`,
            which by default run them in a thread.
        failed: Whether its failure was logged; set by calls.
    """

    blocking: ClassVar[bool] = True
    failed: bool = False

    @abstractmethod
    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those `keys` that are cached and not expired."""

    @abstractmethod
    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries` by key, replacing what was stored under the same keys."""

    async def aget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """`get`, without blocking the event loop."""
        return await asyncio.to_thread(self.get, keys)

    async def aput(self, entries: Mapping[bytes, bytes]) -> None:
        """`put`, without blocking the event loop."""
        await asyncio.to_thread(self.put, entries)

    @abstractmethod
    def clear(self) -> None:
        """Remove all entries."""

    def close(self) -> None:  # noqa: B027  most have nothing to close
        """Close files and connections; the cache is not used afterwards. May be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked_bytes(value: int) -> int:
    """`value`, if it is a positive number of bytes.

    Raises:
        ConfigurationError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:  # type: ignore[redundant-expr]
        raise ConfigurationError(f"max_bytes must be a positive integer, got {value!r}")
    return value


def checked_ttl(value: float | None) -> float | None:
    """`value`, if it is a positive number of seconds or `None`.

    Raises:
        ConfigurationError: It is not.
    """
    if value is not None and not (is_number(value) and value > 0):
        raise ConfigurationError(f"ttl must be a positive number of seconds, or None for no limit, got {value!r}")
    return value
