"""All providers as data: their keys, options, limits, and the scale of their scores."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anyrerank._core.pricing import FREE, Price, list_price, list_prices, price_dates
from anyrerank._core.types import Scale
from anyrerank.errors import ConfigurationError
from anyrerank.providers import Provider, Setting, load, names


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a provider.

    Attributes:
        name: Its model string, `provider/model`.
        price: Its list price in words.
        priced_on: The day on which the price was read, as `2026-01-31`; `None` if there is none.
    """

    name: str
    price: str
    priced_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The properties of a provider, for tables and documentation.

    Attributes:
        prefix: What precedes the slash in a model string.
        title: Name of the provider.
        description: Its documentation in this package.
        needs_key: Whether a call needs a key.
        key_variables: Environment variables that may hold the key, in order of precedence.
        key_page: Page of the vendor where keys are created, or that describes it; `None` for a server of your own.
        base_variables: Environment variables that may hold the base URL, in order of precedence.
        default_base: Default base URL; `None` if there is no public one.
        settings: Further connection arguments, with the environment variables that may hold them.
        options: Call options that only some providers support.
        documents_per_request: Maximum number of documents in one request; `None` if there is no known limit.
        score_scale: `"unit"` for 0 to 1, `"logit"`, or `"unknown"`. Some models of a provider may differ.
        supports_images: Whether any model ranks images.
        extra: The extra of this package that the provider needs, or `None`.
        models: Some of its models with their list prices. Other models work too.
        first_command: A command that checks one of them, with the variables it needs.
    """

    prefix: str
    title: str
    description: str
    needs_key: bool
    key_variables: tuple[str, ...]
    key_page: str | None
    base_variables: tuple[str, ...]
    default_base: str | None
    settings: Mapping[str, Setting]
    options: tuple[str, ...]
    documents_per_request: int | None
    score_scale: Scale
    supports_images: bool
    extra: str | None
    models: tuple[Model, ...]
    first_command: str


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
    models = _models(provider)
    return Card(
        prefix=provider.prefix,
        title=provider.title,
        description=inspect.getdoc(provider) or "",
        needs_key=provider.needs_key,
        key_variables=(*provider.key_variables, *provider.key_file_variables),
        key_page=provider.key_page,
        base_variables=provider.base_variables,
        default_base=provider.default_base,
        settings=dict(provider.settings),
        options=tuple(sorted(provider.options)),
        documents_per_request=provider.documents_per_request,
        score_scale=provider.scale,
        supports_images=provider.images,
        extra=provider.extra,
        models=models,
        first_command=_first_command(provider, models[0].name if models else f"{provider.prefix}/MODEL"),
    )


_UNPRICED: Mapping[str, tuple[str, ...]] = {
    "cloudflare": ("@cf/baai/bge-reranker-base",),
    "contextual": ("ctxl-rerank-v2-instruct-multilingual",),
    "fastembed": ("Xenova/ms-marco-MiniLM-L-6-v2",),
    "hosted_vllm": ("BAAI/bge-reranker-base",),
    "huggingface": ("BAAI/bge-reranker-large",),
    "infinity": ("mixedbread-ai/mxbai-rerank-xsmall-v1",),
    "isaacus": ("kanon-2-reranker",),
    "llama_cpp": ("qwen3-reranker-0.6b",),
    "local": ("lexical",),
    "localai": ("jina-reranker-v1-base-en",),
    "mixedbread": ("mixedbread-ai/mxbai-rerank-large-v2",),
    "nvidia_nim": ("nvidia/llama-nemotron-rerank-1b-v2", "nvidia/llama-3_2-nv-rerankqa-1b-v2"),
    "openrouter": ("cohere/rerank-v3.5",),
    "pinecone": ("bge-reranker-v2-m3",),
    "scaleway": ("qwen3-embedding-8b",),
    "sentence_transformers": ("cross-encoder/ms-marco-MiniLM-L6-v2",),
    "sglang": ("Qwen/Qwen3-Reranker-8B",),
    "siliconflow": ("BAAI/bge-reranker-v2-m3",),
    "vertex_ai": ("semantic-ranker-default-004",),
    "watsonx": ("cross-encoder/ms-marco-minilm-l-12-v2",),
    "xinference": ("bge-reranker-base",),
    "zeroentropy": ("zerank-2",),
}
"""Example models of providers whose models have no list price; a server of your own may use another name."""


def _models(provider: type[Provider]) -> tuple[Model, ...]:
    """Some models: those without a list price first, then those in the table of prices."""
    named = {name: price for name, price in list_prices().items() if name.partition("/")[0] == provider.prefix}
    others = {
        f"{provider.prefix}/{name}": list_price([f"{provider.prefix}/*"]) for name in _UNPRICED.get(provider.prefix, ())
    }
    found = {name: price for name, price in {**others, **named}.items() if not name.endswith("/*")}
    dates = price_dates()
    return tuple(
        Model(
            name,
            price_text(FREE if provider.free else price),
            dates.get(name) or (dates.get(f"{provider.prefix}/*") if price else None),
        )
        for name, price in found.items()
    )


def price_text(price: Price | None) -> str:
    """A price in words, for 1,000 searches or 1,000,000 tokens."""
    if not price:
        return "price unknown"
    by_query, by_token = 1000 * (price.per_query or 0.0), 1e6 * (price.per_token or 0.0)
    parts = [f"${by_query:.2f} per 1,000 searches"] if by_query else []
    parts += [f"${by_token:.3g} per 1,000,000 tokens"] if by_token else []
    return " and ".join(parts) or "free"


def _first_command(provider: type[Provider], model: str) -> str:
    needs_base = provider.default_base is None and provider.base_variables
    if not provider.needs_key and any(setting.secret for setting in provider.settings.values()):
        needs_base = False  # it follows from a region
    base = "https://..." if provider.needs_key else "http://localhost:8000"
    variables = [
        *([f"{provider.base_variables[0]}={base}"] if needs_base else []),
        *([f"{provider.key_variables[0]}=..."] if provider.needs_key and provider.key_variables else []),
    ]
    return " ".join([*variables, "anyrerank check", model, "--call"])


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
    """Cards as Markdown: a table, and a section with everything about each provider."""
    columns = (COLUMNS[0], "provider", *COLUMNS[1:])
    lines = [columns, ("---",) * len(columns), *map(_markdown_row, cards)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([table, *map(_section, cards)]) + "\n"


def _markdown_row(card: Card) -> tuple[str, ...]:
    _, _, _, limit, scores, _ = row(card)
    keys, options, extra = _keys(card, _code), _code(card.options), _code([card.extra] if card.extra else [])
    prefix = f"[{_code([f'{card.prefix}/...'])}](#{_anchor(card.title)})"
    return (prefix, card.title, keys, options, limit, scores, extra)


def _anchor(heading: str) -> str:
    """The fragment of a heading, as GitHub and Python-Markdown make it."""
    return re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")


def _section(card: Card) -> str:
    """Everything about a provider."""
    _, _, _, limit, scores, _ = row(card)
    bases = _code(card.base_variables)
    base = f"<{card.default_base}>" if card.default_base else ""
    if bases:
        default = base or ("that of the region" if not card.needs_key and _has_credentials(card) else "none")
        base = f"`api_base=` or {bases}; default: {default}"
    facts = {
        "Key": _keys(card, _code) + (f"; from <{card.key_page}>" if card.key_page else ""),
        "Base URL": base,
        "Documents per request": limit,
        "Scores": scores + ("; some models read images" if card.supports_images else ""),
        "Options": _code(card.options),
        "Install": f"`pip install 'anyrerank[{card.extra}]'`" if card.extra else "",
    }
    parts = [
        f"### {card.title}",
        card.description,
        "\n".join(f"- {name}: {value}" for name, value in facts.items() if value),
        f"```sh\n{card.first_command}\n```",
    ]
    if card.settings:
        parts.append(_table(("setting", "what it is", "variables"), map(_setting_row, card.settings.items())))
    if card.models:
        rows = ((_code([model.name]), model.price, model.priced_on or "") for model in card.models)
        parts.append(_table(("model", "list price", "read on"), rows))
    return "\n\n".join(parts)


def _has_credentials(card: Card) -> bool:
    return any(setting.secret for setting in card.settings.values())


def _setting_row(setting: tuple[str, Setting]) -> tuple[str, ...]:
    name, about = setting
    return (_code([name]), about.about, _code(about.variables))


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def _keys(card: Card, join: Callable[[Iterable[str]], str], optional: str = " (optional)") -> str:
    """The environment variables with credentials, those of secret settings included."""
    secrets = [name for setting in card.settings.values() if setting.secret for name in setting.variables]
    variables = join([*card.key_variables, *secrets])
    if not variables:
        return "none"
    return variables if card.needs_key or secrets else variables + optional


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
