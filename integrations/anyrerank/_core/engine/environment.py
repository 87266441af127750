"""Creating providers from arguments and environment variables."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from anyrerank import providers
from anyrerank._core.engine.parsing import two_values
from anyrerank._core.pricing import list_prices
from anyrerank._core.runtime import environment_variable
from anyrerank.errors import AuthenticationError, BadRequestError, ConfigurationError
from anyrerank.providers import Connection, Provider


def split_model(model: str, custom_llm_provider: str | type[Provider] | None = None) -> tuple[str, str]:
    """Split `provider/model` at the first slash, or `provider:model` if there is no slash before the colon.

    Args:
        model: `provider/model`; with `custom_llm_provider` also the model alone.
        custom_llm_provider: The provider, as in LiteLLM, or a `Provider` class.

    Raises:
        ConfigurationError: The provider or the model is missing.
    """
    if not isinstance(model, str) or not model.strip():  # type: ignore[redundant-expr]
        raise ConfigurationError("model must be a string such as 'cohere/rerank-v3.5'")
    if custom_llm_provider:
        given = custom_llm_provider
        name = given if isinstance(given, str) else providers.validate_class(given).prefix
        return _PREFIX_ALIASES.get(name, name), model.removeprefix(f"{name}/")
    prefix, separator, rest = _parts(model)
    if separator and not rest:
        raise ConfigurationError(f"model '{model[:80]}' names a provider but no model: write it as provider/model")
    if not separator:
        raise ConfigurationError(
            f"model '{model[:80]}' names no provider: write it as provider/model, for example {_example(model)[:80]}; "
            "`anyrerank providers` lists all"
        )
    return _PREFIX_ALIASES.get(prefix, prefix), rest


_PREFIX_ALIASES = {"cohere_chat": "cohere"}
"""LiteLLM's user interface writes rerank models of Cohere with its prefix for chat models."""


def _example(model: str) -> str:
    """What a model without a provider probably means, for an error message."""
    name, colon, rest = model.partition(":")
    if colon and (meant := providers.also_called(name)):
        return f"{meant}/{rest}"
    listed = (full for full in list_prices() if full.partition("/")[2].casefold() == model.casefold())
    return next(listed, f"cohere/{model}")


def _parts(model: str) -> tuple[str, str, str]:
    """Provider, separator and model; a colon separates only if a known provider is in front of it."""
    prefix, colon, rest = model.partition(":")
    if colon and "/" not in prefix and prefix in providers.names():
        return prefix, colon, rest
    return model.partition("/")


def provider_class(model: str, custom_llm_provider: str | type[Provider] | None = None) -> type[Provider]:
    """The class of the provider of `model`.

    Raises:
        ConfigurationError: There is no such provider, or `custom_llm_provider` is not a `Provider` class.
    """
    if custom_llm_provider is None or isinstance(custom_llm_provider, str):
        return providers.load(split_model(model, custom_llm_provider)[0])
    return providers.validate_class(custom_llm_provider)


def key_from_environment(kind: type[Provider]) -> str | None:
    """The API key in the first environment variable of the provider that is set."""
    return _key(kind)[1]


