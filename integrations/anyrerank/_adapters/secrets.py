"""Finding secrets that a dump would show."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from anyrerank.errors import ConfigurationError

_WORDS = re.compile("[^a-z]+")
_SECRET_WORDS = frozenset({"key", "apikey", "token", "code", "sig", "signature", "secret", "password"})


def has_login(api_base: str | None) -> bool:
    """Whether a URL holds `user:password@`."""
    return "@" in (api_base or "").partition("://")[2].partition("/")[0]


def check_query_string(api_base: str | None) -> None:
    """Refuse to dump a URL whose query string seems to hold a secret.

    Raises:
        ConfigurationError: It does.
    """
    pairs = parse_qsl((api_base or "").partition("?")[2], keep_blank_values=True)
    if found := sorted({name for name, _ in pairs if _SECRET_WORDS & set(_WORDS.split(name.lower()))}):
        raise ConfigurationError(
            f"api_base cannot be dumped: {', '.join(found)} in its query string looks like a secret. Pass it in "
            "headers= or credentials="
        )
