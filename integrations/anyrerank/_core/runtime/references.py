"""Environment variables, and references to them: `os.environ/NAME`, as in LiteLLM's configuration."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Any

from anyrerank.errors import ConfigurationError

REFERENCE = "os.environ/"
"""The prefix of a reference."""


def environment_variable(name: str) -> str | None:
    """The value of an environment variable without surrounding white space, or `None` if nothing is left."""
    return os.environ.get(name, "").strip() or None


def resolved(value: Any, where: str) -> Any:
    """`value` with variables in place of the references to them.

    Args:
        value: A value of a configuration; mappings and lists are resolved inside.
        where: Where it is in the configuration, for error messages.

    Raises:
        ConfigurationError: A variable is not set.
    """
    if isinstance(value, Mapping):
        return {name: resolved(each, where) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, where) for each in value]
    if not _is_reference(value):
        return value
    name = value.removeprefix(REFERENCE)
    found = environment_variable(name)
    if found is None:
        raise ConfigurationError(f"{where}: the environment variable {name} is not set, or is empty")
    return found


def first_unset(value: Any) -> str | None:
    """The first variable that `value` refers to and that is not set, or `None`."""
    if isinstance(value, Mapping):
        return first_unset(list(value.values()))
    if isinstance(value, list):
        return next(filter(None, map(first_unset, value)), None)
    name = value.removeprefix(REFERENCE) if _is_reference(value) else None
    return name if name is not None and environment_variable(name) is None else None


def resolved_settings(given: Mapping[str, Any], where: str, *, numbers: Container[str]) -> dict[str, Any]:
    """`resolved`, with strings converted to numbers for the settings in `numbers`.

    Such a string comes from a variable, from quotes, or from YAML, which reads `1e-6` as one.
    """
    found = {name: resolved(value, where) for name, value in given.items()}
    spelled = [name for name in found if name in numbers and isinstance(found[name], str)]
    return {**found, **{name: _number(found[name]) for name in spelled}}


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and value.startswith(REFERENCE)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
