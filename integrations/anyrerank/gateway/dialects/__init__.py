"""One file for each dialect that the gateway speaks. Files whose name starts with `_` are shared code.

To add one: a file with a subclass of `Dialect`, and a recorded exchange in `tests/gateway/exchanges`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from anyrerank.gateway.dialects._base import CohereStyle, Dialect, Fields, ParsedRequest, RankedAnswer, as_seconds

__all__ = ["CohereStyle", "Dialect", "Fields", "ParsedRequest", "RankedAnswer", "as_seconds", "dialects", "recognised"]


@cache
def dialects() -> tuple[Dialect, ...]:
    """An instance of each dialect, sorted by name."""
    names = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    kinds = {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Dialect) and value.__module__ == module.__name__
    }
    return tuple(kinds[name]() for name in sorted(kinds))


def recognised(body: Mapping[str, Any], otherwise: Dialect) -> Dialect:
    """The dialect of a body on a path that several share; `otherwise` if it has no sign of another."""
    return next((dialect for dialect in dialects() if dialect.recognises(body)), otherwise)
