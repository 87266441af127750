"""Finding secrets that a dump would show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from anyrerank._core.engine import provider_class
from anyrerank.errors import ConfigurationError
from anyrerank.providers import Provider

_WORDS = re.compile("[^a-z]+")
_SECRET_WORDS = frozenset({"key", "apikey", "token", "code", "sig", "signature", "secret", "password"})


def secret_options(
    options: Mapping[str, Any], model: str | None, provider: str | type[Provider] | None, fallbacks: Iterable[object]
) -> list[str]:
    """The names in `options` that are secret settings of the provider of `model`, or of a fallback."""
    kinds = [] if model is None else [provider_class(model, provider)]
    kinds += [provider_class(fallback) for fallback in fallbacks if isinstance(fallback, str)]
    secret = {name for kind in kinds for name, setting in kind.settings.items() if setting.secret}
    return sorted(secret & options.keys())


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
