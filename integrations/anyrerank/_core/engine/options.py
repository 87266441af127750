"""What a caller can set: one model from which validation, the adapters' fields, signatures and help derive."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainValidator,
    SecretStr,
    StrictBool,
    StrictStr,
    ValidationError,
)

from anyrerank._core.pricing import Budget, PriceFile
from anyrerank.cache import Cache
from anyrerank.errors import BadRequestError
from anyrerank.guardrails import Guardrail
from anyrerank.hooks import Hook

OnError: TypeAlias = Literal["raise", "passthrough"]
ScoreMode: TypeAlias = Literal["raw", "unit"]
Fuse: TypeAlias = Literal["rrf", "auto"]

OptionsT = TypeVar("OptionsT", bound="Options")


@dataclass(frozen=True, slots=True)
class Must:
    """What an option must be, for error messages."""

    be: str


def _seconds(value: Any) -> Any:
    """`value` as seconds: a numeric string is converted, an `httpx.Timeout` stands for its read timeout."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return getattr(value, "read", value)


def _functions(value: Any) -> tuple[Any, ...]:
    if not (isinstance(value, list | tuple) and all(map(callable, value))):
        raise ValueError("must be a list of functions")
    return tuple(value)


def _sync_functions(value: Any) -> tuple[Any, ...]:
    functions = _functions(value)
    if any(map(_is_async, functions)):
        raise ValueError("must be plain functions: nothing awaits them")
    return functions


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _names(value: Any) -> tuple[str, ...] | None:
    if value is not None and not (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)):
        raise ValueError("must be a list of field names")
    return None if value is None else tuple(value)


def _fallback_list(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple | None):
        raise ValueError("must be a list")
    return tuple(value or ())


_HIDDEN = Field(exclude=True, repr=False)
"""For what no dump and no repr may hold."""

_Count = Annotated[int, Field(strict=True, ge=1), Must("a positive integer")]
_CountOrNone = Annotated[int | None, Field(strict=True, ge=1), Must("a positive integer, or None")]
_IntegerOrNone = Annotated[int | None, Field(strict=True), Must("an integer, or None")]
_Price = Annotated[
    float | None,
    Field(strict=True, ge=0, allow_inf_nan=False),
    Must("a number of US dollars of at least 0, or None"),
]
_Flag = Annotated[bool, Field(strict=True), Must("True or False")]
_Mapping = Annotated[InstanceOf[Mapping[str, Any]] | None, Must("a mapping, or None")]
_Text = Annotated[str | None, Field(strict=True), Must("a string, or None")]
_Budget = Annotated[InstanceOf[Budget] | None, _HIDDEN, Must('a Budget such as Budget(20, "1d"), or None')]


