"""Every provider as data: what it is called, how to get in, what it takes and what its scores mean."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anyrerank._core.types import Scale
from anyrerank.errors import ConfigurationError
from anyrerank.providers import Provider, Setting, load, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What there is to know of a provider before using it.

    Attributes:
        prefix: What goes before the slash in a model string.
        title: The vendor's own name.
        about: What its documentation here says.
        needs_key: Whether a call without a key is refused.
        key_variables: Environment variables that may hold the key, in the order in which they are looked at.
        base_variables: The same for the base URL.
        default_base: Base URL when none is given; `None` where there is no public one.
        settings: Further arguments of the connection, with the variables that may hold them.
        options: Arguments of a call that only some providers have.
        documents_per_request: The most that one request holds; `None` where no limit is known.
        scale: `"unit"` for 0..1, `"logit"`, or `"unknown"`; some models of a provider may differ.
        images: Whether some model ranks images.
        extra: The extra of this package that it needs.
    """

    prefix: str
    title: str
    about: str
    needs_key: bool
    key_variables: tuple[str, ...]
    base_variables: tuple[str, ...]
    default_base: str | None
    settings: Mapping[str, Setting]
    options: tuple[str, ...]
    documents_per_request: int | None
    scale: Scale
    images: bool
    extra: str | None


def cards() -> tuple[Card, ...]:
    """The card of every provider, sorted by prefix; imports all of them, but nothing that they need.

    An entry point of another distribution that cannot be loaded is left out, with a warning.
    """
    found = []
    for name in names():
        try:
            found.append(card(load(name)))
        except ConfigurationError as error:
            warnings.warn(error.message, stacklevel=2)
    return tuple(found)


def card(kind: type[Provider]) -> Card:
    """The card of one provider."""
    return Card(
        prefix=kind.prefix,
        title=kind.title,
        about=inspect.getdoc(kind) or "",
        needs_key=kind.needs_key,
        key_variables=(*kind.key_variables, *kind.key_file_variables),
        base_variables=kind.base_variables,
        default_base=kind.default_base,
        settings=dict(kind.settings),
        options=tuple(sorted(kind.options)),
        documents_per_request=kind.documents_per_request,
        scale=kind.scale,
        images=kind.images,
        extra=kind.extra,
    )


HEAD = ("model", "key", "options", "documents a request", "scores", "extra")
"""What `cells` gives of a card."""

_SCALES = {"unit": "0 to 1", "logit": "logits", "unknown": "the model's own"}


def cells(shown: Card) -> tuple[str, ...]:
    """A card as a line of a table, with each of several names in a line of its own."""
    most = shown.documents_per_request
    return (
        shown.prefix,
        _keys(shown, "\n".join, "\n(optional)"),
        "\n".join(shown.options),
        "any number" if most is None else f"{most:,}",
        _SCALES[shown.scale],
        shown.extra or "",
    )


def _keys(shown: Card, joined: Callable[[Iterable[str]], str], optional: str = " (optional)") -> str:
    """The variables that let one in, those of secret settings among them."""
    secrets = [name for setting in shown.settings.values() if setting.secret for name in setting.variables]
    names = joined([*shown.key_variables, *secrets])
    if not names:
        return "none"
    return names if shown.needs_key or secrets else names + optional


def markdown(shown: Sequence[Card]) -> str:
    """A table of cards for a document; names stand in code."""
    head = (HEAD[0], "provider", *HEAD[1:])
    lines = [head, ("---",) * len(head), *map(_marked, shown)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _marked(shown: Card) -> tuple[str, ...]:
    prefix, _, _, most, scale, extra = cells(shown)
    keys, options = _keys(shown, _code), _code(shown.options)
    return (_code([f"{prefix}/..."]), shown.title, keys, options, most, scale, _code([extra] if extra else []))


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