def connect(
    model: str,
    *,
    custom_llm_provider: str | type[Provider] | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    headers: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Provider:
    """The provider of `model`. Environment variables set what the arguments do not.

    Args:
        settings: Values of the provider's `settings`.

    Raises:
        ConfigurationError: Unknown provider, or a malformed base URL.
        BadRequestError: An argument has the wrong type.
        AuthenticationError: A key or setting contains a character that is not allowed in an HTTP header.
    """
    kind = provider_class(model, custom_llm_provider)
    prefix, name = split_model(model, custom_llm_provider)
    given = _without_aliases(kind, {"api_base": api_base, **(settings or {})})
    given_base = _text("api_base", given.pop("api_base", None))
    given_key = _text("api_key", api_key)
    key_variable, key = (None, given_key) if given_key else _key(kind)
    base_variable, address = (None, given_base) if given_base else _first(kind.base_variables)
    base, login = _without_login(address)
    if login and given_key:
        raise _two_logins(prefix, name)
    found = {name: value for name, value in _settings(kind).items() if name not in given}
    connection = Connection(
        model=name,
        api_key=key,
        key_variable=key_variable,
        api_base=base,
        base_variable=base_variable,
        headers={**login, **_checked(headers or {})},
        settings={**found, **given},
        from_environment=frozenset(found),
    )
    _check_secrets(kind, connection)
    return kind(connection)


def _two_logins(provider: str, model: str) -> ConfigurationError:
    return ConfigurationError(
        "api_key= and a login in the base URL are both given, but a request has only one Authorization header: "
        "remove one of them",
        provider=provider,
        model=model,
    )


def _check_secrets(kind: type[Provider], connection: Connection) -> None:
    """Raise if the key, or a setting that is sent in a header, contains a character that is not allowed there."""
    sent = {name: value for name, value in connection.settings.items() if kind.settings[name].sent}
    for what, value in {"the API key": connection.api_key, **sent}.items():
        if isinstance(value, str) and not _fits_a_header(value):
            raise AuthenticationError(
                f"{what} for {kind.title} contains a line break or another character that no header can hold",
                provider=kind.prefix,
                model=connection.model,
            )


def _text(name: str, given: object) -> str | None:
    """A string argument without surrounding white space, or `None` if nothing is left."""
    plain = given.get_secret_value() if isinstance(given, SecretStr) else given
    if not isinstance(plain, str | None):
        raise BadRequestError(f"{name} must be a string, got {type(plain).__name__}")
    return (plain or "").strip() or None


def _key(kind: type[Provider]) -> tuple[str | None, str | None]:
    """The environment variable that the key comes from, and the key."""
    name, key = _first(kind.key_variables)
    if key is not None:
        return name, key
    name, path = _first(kind.key_file_variables)
    if path is None:
        return None, None
    try:
        return name, Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError) as error:
        raise AuthenticationError(
            f"the file in {name} cannot be read: {type(error).__name__}", provider=kind.prefix
        ) from None


def _settings(kind: type[Provider]) -> dict[str, str]:
    """The provider's settings that are set in the environment."""
    found = ((name, _first(setting.variables)[1]) for name, setting in kind.settings.items())
    return {name: value for name, value in found if value is not None}


def _without_aliases(kind: type[Provider], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings, with our names in place of aliases.

    Raises:
        BadRequestError: Two names of one setting have different values.
    """
    given = _cleaned(settings)
    for alias in given.keys() & kind.settings.keys():
        if (name := kind.settings[alias].same_as) is not None:
            value = given.pop(alias)
            if given.setdefault(name, value) != value:
                raise two_values(name, alias)
    return given


def _cleaned(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without surrounding white space; empty ones are left out."""
    plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}
    stripped = ((name, value.strip() if isinstance(value, str) else value) for name, value in plain.items())
    return {name: value for name, value in stripped if value is not None and value != ""}


def _first(variables: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The first variable that is set, and its value."""
    found = ((name, environment_variable(name)) for name in variables)
    return next(((name, value) for name, value in found if value is not None), (None, None))


def _without_login(base: str | None) -> tuple[str | None, dict[str, str]]:
    """Move `user:password@` from the base URL into a header, so that no log and no error shows it."""
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
        raise BadRequestError(f"headers must be a mapping of strings to strings, got {type(headers).__name__}")
    for name, value in headers.items():
        fits = isinstance(value, str) and _fits_a_header(value)  # type: ignore[redundant-expr]
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and fits):  # type: ignore[redundant-expr]
            raise BadRequestError(
                f"headers must be a mapping of strings to ASCII strings without line breaks; {str(name)[:40]!r} is not"
            )
    return dict(headers)


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _fits_a_header(value: str) -> bool:
    return value.isascii() and value.isprintable()
