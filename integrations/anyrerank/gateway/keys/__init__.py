"""Virtual keys with their permissions, limits, budgets and database."""

from anyrerank.gateway.keys.collector import KeyCollector, StateCollector
from anyrerank.gateway.keys.configuration_parts import all_budgets, parts_of
from anyrerank.gateway.keys.database import Database, DatabaseError
from anyrerank.gateway.keys.fields import columns_of_key
from anyrerank.gateway.keys.key import Key, new_secret, token_of
from anyrerank.gateway.keys.keyring import Keyring
from anyrerank.gateway.keys.litellm_keys import LiteLLMKey, litellm_keys
from anyrerank.gateway.keys.location import checked_url, default_url
from anyrerank.gateway.keys.openapi import described_routes
from anyrerank.gateway.keys.opening import opened
from anyrerank.gateway.keys.routes import key_routes
from anyrerank.gateway.keys.spend_history import SpendHistory, restore
from anyrerank.gateway.keys.store import Customer, Store

__all__ = [
    "Customer",
    "Database",
    "DatabaseError",
    "Key",
    "KeyCollector",
    "Keyring",
    "LiteLLMKey",
    "SpendHistory",
    "StateCollector",
    "Store",
    "all_budgets",
    "checked_url",
    "columns_of_key",
    "default_url",
    "described_routes",
    "key_routes",
    "litellm_keys",
    "new_secret",
    "opened",
    "parts_of",
    "restore",
    "token_of",
]
