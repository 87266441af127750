"""LiteLLM's routes for keys and end users.

Source: https://docs.litellm.ai/docs/proxy/virtual_keys
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from starlette.routing import Route

from anyrerank._core.pricing import Budget, summed
from anyrerank.gateway.errors import GatewayError, bad_request
from anyrerank.gateway.http import Host
from anyrerank.gateway.keys.account import Account
from anyrerank.gateway.keys.admin_requests import AdminRequest, AdminRoutes
from anyrerank.gateway.keys.fields import columns_of_customer, columns_of_key, warnings_about
from anyrerank.gateway.keys.key import Key, checked_secret, new_secret, token_of
from anyrerank.gateway.keys.keyring import Keyring
from anyrerank.gateway.keys.spend_routes import global_report, spend_logs, spend_of_keys, spend_of_users
from anyrerank.gateway.keys.store import Customer
from anyrerank.gateway.rerank import Caller
from anyrerank.gateway.weaknesses import missing_prices_of_key


def key_routes(host: Host) -> list[Route]:
    """The routes for keys, end users and spend."""
    route = AdminRoutes(host).route
    return [
        route("/key/generate", "POST", _generate),
        route("/key/regenerate", "POST", _regenerate),
        route("/key/{key}/regenerate", "POST", _regenerate),
        route("/key/info", "GET", _info, master=False),
        route("/key/update", "POST", _update),
        route("/key/delete", "POST", _delete),
        route("/key/list", "GET", _list),
        route("/key/block", "POST", lambda admin: _block(admin, blocked=True)),
        route("/key/unblock", "POST", lambda admin: _block(admin, blocked=False)),
        route("/customer/new", "POST", _new_customer),
        route("/customer/info", "GET", _customer_info),
        route("/customer/update", "POST", _update_customer),
        route("/customer/delete", "POST", _delete_customers),
        route("/spend/logs", "GET", spend_logs, master=False),
        route("/spend/keys", "GET", spend_of_keys, master=False),
        route("/spend/users", "GET", spend_of_users, master=False),
        route("/global/spend/report", "GET", global_report),
    ]


def _generate(admin: AdminRequest) -> Any:
    keyring, given = admin.keyring, dict(admin.body)
    secret = _chosen(keyring, given.pop("key", None))
    columns = columns_of_key(given, keyring.now())
    secret, key = keyring.store.create(columns, keyring.now(), secret)
    keyring.changed()
    return {"key": secret, **key.shown(), "token_id": key.token, "spend": 0.0, **_warnings(admin, key)}


def _regenerate(admin: AdminRequest) -> Any:
    keyring, given = admin.keyring, dict(admin.body)
    if given.pop("grace_period", None):
        raise bad_request("grace_period is not supported: the old key is refused at once", "grace_period")
    if given.pop("new_master_key", None):
        raise bad_request("the master key is changed in the configuration, with a restart or reload", "new_master_key")
    named = given.pop("key", None)
    token = _token(admin.key or named)
    secret = _chosen(keyring, given.pop("new_key", None)) or new_secret()
    key = keyring.store.regenerate(token, columns_of_key(given, keyring.now()), keyring.now(), secret)
    if key is None:
        raise _no_key()
    keyring.changed()
    account = keyring.account(key.token)
    shown = key.shown() if account is None else _shown(account)
    return {"key": secret, **shown, "token_id": key.token, **_warnings(admin, key)}


def _chosen(keyring: Keyring, given: object) -> str | None:
    """The key that a request has chosen, if it has.

    Raises:
        GatewayError: It may not be a key.
    """
    if given is None:
        return None
    secret = checked_secret(given)
    if keyring.is_master(secret):
        raise bad_request("key must not be the master key", "key")
    return secret


def _warnings(admin: AdminRequest, key: Key) -> dict[str, list[str]]:
    """What a request about a key asks for that has no effect, as a field of the answer; nothing if there is nothing."""
    found = warnings_about(admin.body, admin.service.knows)
    known = {each.name for each in admin.service.guardrails}
    if unknown := [name[:80] for name in key.guardrails if name not in known]:
        found.append(f"the gateway has no guardrail {', '.join(unknown)}: calls of the key get 400 until it has")
    if key.max_budget is not None:
        found += missing_prices_of_key(admin.service.router, Caller(models=key.models or None).may_use)
    return {"warnings": found} if found else {}


def _info(admin: AdminRequest) -> Any:
    account = admin.account(admin.params.get("key"))
    return {"key": account.key.token, "info": _shown(account)}


def _update(admin: AdminRequest) -> Any:
    keyring, given = admin.keyring, dict(admin.body)
    token = _token(given.pop("key", None))
    key = keyring.store.update(token, columns_of_key(given, keyring.now()), keyring.now())
    if key is None:
        raise _no_key()
    keyring.changed()
    return {"key": token, **key.shown(), **_warnings(admin, key)}


def _block(admin: AdminRequest, *, blocked: bool) -> Any:
    key = admin.keyring.store.update(_token(admin.body.get("key")), {"blocked": blocked}, admin.keyring.now())
    if key is None:
        raise _no_key()
    admin.keyring.changed()
    return key.shown()


def _delete(admin: AdminRequest) -> Any:
    keys, aliases = (_strings(admin.body, name) for name in ("keys", "key_aliases"))
    if not keys and not aliases:
        raise bad_request("keys or key_aliases is required: a list", "keys")
    deleted = admin.keyring.store.delete([token_of(each) for each in keys], aliases, admin.keyring.now())
    admin.keyring.changed()
    if not deleted:
        raise _no_key()
    return {"deleted_keys": [each.token for each in deleted]}


def _list(admin: AdminRequest) -> Any:
    alias, user = admin.params.get("key_alias"), admin.params.get("user_id")
    found = [
        each
        for each in admin.keyring.accounts()
        if alias in (None, each.key.key_alias) and user in (None, each.key.metadata.get("user_id"))
    ]
    accounts, numbers = admin.page(found)
    full = admin.params.get("return_full_object", "").lower() == "true"
    return {"keys": [_shown(each) if full else each.key.token for each in accounts], **numbers}


def _new_customer(admin: AdminRequest) -> Any:
    columns = columns_of_customer(admin.body)
    if not admin.keyring.store.set_customer(columns, new=True):
        raise bad_request("there is an end user with this user_id: use /customer/update", "user_id")
    admin.keyring.changed()
    return _customer(admin, columns["user_id"])


def _customer_info(admin: AdminRequest) -> Any:
    return _customer(admin, admin.params.get("end_user_id") or admin.params.get("user_id") or "")


def _update_customer(admin: AdminRequest) -> Any:
    columns = columns_of_customer(admin.body)
    if not admin.keyring.store.set_customer(columns, new=False):
        raise _no_user()
    admin.keyring.changed()
    return _customer(admin, columns["user_id"])


def _delete_customers(admin: AdminRequest) -> Any:
    deleted = admin.keyring.store.delete_customers(_strings(admin.body, "user_ids"))
    admin.keyring.changed()
    if not deleted:
        raise _no_user()
    return {"deleted_customers": deleted}


def _customer(admin: AdminRequest, user: str) -> dict[str, Any]:
    """An end user with the budget that limits it: its own, or that of every end user."""
    found = admin.keyring.customer(user)
    if found is None and not (user and admin.keyring.ledger.total(user=user)):
        raise _no_user()
    customer, own = found or (Customer(user_id=user), None)
    limit = own or admin.user_budget
    spend = admin.keyring.ledger.total(user=user) if limit is None else limit.spent(None if own else user)
    shown = {} if limit is None else {"max_budget": limit.dollars, "budget_duration": limit.window}
    return {**asdict(customer), **shown, **_window(limit), "spend": summed(spend)}


def _shown(account: Account) -> dict[str, Any]:
    return {**account.key.shown(), **_window(account.budget), "spend": summed(account.total())}


def _window(budget: Budget | None) -> dict[str, Any]:
    """When a budget starts anew."""
    ends = None if budget is None else budget.ends
    return {"budget_reset_at": None if ends is None else datetime.fromtimestamp(ends, timezone.utc).isoformat()}


def _token(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise bad_request("key is required: a key, or its token", "key")
    return token_of(key)


def _strings(body: Mapping[str, Any], name: str) -> list[str]:
    found = body.get(name) or []
    if not (isinstance(found, list) and all(isinstance(each, str) for each in found)):
        raise bad_request(f"{name} must be a list of strings", name)
    return found


def _no_key() -> GatewayError:
    return GatewayError(kind="not_found", message="there is no such key", param="key")


def _no_user() -> GatewayError:
    return GatewayError(kind="not_found", message="there is no such end user", param="user_id")
