"""Chains of fallbacks: for each name, the names that are asked after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from anyrerank._core.routing.wildcards import Groups
from anyrerank.errors import ConfigurationError

_MUST_BE = {
    "default_fallbacks": "a list of names",
    "fallbacks": "a list of mappings from a name to a list of names",
}

Fallbacks = Mapping[str, Sequence[str]] | Sequence[Mapping[str, Sequence[str]]]


def chains(
    names: Iterable[str], fallbacks: Fallbacks, default: Sequence[str], limit: int, aliases: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """For each name, the names that are asked after it: its fallbacks, each followed by its own.

    Args:
        names: The names of a router.
        fallbacks: By name; those of `"*"` are added to `default`, as in LiteLLM.
        default: The fallbacks of names that have none.
        limit: Maximum length of a chain.
        aliases: Other names of these names.

    Raises:
        ConfigurationError: A fallback is not a name, or the fallbacks form a circle.
    """
    if not isinstance(default, list | tuple):
        raise _wrong("default_fallbacks")
    known = {**{name: name for name in names}, **aliases}
    given = merged(fallbacks)
    usual = _known("default_fallbacks", [*default, *given.pop("*", ())], known)
    own = {_known("fallbacks", [name], known)[0]: _known("fallbacks", others, known) for name, others in given.items()}
    return {name: _chain(name, own, usual)[:limit] for name in known if name not in aliases}


def chains_of(
    groups: Groups, fallbacks: Fallbacks, default: Sequence[str], limit: int, aliases: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """`chains` for the names and wildcards of a router, and for the names in its settings that wildcards stand for.

    Raises:
        ConfigurationError: As for `chains`; or a wildcard is a fallback, which could be any model.
        BadRequestError: A wildcard stands for a fallback that is not a model.
    """
    named = {*_strings([fallbacks, default, list(aliases.values())])}
    meant = [name for name in sorted(named) if name not in groups.named and groups.find(name) is not None]
    found = chains([*groups.named, *groups.wildcards, *meant], fallbacks, default, limit, aliases)
    for spare in sorted({spare for chain in found.values() for spare in chain}):
        if spare in groups.wildcards:
            raise ConfigurationError(f"fallbacks: {spare[:80]!r} stands for any model; name one")
    return found


def chain_of(name: str, groups: Groups, found: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The chain of a name; that of its wildcard if it has none."""
    chain = found.get(name)
    if chain is None:
        chain = found[groups.wildcard_of(name) or name]
    return tuple(other for other in chain if other != name)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"{what} must be {_MUST_BE[what]}")


def _known(what: str, names: Sequence[object], known: Mapping[str, str]) -> list[str]:
    for name in names:
        if not isinstance(name, str):
            raise _wrong(what)
        if name not in known:
            raise ConfigurationError(f"{what}: there is no model named {name[:80]!r}; there are {', '.join(known)}")
    return [known[str(name)] for name in names]


def merged(fallbacks: Fallbacks) -> dict[str, Sequence[str]]:
    """Fallbacks by name.

    Raises:
        ConfigurationError: They are not mappings from names to lists.
    """
    listed: Sequence[Any] = [fallbacks] if isinstance(fallbacks, Mapping) else fallbacks
    if not isinstance(listed, list | tuple):
        raise _wrong("fallbacks")
    merged: dict[str, Sequence[str]] = {}
    for each in listed:
        if not isinstance(each, Mapping) or not all(isinstance(others, list | tuple) for others in each.values()):
            raise _wrong("fallbacks")
        merged.update(each)
    return merged


def _chain(name: str, own: Mapping[str, Sequence[str]], default: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    _follow(name, own, (name,), found)
    return tuple(found) or tuple(other for other in default if other != name)


def _follow(name: str, own: Mapping[str, Sequence[str]], path: tuple[str, ...], found: dict[str, None]) -> None:
    """Add the fallbacks of `name`, and theirs, to `found`."""
    for other in own.get(name, ()):
        if other in path:
            raise ConfigurationError(f"fallbacks must not form a circle: {' -> '.join((*path, other))}")
        if other not in found:
            found[other] = None
            _follow(other, own, (*path, other), found)
