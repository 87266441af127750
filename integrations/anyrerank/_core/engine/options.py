"""The options: one model from which validation, the fields of the adapters, signatures and help are derived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args

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
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema

from anyrerank._core.engine import option_values
from anyrerank._core.limits import Throttle
from anyrerank._core.pricing import Budget, PriceFile
from anyrerank.cache import Cache
from anyrerank.guardrails import Guardrail
from anyrerank.hooks import Hook

OnError: TypeAlias = Literal["raise", "passthrough"]
ScoreMode: TypeAlias = Literal["raw", "unit"]
ScoreScale: TypeAlias = Literal["logit", "unit"]
Fuse: TypeAlias = Literal["rrf", "auto"]


@dataclass(frozen=True, slots=True)
class Must:
    """What an option must be, for error messages."""

    be: str


_HIDDEN = Field(exclude=True, repr=False)
"""For fields that are left out of dumps and reprs."""
_STRINGS = {"type": "array", "items": {"type": "string"}}

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
_Budget = Annotated[
    InstanceOf[Budget] | None, _HIDDEN, SkipJsonSchema(), Must('a Budget such as Budget(20, "1d"), or None')
]


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
    rank_fields: Annotated[
        tuple[str, ...] | None,
        PlainValidator(option_values.names),
        WithJsonSchema({"anyOf": [_STRINGS, {"type": "null"}]}),
        Must("a list of field names, or None"),
    ] = None
    """Fields of mapping documents to rank on, in order, instead of `text`."""
    max_chunks_per_doc: _CountOrNone = None
    """Maximum number of chunks per document, if the provider has such an option."""
    max_tokens_per_doc: _CountOrNone = None
    """Maximum number of tokens per document.

    Where the provider has no such option, the copy that is sent is cut, at 3 bytes for each token.
    """
    instruction: _Text = None
    """Instruction for models that take one."""
    truncate: Annotated[StrictStr | StrictBool | None, Must("a string such as 'END', a bool, or None")] = None
    """How to handle texts that are too long. The values are those of the provider, such as `"END"` at NVIDIA NIM."""
    priority: _IntegerOrNone = None
    """Priority of the request, if the provider has such an option; some accept positive integers only."""
    score_threshold: Annotated[
        float | None, Field(strict=True, allow_inf_nan=False), Must("a finite number, or None")
    ] = None
    """Keep results with this score or a higher one, on the scale of `score_mode`; applied before `top_n`."""
    score_mode: Annotated[ScoreMode, Must("'raw' or 'unit'")] = "raw"
    """`"raw"` for the provider's scores, `"unit"` for scores mapped to 0..1; for the latter the scale must be known."""
    score_scale: Annotated[ScoreScale | None, Must("'logit', 'unit' or None")] = None
    """Scale of the scores of your own server: logits, or already 0..1. An error where another scale is known."""
    user: _Text = None
    """End user, for cost tracking and hooks. Not sent to the provider."""
    metadata: _Mapping = None
    """Tags of the call, for cost tracking and hooks. Not sent to the provider."""
    guardrails: Annotated[
        Sequence[Guardrail],
        PlainValidator(option_values.functions),
        _HIDDEN,
        SkipJsonSchema(),
        Must("a list of functions that take the query and return it"),
    ] = ()
    """Functions that take the query before anything is sent, and return it, changed or not, or raise an exception.

    See `anyrerank.guardrails`.
    """
    hooks: Annotated[
        Sequence[Hook],
        PlainValidator(option_values.sync_functions),
        _HIDDEN,
        SkipJsonSchema(),
        Must("a list of plain (not async) functions that take a CallEvent"),
    ] = ()
    """Functions that get a `CallEvent` when a call has ended; see `anyrerank.hooks` and `anyrerank.telemetry`."""
    cache: Annotated[
        InstanceOf[Cache] | None, _HIDDEN, SkipJsonSchema(), Must("a Cache such as MemoryCache(), or None")
    ] = None
    """Where scores are cached, such as `anyrerank.MemoryCache()`.

    Scores are cached for each pair of query and document, or for the whole call if the model is listwise. Identical
    concurrent requests are sent once.
    """
    budget: Annotated[
        Budget | Sequence[Budget] | None,
        PlainValidator(option_values.budgets),
        _HIDDEN,
        SkipJsonSchema(),
        Must('a Budget such as Budget(20, "1d"), a list of them, or None'),
    ] = None
    """How much may be spent, see `anyrerank.Budget`; beyond it `BudgetExceededError` is raised and nothing is sent.

    Of several budgets each must have room.
    """
    user_budget: _Budget = None
    """How much may be spent for each `user`."""
    limit: Annotated[
        InstanceOf[Throttle] | None, _HIDDEN, SkipJsonSchema(), Must("a Limit such as Limit(rpm=1000), or None")
    ] = None
    """How many requests and tokens per minute may be sent, see `anyrerank.Limit`; each request waits for its turn."""
    timeout: Annotated[
        float | None,
        Field(strict=True, gt=0, allow_inf_nan=False),
        BeforeValidator(option_values.seconds),
        Must("a positive number of seconds, or None for no limit"),
    ] = 60.0
    """Seconds for the whole call, including retries and waits; `None` for no limit."""
    max_retries: Annotated[int, Field(strict=True, ge=0), Must("an integer of at least 0")] = 2
    """How often to retry a request after an error that may be temporary."""
    batch_size: _CountOrNone = None
    """Documents per request; by default the provider's limit."""
    max_concurrency: _Count = 8
    """Maximum number of concurrent requests of one call."""
    dedupe: _Flag = False
    """Send identical documents once, and give every copy the score."""
    allow_split: _Flag = False
    """Split the documents of a call to a listwise model into batches, although the scores then depend on the split."""
    on_error: Annotated[OnError, Must("'raise' or 'passthrough'")] = "raise"
    """`"raise"`, or `"passthrough"` to return the incoming order without scores (`degraded`) and log a warning.

    A used-up budget, a guardrail and a wrong call raise in any case.
    """
    fuse: Annotated[Fuse | None, Must("'rrf', 'auto' or None")] = None
    """`"rrf"` to fuse the order of the reranker with the incoming one by reciprocal rank (k = 60).

    For documents that are already ranked; the scores are then the fused ones. `"auto"` does so only for
    `local/lexical`.
    """
    extra_body: _Mapping = None
    """Merged into the JSON body of each request."""
    drop_params: _Flag = False
    """Drop options that the provider does not have, instead of raising an error."""
    options: _Mapping = None
    """Further options of the provider, such as those of a custom `Provider` class."""

    @property
    def budgets(self) -> list[tuple[Budget, str | None]]:
        """The budgets of the call, each with the user that it is for, or `None` if it is shared."""
        of_user = [] if self.user_budget is None or self.user is None else [(self.user_budget, self.user)]
        return [*((each, None) for each in self.shared_budgets), *of_user]

    @property
    def shared_budgets(self) -> tuple[Budget, ...]:
        """Those of `budget`."""
        return () if self.budget is None else (self.budget,) if isinstance(self.budget, Budget) else tuple(self.budget)

    @property
    def provider_options(self) -> dict[str, Any]:
        """The options that not every provider has, without those that are `None`."""
        unified = {name: value for name in UNIFIED if (value := getattr(self, name)) is not None}
        return {**unified, **(self.options or {})}


