"""One file a back end; the file's name is its prefix. A file whose name starts with `_` is shared code.

Back ends that need no code of their own are rows of `_table`. Other distributions add theirs as entry points in the
group `anyrerank.providers`, or hand in a class; `ADDING.md` beside this file says how.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from anyrerank._core.types import Answer, RerankRequest, text_of, texts_of
from anyrerank.errors import ConfigurationError
from anyrerank.providers._base import (
    CohereStyle,
    Connection,
    Provider,
    Setting,
    dig,
    dollars,
    endpoint,
    is_http_url,
    ranked,
    usage,
)

__all__ = [
    "ENTRY_POINTS",
    "Answer",
    "CohereStyle",
    "Connection",
    "Provider",
    "RerankRequest",
    "Setting",
    "checked",
    "dig",
    "dollars",
    "endpoint",
    "is_http_url",
    "load",
    "names",
    "ranked",
    "text_of",
    "texts_of",
    "usage",
]

ENTRY_POINTS = "anyrerank.providers"
"""Group of the entry points that name providers of other distributions."""


def names() -> tuple[str, ...]:
    """The prefix of every provider, sorted."""
    return tuple(sorted({*_files(), *_rows(), *(point.name for point in entry_points(group=ENTRY_POINTS))}))


@cache
def load(prefix: str) -> type[Provider]:
    """The provider class for a prefix; only its own file is imported.

    A provider of this package wins over an entry point of the same name.

    Raises:
        ConfigurationError: There is none; the message lists names that are close to it. Or an entry point of that name
            cannot be imported or is no provider.
    """
    if prefix in _files():
        return _in_file(prefix)
    if prefix in _rows():
        return _rows()[prefix]
    for point in entry_points(group=ENTRY_POINTS, name=prefix):
        return _of_entry_point(point)
    near = difflib.get_close_matches(prefix, names(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names())}"
    raise ConfigurationError(f"unknown provider '{prefix[:60]}': {hint}")


def checked(kind: Any) -> type[Provider]:
    """`kind`, if it is a provider class that names itself.

    Raises:
        ConfigurationError: It is not.
    """
    if not (isinstance(kind, type) and issubclass(kind, Provider)):
        raise ConfigurationError("a provider of your own is a subclass of anyrerank.providers.Provider")
    for name in ("prefix", "title"):
        if not isinstance(getattr(kind, name, None), str):
            raise ConfigurationError(f"the provider class {kind.__name__} has no {name}")
    return kind


@cache
def _files() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def _rows() -> dict[str, type[Provider]]:
    from anyrerank.providers._table import ROWS

    return ROWS


def _in_file(prefix: str) -> type[Provider]:
    module = importlib.import_module(f"{__name__}.{prefix}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Provider) and value.__module__ == module.__name__
    )


def _of_entry_point(point: EntryPoint) -> type[Provider]:
    try:
        kind = checked(point.load())
    except ConfigurationError as error:
        problem = error.message
    except Exception as error:  # noqa: BLE001  it is somebody else's code
        problem = f"{type(error).__name__}: {error}"
    else:
        if kind.prefix == point.name:
            return kind
        problem = f"its prefix is '{kind.prefix}'"
    raise ConfigurationError(f"the provider '{point.name}' of {point.value} cannot be used: {problem}")
