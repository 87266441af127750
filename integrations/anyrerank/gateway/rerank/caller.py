"""The caller of a request: its key, and the permissions of the key."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from starlette.types import Scope

from anyrerank._core.engine import Options
from anyrerank._core.routing import is_wildcard
from anyrerank._core.types import RerankResponse
from anyrerank.gateway.body import header
from anyrerank.gateway.dialects import ParsedRequest
from anyrerank.gateway.errors import GatewayError

_KEY_HEADERS = (b"authorization", b"x-litellm-api-key", b"x-api-key", b"api-key")


class Grant(Protocol):
    """A request that was let in."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the call, with those that decide who pays."""
        ...

    def settle(self, response: RerankResponse) -> None:
        """Count what the response used, in place of what was estimated."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Headers that say what is left."""
        ...


class Account(Protocol):
    """Counts what a key uses."""

    def present(self) -> AbstractAsyncContextManager[None]:
        """Count a request among those at the same time, from before its body arrives.

        Raises:
            GatewayError: There are as many as the key may have.
        """
        ...

    def admitted(
        self, asked: ParsedRequest, options: Mapping[str, Any], defaults: Options
    ) -> AbstractAsyncContextManager[Grant]:
        """Let a request in.

        Args:
            asked: The request.
            options: Those of the call.
            defaults: Those that the router has for calls.

        Raises:
            GatewayError: A limit is reached.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Uncounted:
    """A request that nothing counts."""

    options: Mapping[str, Any]

    def settle(self, response: RerankResponse) -> None:
        pass

    def headers(self) -> Mapping[str, str]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The owner of a key.

    Attributes:
        alias: Name of the key, for logs and metrics.
        is_master: Whether it may manage keys.
        models: Names that it may use, where `*` stands for any characters; `None` for all.
        user: The end user of all its calls, whatever these say.
        guardrails: Names of guardrails for all its calls.
        owner: What tells it from the owners of other keys.
        account: Counts what it uses, if anything does.
    """

    alias: str | None = None
    is_master: bool = False
    models: Collection[str] | None = None
    user: str | None = None
    guardrails: Sequence[str] = ()
    owner: str = ""
    account: Account | None = None

    def may_use(self, name: str) -> bool:
        """Whether it may use a model of the gateway."""
        if self.models is None or name in self.models:
            return True
        return any(is_wildcard(each) and matches(each, name) for each in self.models)

    def present(self) -> AbstractAsyncContextManager[None]:
        """Count a request that is here; see `Account.present`."""
        return nullcontext() if self.account is None else self.account.present()

    def admitted(
        self, asked: ParsedRequest, options: Mapping[str, Any], defaults: Options
    ) -> AbstractAsyncContextManager[Grant]:
        """Let a request in; see `Account.admitted`."""
        if self.account is None:
            return nullcontext(_Uncounted(options))
        return self.account.admitted(asked, options, defaults)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern, in which `*` stands for any text, matches a whole name; in time linear in both."""
    first, *middle, last = pattern.split("*")
    at, end = len(first), len(name) - len(last)
    if at > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


MASTER = Caller(alias="master", is_master=True, owner="master")
ANONYMOUS = Caller(is_master=True)
"""Every caller of a gateway without a master key, which answers on loopback only."""


class Access(Protocol):
    """Authenticates requests."""

    @property
    def is_open(self) -> bool:
        """Whether no key is needed, because there is no master key."""
        ...

    def caller(self, scope: Scope) -> Caller:
        """The caller of a request.

        Raises:
            GatewayError: It has no key, or a wrong one.
        """
        ...


class Open:
    """No key is needed."""

    is_open = True

    def caller(self, scope: Scope) -> Caller:  # noqa: ARG002
        """Everyone is the same."""
        return ANONYMOUS


class MasterKey:
    """One key, which may do everything."""

    is_open = False

    def __init__(self, key: str) -> None:
        self._digest = digest(key)

    def caller(self, scope: Scope) -> Caller:
        """The master."""
        if hmac.compare_digest(digest(key_of(scope)), self._digest):
            return MASTER
        raise wrong_key("it is not the master key")


def digest(key: str) -> bytes:
    """What is stored and compared in place of a key, which is random and long."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def key_of(scope: Scope) -> str:
    """The key in the headers of a request: in `Authorization`, with or without `Bearer`, or in another header.

    Raises:
        GatewayError: There is none.
    """
    for name in _KEY_HEADERS:
        value = header(scope, name)
        if value is not None:
            scheme, _, rest = value.strip().partition(" ")
            key = rest.strip() if scheme.lower() == "bearer" else value.strip()
            if key:
                return key
    raise GatewayError(
        kind="authentication_error", message="no key was sent: pass it in the header 'Authorization: Bearer <key>'"
    )


def wrong_key(reason: str) -> GatewayError:
    """A key that the gateway does not accept."""
    return GatewayError(kind="authentication_error", message=f"the key is not valid: {reason}")