UNIFIED = ("max_chunks_per_doc", "max_tokens_per_doc", "instruction", "truncate", "priority")
"""Options that several providers have, under different names; each provider declares which it supports."""


class RerankerOptions(Options):
    """Options of a `Reranker`: those of a call, and those of the connection, which a call cannot override."""

    api_key: Annotated[SecretStr | str | None, _HIDDEN, Must("a string or a SecretStr, or None")] = None
    """API key; by default from the environment variables of the provider."""
    api_base: _Text = None
    """Base URL, or full URL of the endpoint; by default from the environment, else that of the provider.

    A URL that ends in `#` is used exactly as it is, without the `#`.
    """
    headers: Annotated[Mapping[str, str] | None, _HIDDEN, Must("a mapping of strings to strings, or None")] = None
    """Headers that are added to each request."""
    http_client: Annotated[Any, _HIDDEN, SkipJsonSchema()] = None
    """An `httpx.Client` (for synchronous calls) or `httpx.AsyncClient` (for asynchronous ones) to send with.

    It is used as it is and never closed. With an `httpx.Client`, `timeout` limits each read instead of the whole
    response.
    """
    ssl_verify: Annotated[
        StrictBool | StrictStr | None,
        BeforeValidator(option_values.flag_or_path),
        Must("True, False, the path of a PEM file or folder, or None"),
    ] = None
    """Which server certificates to trust: a file or folder of certificate authorities, or `False` for any server.

    By default those in `certifi`, or those of `SSL_CERT_FILE` or `SSL_CERT_DIR`. An `http_client` ignores it.
    """
    ssl_certificate: Annotated[
        StrictStr | tuple[str, str] | None, Must("the path of a PEM file, a pair of paths, or None")
    ] = None
    """Client certificate: a PEM file that holds its key too, or a pair of files."""
    max_parallel_requests: _CountOrNone = None
    """Maximum number of concurrent requests over all calls, threads and event loops; further ones wait."""
    fallbacks: Annotated[
        Sequence[Any],
        PlainValidator(option_values.fallback_list),
        WithJsonSchema(_STRINGS),
        Must("a list of model strings and Rerankers"),
    ] = ()
    """Models (`"provider/model"`) or `Reranker`s to try in order when this one fails and another may succeed.

    Each gets an equal share of the remaining time. A model of the same provider uses the same key and base URL, others
    use the environment; a hosted model of NVIDIA and one of your own NIM have different ones. A `Reranker` brings its
    own connection, provider options and fallbacks. If it has a `score_threshold`, a `score_mode` or a `score_scale`,
    that holds for its scores, also against the one of a call.
    """
    input_cost_per_query: _Price = None
    """US dollars per search unit, in place of the cost that the provider reports and of the built-in price list."""
    input_cost_per_token: _Price = None
    """US dollars per token, in place of the cost that the provider reports and of the built-in price list."""
    prices: Annotated[PriceFile | None, PlainValidator(lambda value: value), SkipJsonSchema()] = None
    """Prices in LiteLLM's format, as a path or a mapping, in place of the built-in price list."""


NAMES = frozenset(Options.model_fields)
CONNECTION = frozenset(RerankerOptions.model_fields) - NAMES | {"model", "custom_llm_provider"}
"""Options that a call cannot override."""

_MUST_BE_SAID = frozenset({"guardrails", "hooks"})
"""Options for which `None` is an error: what should watch the calls would be missing without a word."""
NEVER_NONE = frozenset(
    name
    for name, field in RerankerOptions.model_fields.items()
    if field.default is not None and type(None) not in get_args(field.annotation) and name not in _MUST_BE_SAID
)
"""Options that cannot be `None`, which stands for their default."""
