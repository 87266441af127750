"""All providers as data: their keys, options, limits, and the scale of their scores."""

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
    """What to know about a provider before using it.

    Attributes:
        prefix: What precedes the slash in a model string.
        title: Name of the provider.
        description: Its documentation in this package.
        needs_key: Whether a call needs a key.
        key_variables: Environment variables that may hold the key, in order of precedence.
        base_variables: Environment variables that may hold the base URL, in order of precedence.
        default_base: Default base URL; `None` if there is no public one.
        settings: Further connection arguments, with the environment variables that may hold them.
        options: Call options that only some providers support.
        documents_per_request: Maximum number of documents in one request; `None` if there is no known limit.
        score_scale: `"unit"` for 0 to 1, `"logit"`, or `"unknown"`. Some models of a provider may differ.
        supports_images: Whether any model ranks images.
        extra: The extra of this package that the provider needs, or `None`.
    """

    prefix: str
    title: str
    description: str
    needs_key: bool
    key_variables: tuple[str, ...]
    base_variables: tuple[str, ...]
    default_base: str | None
    settings: Mapping[str, Setting]
    options: tuple[str, ...]
    documents_per_request: int | None
    score_scale: Scale
    supports_images: bool
    extra: str | None


def cards() -> tuple[Card, ...]:
    """The cards of all providers, sorted by prefix. Imports every provider, but no third-party library.

    An entry point of another distribution that cannot be loaded is skipped with a warning.
    """
    found = []
    for name in names():
        try:
            found.append(card(load(name)))
        except ConfigurationError as error:
            warnings.warn(error.message, stacklevel=2)
    return tuple(found)


def card(provider: type[Provider]) -> Card:
    """The card of one provider."""
    return Card(
        prefix=provider.prefix,
        title=provider.title,
        description=inspect.getdoc(provider) or "",
        needs_key=provider.needs_key,
        key_variables=(*provider.key_variables, *provider.key_file_variables),
        base_variables=provider.base_variables,
        default_base=provider.default_base,
        settings=dict(provider.settings),
        options=tuple(sorted(provider.options)),
        documents_per_request=provider.documents_per_request,
        score_scale=provider.scale,
        supports_images=provider.images,
        extra=provider.extra,
    )


COLUMNS = ("model", "key", "options", "documents per request", "scores", "extra")
"""The columns of `row`."""

_SCALES = {"unit": "0 to 1", "logit": "logits", "unknown": "varies by model"}


def row(card: Card) -> tuple[str, ...]:
    """A card as a table row; several names in one cell are on separate lines."""
    limit = card.documents_per_request
    return (
        card.prefix,
        _keys(card, "\n".join, "\n(optional)"),
        "\n".join(card.options),
        "no known limit" if limit is None else f"{limit:,}",
        _SCALES[card.score_scale],
        card.extra or "",
    )


def markdown(cards: Sequence[Card]) -> str:
    """Cards as a Markdown table."""
    columns = (COLUMNS[0], "provider", *COLUMNS[1:])
    lines = [columns, ("---",) * len(columns), *map(_markdown_row, cards)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _markdown_row(card: Card) -> tuple[str, ...]:
    _, _, _, limit, scores, _ = row(card)
    keys, options, extra = _keys(card, _code), _code(card.options), _code([card.extra] if card.extra else [])
    return (_code([f"{card.prefix}/..."]), card.title, keys, options, limit, scores, extra)


def _keys(card: Card, join: Callable[[Iterable[str]], str], optional: str = " (optional)") -> str:
    """The environment variables with credentials, those of secret settings included."""
    secrets = [name for setting in card.settings.values() if setting.secret for name in setting.variables]
    variables = join([*card.key_variables, *secrets])
    if not variables:
        return "none"
    return variables if card.needs_key or secrets else variables + optional


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
