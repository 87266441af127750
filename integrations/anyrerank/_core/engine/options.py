"""What a caller may ask for besides the connection, checked once, before anything is sent."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import iscoroutinefunction
from typing import Any, Literal

from anyrerank._core.pricing import Budget
from anyrerank._core.runtime import is_number
from anyrerank._core.types import Document, text_of
from anyrerank.cache import Cache
from anyrerank.errors import BadRequestError
from anyrerank.guardrails import Guardrail
from anyrerank.hooks import Hook
from anyrerank.providers import Provider

OnError = Literal["raise", "passthrough"]
ScoreMode = Literal["raw", "unit"]
Fuse = Literal["rrf", "auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a call, each described at `anyrerank.rerank`.

    `extra` holds the options that only some providers have; names whose value is `None` are left out of it.
    """

    top_n: int | None = None
    return_documents: bool | None = True
    rank_fields: tuple[str, ...] | None = None
    score_threshold: float | None = None
    score_mode: ScoreMode = "raw"
    user: str | None = None
    metadata: Mapping[str, Any] | None = None
    guardrails: Sequence[Guardrail] = ()
    hooks: Sequence[Hook] = ()
    cache: Cache | None = None
    budget: Budget | None = None
    user_budget: Budget | None = None
    timeout: float | None = 60.0
    max_retries: int = 2
    batch_size: int | None = None
    max_concurrency: int = 8
    dedupe: bool = False
    allow_split: bool = False
    on_error: OnError = "raise"
    fuse: Fuse | None = None
    extra_body: Mapping[str, Any] | None = None
    drop_params: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def budgets(self) -> list[tuple[Budget, str | None]]:
        """Whatever a call has to keep to, and for whom."""
        own = [] if self.budget is None else [(self.budget, None)]
        of_user = [] if self.user_budget is None or self.user is None else [(self.user_budget, self.user)]
        return [*own, *of_user]

    def __post_init__(self) -> None:
        _check_numbers(self)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise BadRequestError(f"{name} is one of {', '.join(map(repr, allowed))}")
        names = self.rank_fields
        if names is not None and not (isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)):  # type: ignore[redundant-expr]
            raise BadRequestError("rank_fields is a list of field names")
        object.__setattr__(self, "rank_fields", None if names is None else tuple(names))
        if not isinstance(self.user, str | None):
            raise BadRequestError("user is a string, or None")
        if wrong := [name for name in _MAPPINGS if not isinstance(getattr(self, name) or {}, Mapping)]:
            raise BadRequestError(f"{wrong[0]} is a mapping, or None")
        for name, (kind, example) in _OBJECTS.items():
            if not isinstance(getattr(self, name), kind | None):
                raise BadRequestError(f"{name} is a {kind.__name__}, such as {example}, or None")
        for name, what in _FUNCTIONS.items():
            object.__setattr__(self, name, _functions(name, getattr(self, name), what))


def _check_numbers(options: Options) -> None:
    for name, least in _WHOLE:
        value = getattr(options, name)
        if value is not None and (type(value) is not int or value < least):
            raise BadRequestError(f"{name} is an integer of at least {least}, or None")
    for name in ("max_retries", "max_concurrency"):
        if getattr(options, name) is None:
            raise BadRequestError(f"{name} is an integer, not None")
    if options.timeout is not None and not (is_number(options.timeout) and options.timeout > 0):
        raise BadRequestError("timeout is a number of seconds above 0, or None for no limit")
    if options.score_threshold is not None and not is_number(options.score_threshold):
        raise BadRequestError("score_threshold is a number, or None")


_WHOLE = (("top_n", 1), ("batch_size", 1), ("max_concurrency", 1), ("max_retries", 0))
_CHOICES: dict[str, tuple[Any, ...]] = {
    "score_mode": ("raw", "unit"),
    "on_error": ("raise", "passthrough"),
    "fuse": (None, "rrf", "auto"),
}
_MAPPINGS = ("extra_body", "metadata")
_OBJECTS: Mapping[str, tuple[type, str]] = {
    "cache": (Cache, "MemoryCache()"),
    "budget": (Budget, 'Budget(20, "1d")'),
    "user_budget": (Budget, 'Budget(0.50, "1d")'),
}
_FUNCTIONS = {"guardrails": "the query and return it", "hooks": "every call when it is over"}
_NAMES = frozenset(option.name for option in fields(Options)) - {"extra"}
CONNECTION = frozenset(
    {
        "api_base",
        "api_key",
        "custom_llm_provider",
        "fallbacks",
        "headers",
        "http_client",
        "input_cost_per_query",
        "input_cost_per_token",
        "model",
        "prices",
    }
)
"""What is set when a `Reranker` is made, and not in a call."""


def _functions(name: str, given: object, what: str) -> tuple[Any, ...]:
    if not (isinstance(given, list | tuple) and all(map(callable, given))):
        raise BadRequestError(f"{name} is a list of functions that get {what}")
    if name == "hooks" and any(map(_is_asynchronous, given)):
        raise BadRequestError("hooks are plain functions: nothing awaits them when a call is over")
    return tuple(given)


