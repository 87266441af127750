"""One file a back end; the file's name is its prefix. A file whose name starts with `_` is shared code."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from anyrerank.errors import ConfigurationError
from anyrerank.providers._base import Provider

__all__ = ["Provider", "load", "names"]


@cache
def names() -> tuple[str, ...]:
    """The prefix of every provider, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


@cache
def load(prefix: str) -> type[Provider]:
    """The provider class for a prefix; only its own file is imported.

    Raises:
        ConfigurationError: There is none; the message lists names that are close to it.
    """
    if prefix not in names():
        near = difflib.get_close_matches(prefix, names(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names())}"
        raise ConfigurationError(f"unknown provider '{prefix[:60]}': {hint}")
    module = importlib.import_module(f"{__name__}.{prefix}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Provider) and value.__module__ == module.__name__
    )
