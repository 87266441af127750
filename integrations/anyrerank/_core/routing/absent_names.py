"""Fallbacks where some of the names have no deployment left: they lead to the fallbacks of these names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from anyrerank._core.routing.chains import merged
from anyrerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentFallbacks:
    """Fallbacks without the absent names.

    Attributes:
        settings: The settings that name fallbacks: `fallbacks` and `default_fallbacks`, as far as they were given.
        spares: For each absent name, the names to ask in its place.
    """

    settings: Mapping[str, Any]
    spares: Mapping[str, tuple[str, ...]]


def present_fallbacks(given: Mapping[str, Any], absent: Set[str]) -> PresentFallbacks:
    """Put the fallbacks of an absent name where that name is a fallback. What is malformed stays, to be refused later.

    Args:
        given: Settings, of which `fallbacks` and `default_fallbacks` count.
        absent: Names without a deployment, which would be asked if they had one.
    """
    settings = {name: given[name] for name in ("fallbacks", "default_fallbacks") if name in given}
    default = settings.get("default_fallbacks") or []
    try:
        own = merged(settings.get("fallbacks") or [])
    except ConfigurationError:
        return PresentFallbacks(settings=settings, spares={})
    if not absent or not isinstance(default, list | tuple):
        return PresentFallbacks(settings=settings, spares={})
    usual = _strings([*default, *own.get("*", ())])
    if own:
        kept = [name for name in own if name not in absent]
        settings["fallbacks"] = [{name: list(_present(own[name], own, absent, (name,)))} for name in kept]
    if default:
        settings["default_fallbacks"] = list(_present(default, own, absent, ()))
    spares = {name: _spares(name, own, absent, usual) for name in absent}
    return PresentFallbacks(settings=settings, spares={name: found for name, found in spares.items() if found})


def _spares(name: str, own: Mapping[str, Sequence[Any]], absent: Set[str], usual: Sequence[str]) -> tuple[str, ...]:
    """The present names to ask in the place of an absent one: its fallbacks, each followed by its own."""
    chain = list(dict.fromkeys(_followed(own.get(name, ()), own, (name,)))) or [each for each in usual if each != name]
    return tuple(each for each in chain if each not in absent)


def _followed(names: Iterable[Any], own: Mapping[str, Sequence[Any]], path: tuple[str, ...]) -> Iterator[str]:
    for each in _strings(names):
        if each not in path:  # a circle, which is refused later
            yield each
            yield from _followed(own.get(each, ()), own, (*path, each))


def _present(
    names: Iterable[Any], own: Mapping[str, Sequence[Any]], absent: Set[str], path: tuple[str, ...]
) -> Iterator[Any]:
    """`names`, with the fallbacks of absent ones in their place."""
    for each in names:
        if not (isinstance(each, str) and each in absent):
            if len(path) < 2 or each != path[0]:  # no circle through an absent name
                yield each
        elif each not in path:
            yield from _present(own.get(each, ()), own, absent, (*path, each))


def _strings(names: Iterable[Any]) -> list[str]:
    return [each for each in names if isinstance(each, str)]
