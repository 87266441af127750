"""Requests about keys and spend: authorization, and routes that handlers answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anyrerank._core.pricing import Budget
from anyrerank.errors import BadRequestError, RerankError
from anyrerank.gateway.body import json_object
from anyrerank.gateway.errors import GatewayError, bad_request
from anyrerank.gateway.http import Host, Plain, audited, json_answer
from anyrerank.gateway.keys.account import Account
from anyrerank.gateway.keys.audit import details_of, names_in
from anyrerank.gateway.keys.database import DatabaseError
from anyrerank.gateway.keys.key import token_of
from anyrerank.gateway.keys.keyring import Keyring
from anyrerank.gateway.rerank import Caller, Service

_LARGEST_BODY = 2**20
_LARGEST_PAGE = 100
_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRequest:
    """A request about keys or spend.

    Attributes:
        keyring: The keys.
        caller: Who asks.
        body: The fields of its body; none for a GET.
        params: Those of its query string.
        service: The models and settings.
        key: The key in its path, if there is one.
    """

    keyring: Keyring
    caller: Caller
    body: Mapping[str, Any]
    params: Mapping[str, str]
    service: Service
    key: str | None = None

    @property
    def user_budget(self) -> Budget | None:
        """The budget of each end user that has none of its own."""
        return self.service.router.options.user_budget

    def account(self, key: object) -> Account:
        """The account of a key, or of its token, that the caller may see; of its own key for `None`.

        Raises:
            GatewayError: There is none, or it may not.
        """
        own = self.caller.account if isinstance(self.caller.account, Account) and not self.caller.is_master else None
        if key is None:
            if own is None:
                raise bad_request("key is required", "key")
            return own
        if not isinstance(key, str):
            raise bad_request("key must be a string", "key")
        found = self.keyring.account(token_of(key))
        if own is not None and found is not own:
            raise GatewayError(kind="permission_error", message="this key may see only itself", param="key")
        if found is None:
            raise GatewayError(kind="not_found", message="there is no such key", param="key")
        return found

    def number(self, name: str, default: int) -> int:
        """A positive integer in the query string."""
        text = self.params.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and int(text[:9]) >= 1 and len(text) < 9):
            raise bad_request(f"{name} must be a positive integer", name)
        return int(text)

    def page(self, found: list[Any]) -> tuple[list[Any], dict[str, int]]:
        """One page of what was found, and the numbers of pages."""
        page, size = self.number("page", 1), min(self.number("size", 10), _LARGEST_PAGE)
        pages = -(-len(found) // size)
        numbers = {"total_count": len(found), "current_page": page, "total_pages": pages}
        return found[(page - 1) * size : page * size], numbers


Handler = Callable[[AdminRequest], Any]
"""Answers a request. It may block."""


class AdminRoutes:
    """Creates routes that handlers answer in threads, two at a time: the whole gateway uses the same threads.

    Args:
        host: The gateway.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def route(self, path: str, method: str, handler: Handler, *, master: bool = True) -> Route:
        """A route that a handler answers.

        Args:
            path: The path.
            method: GET or POST.
            handler: Gets the request in a thread.
            master: Whether only the master key may ask.
        """

        async def answer(request: Request) -> Response:
            with audited(self._host, path, request.scope) as action:
                service = self._host.service
                caller = service.access.caller(request.scope)
                action.caller = caller.alias
                if master and not caller.is_master:
                    raise GatewayError(kind="permission_error", message=f"only the master key may use {path}")
                admin = await _admin_request(service, request, method, caller)
                action.details = details_of(admin)
                found = await self._handled(handler, admin)
                action.details = {**action.details, **names_in(found, admin.keyring)}
            return json_answer(found, headers={"cache-control": "no-store"})  # it may hold a key

        return Route(path.replace("}", ":path}"), Plain(self._host, path, answer), methods=[method])

    async def _handled(self, handler: Handler, admin: AdminRequest) -> Any:
        try:
            async with self._turns:
                return await asyncio.to_thread(handler, admin)
        except BadRequestError as error:
            raise bad_request(error.message) from None
        except (DatabaseError, RerankError) as error:
            # its words may name the server, which is for who runs the gateway alone
            message = str(error) if admin.caller.is_master else "the gateway cannot use its database; try again later"
            raise GatewayError(kind="unavailable", message=message) from None


async def _admin_request(service: Service, request: Request, method: str, caller: Caller) -> AdminRequest:
    if not isinstance(service.access, Keyring):
        raise GatewayError(kind="unavailable", message="the gateway has no database for keys and spend")
    body: dict[str, Any] = {}
    if method == "POST":
        seconds = service.settings.body_seconds
        body = await json_object(request.scope, request.receive, max_bytes=_LARGEST_BODY, seconds=seconds)
    return AdminRequest(
        keyring=service.access,
        caller=caller,
        body=body,
        params=request.query_params,
        service=service,
        key=request.path_params.get("key"),
    )
