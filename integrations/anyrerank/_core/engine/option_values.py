"""Validators of options that accept more than one type. Each raises a `ValueError` for a value that is not valid."""

from __future__ import annotations

import inspect
from typing import Any

from anyrerank._core.pricing import Budget


def seconds(value: Any) -> Any:
    """`value` as seconds: a numeric string is converted; of an `httpx.Timeout` the read timeout counts."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return getattr(value, "read", value)


def flag_or_path(value: Any) -> Any:
    """`value`; the strings "true" and "false", as in an environment variable, are converted."""
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


def functions(value: Any) -> tuple[Any, ...]:
    """A list of functions."""
    if not (isinstance(value, list | tuple) and all(map(callable, value))):
        raise ValueError("must be a list of functions")
    return tuple(value)


def sync_functions(value: Any) -> tuple[Any, ...]:
    """A list of functions that are not async."""
    found = functions(value)
    if any(map(_is_async, found)):
        raise ValueError("must not be async")
    return found


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def budgets(value: Any) -> Budget | tuple[Budget, ...] | None:
    """A budget, several as a tuple, or `None`."""
    if value is None or isinstance(value, Budget):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, Budget) for each in value):
        return tuple(value)
    raise ValueError("must be a Budget, or a list of them")


def names(value: Any) -> tuple[str, ...] | None:
    """A list of names of fields, or `None`."""
    if value is not None and not (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)):
        raise ValueError("must be a list of field names")
    return None if value is None else tuple(value)


def fallback_list(value: Any) -> tuple[Any, ...]:
    """A list, or `None` for an empty one."""
    if not isinstance(value, list | tuple | None):
        raise ValueError("must be a list")
    return tuple(value or ())
