"""From arguments and environment to a provider: the only file that reads `os.environ`."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from anyrerank import providers
from anyrerank.errors import AuthenticationError, BadRequestError, ConfigurationError
from anyrerank.providers import Connection, Provider


def split_model(model: str, custom_llm_provider: str | type[Provider] | None = None) -> tuple[str, str]:
    """The provider and the model in `provider/model`, split at the first slash.

    Args:
        model: `provider/model`; with `custom_llm_provider` also the bare model.
        custom_llm_provider: The provider, as in LiteLLM, or a class of the caller's own.

    Raises:
        ConfigurationError: There is no provider in it, or no model.
    """
    if not isinstance(model, str) or not model.strip():  # type: ignore[redundant-expr]
        raise ConfigurationError("model is a string like 'cohere/rerank-v3.5'")
    if custom_llm_provider:
        given = custom_llm_provider
        named = given if isinstance(given, str) else providers.validate_class(given).prefix
        return named, model.removeprefix(f"{named}/")
    prefix, slash, rest = model.partition("/")
    if slash and not rest:
        raise ConfigurationError(f"model '{model[:80]}' names a provider, and no model of it")
    if not slash:
        raise ConfigurationError(
            f"model '{model[:80]}' names no provider: write it as provider/model, for example cohere/{prefix[:60]}; "
            f"providers: {', '.join(providers.names())}"
        )
    return prefix, rest


def provider_class(model: str, custom_llm_provider: str | type[Provider] | None = None) -> type[Provider]:
    """The provider class that `model` names.

    Raises:
        ConfigurationError: There is none of that name, or what was given is no provider class.
    """
    if custom_llm_provider is None or isinstance(custom_llm_provider, str):
        return providers.load(split_model(model, custom_llm_provider)[0])
    return providers.validate_class(custom_llm_provider)


def key_from_environment(kind: type[Provider]) -> str | None:
    """The API key in the first of the provider's variables that is set."""
    return _key(kind)[1]


def variable(name: str) -> str | None:
    """What the environment holds under a name, or `None` for nothing but white space."""
    return os.environ.get(name, "").strip() or None


def connect(
    model: str,
    *,
    custom_llm_provider: str | type[Provider] | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    headers: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Provider:
    """The provider of `model`, with what the arguments leave open taken from the environment.

    Args:
        settings: Those of the provider's `settings` that the caller gave.

    Raises:
        ConfigurationError: Unknown provider, or a malformed base URL.
        AuthenticationError: A key or header that no HTTP header can hold.
    """
    kind = provider_class(model, custom_llm_provider)
    prefix, name = split_model(model, custom_llm_provider)
    given = _text("api_key", api_key)
    variable, key = (None, given) if given else _key(kind)
    address = _text("api_base", api_base)
    base_variable, address = (None, address) if address else _first(kind.base_variables)
    base, login = _without_login(address)
    if login and given:
        raise ConfigurationError(
            "api_key= and a login in the base URL are both given, and a request has one Authorization header: keep one",
            provider=prefix,
            model=name,
        )
    own = {**login, **_checked(headers or {})}
    if key is not None and not _fits_a_header(key):
        raise AuthenticationError(
            f"the API key for {kind.title} holds a line break or another character that no header can carry",
            provider=prefix,
            model=name,
        )
    explicit = _cleaned(settings or {})
    found = _settings(kind)
    for each, value in {**found, **explicit}.items():
        if kind.settings[each].sent and isinstance(value, str) and not _fits_a_header(value):
            raise AuthenticationError(
                f"{each} for {kind.title} holds a line break or another character that no header can carry",
                provider=prefix,
                model=name,
            )
    return kind(
        Connection(
            model=name,
            api_key=key,
            key_variable=variable,
            api_base=base,
            base_variable=base_variable,
            headers=own,
            settings={**found, **explicit},
            from_environment=frozenset(found.keys() - explicit.keys()),
        )
    )


def _text(name: str, given: object) -> str | None:
    """An argument without white space around it, or `None` where it says nothing."""
    plain = given.get_secret_value() if isinstance(given, SecretStr) else given
    if not isinstance(plain, str | None):
        raise BadRequestError(f"{name} is a string, not {type(plain).__name__}")
    return (plain or "").strip() or None


def _key(kind: type[Provider]) -> tuple[str | None, str | None]:
    """The key in the environment and the variable that led to it."""
    variable, key = _first(kind.key_variables)
    if key is not None:
        return variable, key
    variable, path = _first(kind.key_file_variables)
    if path is None:
        return None, None
    try:
        return variable, Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError) as error:
        raise AuthenticationError(
            f"the file that {variable} names cannot be read: {type(error).__name__}", provider=kind.prefix
        ) from None


def _settings(kind: type[Provider]) -> dict[str, str]:
    """The provider's settings that the environment holds."""
    found = ((name, _first(setting.variables)[1]) for name, setting in kind.settings.items())
    return {name: value for name, value in found if value is not None}


def _cleaned(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say something; as with a key, white space around a text is nobody's intention."""
    plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}
    stripped = ((name, value.strip() if isinstance(value, str) else value) for name, value in plain.items())
    return {name: value for name, value in stripped if value is not None and value != ""}


def _first(variables: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The first variable that is set, and its value."""
    found = ((name, variable(name)) for name in variables)
    return next(((name, value) for name, value in found if value is not None), (None, None))


def _without_login(base: str | None) -> tuple[str | None, dict[str, str]]:
    """`base` without `user:password@`, which goes into a header instead, where no log and no error shows it."""
    try:
        parts = urlsplit(base or "")
        if parts.username is None:
            return base, {}
    except ValueError:
        return base, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    host = parts.netloc.rpartition("@")[2]
    header = {"authorization": f"Basic {base64.b64encode(login).decode()}"}
    return urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment)), header


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise BadRequestError(f"headers is a mapping of names to strings, not {type(headers).__name__}")
    for name, value in headers.items():
        fits = isinstance(value, str) and _fits_a_header(value)  # type: ignore[redundant-expr]
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and fits):  # type: ignore[redundant-expr]
            raise BadRequestError(f"headers maps names to strings without line breaks; {str(name)[:40]!r} does not fit")
    return dict(headers)


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _fits_a_header(value: str) -> bool:
    return value.isascii() and value.isprintable()