class Options(BaseModel):
    """Options of a call: defaults of a `Reranker` or `Router`, each of which one call can override."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    top_n: _CountOrNone = None
    """How many results to return, at least 1; `None` for all."""
    return_documents: Annotated[bool | None, Field(strict=True), Must("True, False or None")] = True
    """Whether each result holds your document. It is filled in locally; the provider is not asked to return it."""
    rank_fields: Annotated[tuple[str, ...] | None, PlainValidator(_names), Must("a list of field names, or None")] = (
        None
    )
    """Fields of mapping documents to rank on, in order, instead of `text`."""
    max_chunks_per_doc: _CountOrNone = None
    """Maximum number of chunks per document, where the provider has such an option."""
    max_tokens_per_doc: _CountOrNone = None
    """Maximum number of tokens per document, where the provider has such an option."""
    instruction: _Text = None
    """Instruction for models that take one."""
    truncate: Annotated[StrictStr | StrictBool | None, Must("a string such as 'END', a bool, or None")] = None
    """How to handle texts that are too long, in the provider's words: for example `"END"` or `"NONE"` at NVIDIA NIM."""
    priority: _IntegerOrNone = None
    """Priority of the request, where the provider has such an option."""
    score_threshold: Annotated[
        float | None, Field(strict=True, allow_inf_nan=False), Must("a finite number, or None")
    ] = None
    """Keep results with this score or a higher one, on the scale of `score_mode`; applied before `top_n`."""
    score_mode: Annotated[ScoreMode, Must("'raw' or 'unit'")] = "raw"
    """`"raw"` for the provider's scores; `"unit"` for scores mapped to 0..1, where the provider's scale is known."""
    user: _Text = None
    """End user, for cost tracking and hooks. Not sent to the provider."""
    metadata: _Mapping = None
    """Tags of the call, for cost tracking and hooks. Not sent to the provider."""
    guardrails: Annotated[
        Sequence[Guardrail],
        PlainValidator(_functions),
        _HIDDEN,
        Must("a list of functions that take the query and return it"),
    ] = ()
    """Functions that get the query before anything is sent, and return it, changed or not, or raise.

    Documents never pass through them; see `anyrerank.guardrails`.
    """
    hooks: Annotated[
        Sequence[Hook],
        PlainValidator(_sync_functions),
        _HIDDEN,
        Must("a list of plain (not async) functions that take a CallEvent"),
    ] = ()
    """Functions that get a `CallEvent` when a call is over; see `anyrerank.hooks` and `anyrerank.telemetry`."""
    cache: Annotated[InstanceOf[Cache] | None, _HIDDEN, Must("a Cache such as MemoryCache(), or None")] = None
    """Where scores are cached, such as `anyrerank.MemoryCache()`.

    The unit is the pair of query and document, or the whole call for models that rank all documents together. Identical
    concurrent requests are sent once.
    """
    budget: _Budget = None
    """What may be spent; see `anyrerank.Budget`. A call that would exceed it raises `BudgetExceededError` unsent."""
    user_budget: _Budget = None
    """What may be spent for each `user`."""
    timeout: Annotated[
        float | None,
        Field(strict=True, gt=0, allow_inf_nan=False),
        BeforeValidator(_seconds),
        Must("a positive number of seconds, or None for no limit"),
    ] = 60.0
    """Seconds for the whole call, retries and waiting included; `None` for no limit."""
    max_retries: Annotated[int, Field(strict=True, ge=0), Must("an integer of at least 0")] = 2
    """How often to retry a request that failed for a reason that may pass."""
    batch_size: _CountOrNone = None
    """Documents per request; by default the provider's limit."""
    max_concurrency: _Count = 8
    """Maximum number of concurrent requests of one call."""
    dedupe: _Flag = False
    """Send identical documents once, and give every copy the score."""
    allow_split: _Flag = False
    """Split calls of listwise models into batches, although scores then depend on the split."""
    on_error: Annotated[OnError, Must("'raise' or 'passthrough'")] = "raise"
    """`"raise"`, or `"passthrough"` to get the incoming order without scores, `degraded`, and a logged warning."""
    fuse: Annotated[Fuse | None, Must("'rrf', 'auto' or None")] = None
    """`"rrf"` to fuse the reranker's order with the incoming one by reciprocal rank (k = 60); scores are then fused.

    For documents that are ranked already. `"auto"` does so where `local/lexical` answers, as the adapters do.
    """
    extra_body: _Mapping = None
    """Merged into the JSON of each request."""
    drop_params: _Flag = False
    """Drop options that the provider does not have, instead of refusing the call."""
    options: _Mapping = None
    """Options of the provider that have no parameter of their own here, such as those of a custom provider."""

    @property
    def budgets(self) -> list[tuple[Budget, str | None]]:
        """The budgets that the call must stay within, and whose they are (`None`: everyone's)."""
        shared = [] if self.budget is None else [(self.budget, None)]
        of_user = [] if self.user_budget is None or self.user is None else [(self.user_budget, self.user)]
        return [*shared, *of_user]

    @property
    def provider_options(self) -> dict[str, Any]:
        """The options that only some providers have, without those that are `None`."""
        unified = {name: value for name in UNIFIED if (value := getattr(self, name)) is not None}
        return {**unified, **(self.options or {})}


UNIFIED = ("max_chunks_per_doc", "max_tokens_per_doc", "instruction", "truncate", "priority")
"""Options that several providers have under other names: each provider says which it supports."""