def _is_asynchronous(function: object) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def options_of(given: Mapping[str, Any], base: Options | None = None) -> Options:
    """`base` (or the defaults) with `given` over it; names that are not options of every provider go to `extra`."""
    base = base or Options()
    if not given:
        return base
    given = dict(given)
    if (retries := given.pop("num_retries", None)) is not None:
        given["max_retries"] = retries
    extra = {**base.extra, **{name: value for name, value in given.items() if name not in _NAMES}}
    extra = {name: value for name, value in extra.items() if value is not None}
    return replace(base, **{name: value for name, value in given.items() if name in _NAMES}, extra=extra)


def provider_options(extra: Mapping[str, Any], kind: type[Provider], *, drop_params: bool) -> dict[str, Any]:
    """Those of `extra` for the wire of `kind`.

    Raises:
        BadRequestError: One of them is not an option of this provider, and `drop_params` is off.
    """
    unknown = sorted(extra.keys() - kind.options)
    if unknown and not drop_params:
        known = {*kind.options, *kind.settings, *_NAMES, *CONNECTION}
        near = [f"did you mean {match}? " for name in unknown for match in difflib.get_close_matches(name, known, n=1)]
        settings = f", settings {', '.join(sorted(kind.settings))}" if kind.settings else ""
        everywhere = ", ".join(sorted(_NAMES | CONNECTION))
        raise BadRequestError(
            f"{kind.prefix} has no option {', '.join(unknown)}; {''.join(near)}it has "
            f"{', '.join(sorted(kind.options)) or 'none of its own'}{settings}, beside {everywhere}. "
            "drop_params=True leaves out what a provider does not have",
            provider=kind.prefix,
        )
    return {name: value for name, value in extra.items() if name in kind.options}


def checked_query(query: object) -> str:
    """The query, if it is a string that is not blank."""
    if not isinstance(query, str):
        raise BadRequestError(f"query is a string, not {type(query).__name__}")
    if not query or query.isspace():
        raise BadRequestError("query is blank")
    return query


def checked_documents(documents: object) -> Sequence[Document]:
    """The documents as a sequence; what each of them holds is checked by `blanks`."""
    if isinstance(documents, list | tuple):
        return documents
    if isinstance(documents, str | bytes | Mapping | set | frozenset) or not hasattr(documents, "__iter__"):
        raise BadRequestError(
            f"documents is a sequence of strings or mappings, not {type(documents).__name__}"
            + (": put it into a list" if isinstance(documents, str | Mapping) else "")
        )
    return list(documents)


def blanks(documents: Sequence[Document], rank_fields: Sequence[str] | None, *, images: bool) -> list[int]:
    """Places of the documents with nothing to rank.

    Args:
        images: Whether the provider can rank an `image` that comes without a text.

    Raises:
        BadRequestError: A document is neither a string nor a mapping, or a mapping without usable text; or all of
            them are blank.
    """
    if set(map(type, documents)) == {str} and all(documents) and not any(map(str.isspace, documents)):  # type: ignore[arg-type]
        return []
    blank = []
    for place, document in enumerate(documents):
        if _is_blank(document, place, rank_fields, images):
            blank.append(place)
    if documents and len(blank) == len(documents):
        raise BadRequestError("all documents are blank")
    return blank


def _is_blank(document: object, place: int, rank_fields: Sequence[str] | None, images: bool) -> bool:
    if isinstance(document, str):
        return not document.strip()
    if not isinstance(document, Mapping):
        raise BadRequestError(
            f"documents[{place}] is of type {type(document).__name__}; a document is a string or a mapping with a "
            "'text' (for LangChain and LlamaIndex objects use anyrerank.langchain and anyrerank.llama_index)"
        )
    image = document.get("image")
    if images and isinstance(image, str) and image.strip():
        return False
    if rank_fields:
        values = [document[name] for name in rank_fields if document.get(name) is not None]
        if not values:
            raise BadRequestError(f"documents[{place}] has none of the rank_fields {', '.join(rank_fields)}")
        return all(not str(value).strip() for value in values)
    text = document.get("text")
    if not isinstance(text, str):
        what = "an 'image', which this provider cannot rank, but no" if "image" in document else "no"
        raise BadRequestError(f"documents[{place}] has {what} usable 'text': give it one, or name rank_fields")
    return not text or text.isspace()


def identity(document: Document, rank_fields: Sequence[str] | None, *, whole: bool) -> str:
    """What makes two documents the same: their text, or `rank_fields`, and their image.

    Args:
        whole: Whether a model may see all of a mapping, so that all of it counts.
    """
    if isinstance(document, str):
        return document
    if whole and set(document) != {"text"}:
        return repr(sorted(document.items(), key=str))
    text = text_of(document, rank_fields) if rank_fields or "text" in document else ""
    return text if document.get("image") is None else f"{document['image']}\0{text}"