class RerankerOptions(Options):
    """Options of a `Reranker`: those of a call, and its connection, which a call cannot override."""

    api_key: Annotated[SecretStr | str | None, _HIDDEN, Must("a string or a SecretStr, or None")] = None
    """API key; by default from the provider's environment variables."""
    api_base: _Text = None
    """Base URL, or the full URL of the endpoint; by default from the environment, or the provider's own."""
    headers: Annotated[Mapping[str, str] | None, _HIDDEN, Must("a mapping of strings to strings, or None")] = None
    """Added to each request; they replace ours of the same name."""
    http_client: Annotated[Any, _HIDDEN] = None
    """An `httpx.Client` (for synchronous calls) or `httpx.AsyncClient` (for asynchronous ones) to send with.

    It is used as it is and never closed. A synchronous one limits each read, not the whole response, so a server that
    keeps sending single bytes can exceed `timeout`.
    """
    fallbacks: Annotated[
        Sequence[Any], PlainValidator(_fallback_list), Must("a list of model strings and Rerankers")
    ] = ()
    """Models (`"provider/model"`) or `Reranker`s to try in order when this one fails for a reason that others survive.

    Each gets an equal share of the remaining time. A model of the same provider uses the same key and base URL; others
    find theirs in the environment. A `Reranker` brings its own connection, provider options and fallbacks.
    """
    input_cost_per_query: _Price = None
    """US dollars per search unit, for `response.cost`; replaces the provider's figure and the built-in price list."""
    input_cost_per_token: _Price = None
    """US dollars per token, for `response.cost`; replaces the provider's figure and the built-in price list."""
    prices: Annotated[PriceFile | None, PlainValidator(lambda value: value)] = None
    """Prices in LiteLLM's format: a file, or what it holds. They replace the built-in price list."""


ALIASES: Mapping[str, str] = {"num_retries": "max_retries", "base_url": "api_base", "extra_headers": "headers"}
"""LiteLLM's and OpenAI's names for options, and ours."""

NAMES = frozenset(Options.model_fields)
CONNECTION = frozenset(RerankerOptions.model_fields) - NAMES | {"model", "custom_llm_provider"}
"""What is set when a `Reranker` is made, and not in a call."""


def without_aliases(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with our names for options; an alias that is `None` says nothing.

    Raises:
        BadRequestError: An option was given under two names, with different values.
    """
    found = {name: value for name, value in given.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        value = given.get(alias)
        if value is None:
            continue
        if name == "headers":
            value = {**value, **(found.get(name) or {})} if isinstance(value, Mapping) else value
        found[name] = value
    return found


def made(model: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """`model` made of `given`, with LiteLLM's names for options too; other names become `options`.

    Raises:
        BadRequestError: A value that the option cannot have.
    """
    return validated(model, _sorted_in(model, given))


def merged(base: Options, overrides: Mapping[str, Any]) -> Options:
    """`base` with the `overrides` of a call; options of providers are added to those of `base`.

    Raises:
        BadRequestError: A value that the option cannot have.
    """
    if not overrides:
        return base
    given = _sorted_in(Options, overrides)
    checked = validated(Options, given)
    update = {name: getattr(checked, name) for name in given}
    if checked.options and base.options:
        update["options"] = {**base.options, **checked.options}
    return base.model_copy(update=update)


def _sorted_in(model: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` by field; names that are no field, unless they are `None`, under `options`."""
    plain = without_aliases(given)
    known = {name: value for name, value in plain.items() if name in model.model_fields}
    others = {name: value for name, value in plain.items() if name not in known and value is not None}
    if others:
        known["options"] = {**(known.get("options") or {}), **others}
    return known


def validated(model: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """`model` made of `given`.

    Raises:
        BadRequestError: A value that the option cannot have.
    """
    try:
        return model(**given)
    except ValidationError as error:
        raise BadRequestError(problem(error, model, given)) from None


def problem(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> str:
    """What is wrong with the first of the options that pydantic refused, in our words."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return f"{model.__name__} has no option {name[:80]}" + (f"; did you mean {near[0]}?" if near else "")
    field = model.model_fields.get(name)
    must = next((each.be for each in field.metadata if isinstance(each, Must)), None) if field else None
    if must is not None:
        return f"{name} must be {must}, got {shown(given.get(name))}"
    reason = str(first.get("ctx", {}).get("error") or first["msg"])
    return f"{name}: {reason}" if name else reason


def shown(value: object) -> str:
    """A value in an error message: numbers as they are, of anything else the type, as it may hold a secret."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a value of type {type(value).__name__}"
