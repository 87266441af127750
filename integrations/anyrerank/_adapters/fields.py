"""What the adapters for both frameworks share: their fields, and the `Reranker` made of them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from time import monotonic
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from anyrerank._core.client import BaseReranker, Reranker, Router, attributes
from anyrerank._core.engine import OnError, Options, ScoreMode, provider_class, within
from anyrerank._core.pricing import Budget
from anyrerank._core.runtime import Flow
from anyrerank._core.types import RerankResponse
from anyrerank.cache import Cache
from anyrerank.errors import APITimeoutError, ConfigurationError, GuardrailRaisedError
from anyrerank.guardrails import guarded
from anyrerank.providers import Provider

T = TypeVar("T")


class RerankFields(BaseModel):
    """The options of `anyrerank.Reranker` as fields, each described at `anyrerank.rerank`.

    Nothing is sent and no key is needed to make one: a missing key is an error of the first call.
    """

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )

    model: str | None = Field(
        default=None, description="provider/model; needed unless `reranker` is given. One of the names of a router."
    )
    provider: str | type[Provider] | None = Field(
        default=None,
        validation_alias=AliasChoices("provider", "custom_llm_provider"),
        description="The provider, when `model` does not name it; or a Provider class, which no dump can hold.",
    )
    top_n: int | None = Field(default=None, ge=1, description="How many to return; None for all.")
    api_key: SecretStr | None = Field(
        default=None, exclude=True, repr=False, description="By default from the provider's environment variables."
    )
    api_base: str | None = Field(
        default=None, validation_alias=AliasChoices("api_base", "base_url"), description="Base or full URL."
    )
    headers: dict[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="Added to each request. May hold secrets, so never dumped."
    )
    score_threshold: float | None = Field(default=None, description="Keep what scores this or more.")
    score_mode: ScoreMode = Field(default="raw", description="'raw', or 'unit' for scores within 0..1.")
    rank_fields: list[str] | None = Field(
        default=None, description="Rank on these metadata fields ('text' is the content) instead of the content."
    )
    instruction: str | None = Field(default=None, description="For models that take one.")
    truncate: str | None = Field(default=None, description="For example 'END' at NVIDIA NIM.")
    options: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="Further options of the provider's own, and settings of its connection.",
    )
    credentials: dict[str, Any] | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Settings that are secret, such as aws_secret_access_key. Never dumped.",
    )
    timeout: float | None = Field(default=60.0, gt=0, description="Seconds for a whole call; None for no limit.")
    max_retries: int = Field(
        default=2,
        ge=0,
        validation_alias=AliasChoices("max_retries", "num_retries"),
        description="Tries after the first one.",
    )
    batch_size: int | None = Field(default=None, ge=1, description="Documents in one request.")
    max_concurrency: int = Field(default=8, ge=1, description="Requests of one call under way at once.")
    dedupe: bool = Field(default=False, description="Send equal texts once; every copy gets the score.")
    allow_split: bool = Field(default=False, description="Let a listwise model be split into batches.")
    fallbacks: list[str | Reranker] = Field(
        default_factory=list,
        description="Models or Rerankers to try in order when this one fails. No dump can hold a Reranker.",
    )
    on_error: OnError = Field(default="raise", description="'passthrough' hands back the incoming order.")
    fuse: Literal["auto", "rrf"] | None = Field(
        default="auto", description="'rrf' fuses with the incoming order; 'auto' does so for local/lexical alone."
    )
    extra_body: dict[str, Any] | None = Field(default=None, description="Merged into the request's JSON.")
    drop_params: bool = Field(default=False, description="Leave out options that the provider does not have.")
    user: str | None = Field(default=None, description="End user.")
    metadata: dict[str, Any] | None = Field(
        default=None, description="Tags of every call, for hooks, the ledger and spans. Dumps show them."
    )
    hooks: list[Any] = Field(
        default_factory=list, exclude=True, repr=False, description="Functions that get every call when it is over."
    )
    guardrails: list[Any] = Field(
        default_factory=list,
        exclude=True,
        repr=False,
        description="Functions that get the query first and return it, changed or not, or raise; see "
        "anyrerank.guardrails. The run and the events of the rerank hold the query as they leave it; what a framework "
        "traces around it does not.",
    )
    cache: Cache | None = Field(
        default=None, exclude=True, repr=False, description="Where scores are kept, such as MemoryCache()."
    )
    budget: Budget | None = Field(default=None, exclude=True, repr=False, description="What may be spent.")
    user_budget: Budget | None = Field(
        default=None, exclude=True, repr=False, description="What may be spent for each end user."
    )
    input_cost_per_query: float | None = Field(default=None, ge=0, description="US dollars for a search unit.")
    input_cost_per_token: float | None = Field(default=None, ge=0, description="US dollars for a token.")
    prices: str | Path | dict[str, dict[str, Any]] | None = Field(
        default=None, description="Prices in LiteLLM's format."
    )
    keep_retrieval_score: bool = Field(default=False, description="Keep the incoming score as 'retrieval_score'.")
    reranker: BaseReranker | Router | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description="A ready one, or a Router, instead of a model and its options.",
    )
    http_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.Client or AsyncClient to use as it is."
    )

    _made: tuple[tuple[Any, ...], Reranker] | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _sorted_in(cls, given: Any) -> Any:
        """The provider's own options and settings, which may be given by name, under `options` and `credentials`."""
        if not isinstance(given, dict) or given.get("reranker") is not None:
            return given
        usual = {name: cls.model_fields[name].default for name in ("model", "provider")}
        model = given.get("model", usual["model"])
        own = (given.get(name) or {} for name in ("options", "credentials"))
        if not isinstance(model, str) or not all(isinstance(each, dict) for each in own):
            return given
        kind = provider_class(model, given.get("provider") or given.get("custom_llm_provider") or usual["provider"])
        sorted_in = dict(given)
        for name in given.keys() & (kind.options | kind.settings.keys()) - cls.model_fields.keys():
            secret = name in kind.settings and kind.settings[name].secret
            where = "credentials" if secret else "options"
            sorted_in[where] = {**(sorted_in.get(where) or {}), name: sorted_in.pop(name)}
        return sorted_in

    @field_validator("options", "credentials", mode="after")
    @classmethod
    def _no_fields(cls, value: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        if fields := sorted((value or {}).keys() & cls.model_fields.keys()):
            raise ValueError(f"{', '.join(fields)}: a field of its own, not one of {info.field_name}")
        return value

    @field_serializer("options")
    def _without_secrets(self, options: dict[str, Any]) -> dict[str, Any]:
        """What was put into `options` afterwards may be secret too."""
        secret = self._secrets_in_options()
        return {name: value for name, value in options.items() if name not in secret}

    @field_serializer("prices")
    def _as_text(self, prices: str | Path | dict[str, dict[str, Any]] | None) -> str | dict[str, dict[str, Any]] | None:
        return str(prices) if isinstance(prices, Path) else prices

    @field_serializer("api_base")
    def _without_query_secrets(self, api_base: str | None) -> str | None:
        self._check_base()
        return api_base

    @field_validator("api_base", mode="after")
    @classmethod
    def _without_login(cls, value: str | None) -> str | None:
        if value and "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError("a login in api_base would show in dumps: put it into headers, as an Authorization header")
        return value or None

    @model_validator(mode="after")
    def _complete(self) -> RerankFields:
        routed = isinstance(self.reranker, Router)
        if (self.model is None) == (self.reranker is None) and not routed:
            raise ValueError("give either model='provider/model' or reranker=Reranker(...)")
        if shown := self._secrets_in_options():
            raise ValueError(f"{', '.join(shown)}: secret, and options show in dumps; put it into credentials instead")
        if self.reranker is not None and (set_here := self._set_beside_reranker()):
            raise ValueError(f"{', '.join(set_here)}: a ready reranker has its own; set them where it is made")
        self._core()
        return self

    @property
    def _provider_model(self) -> str | None:
        """`provider/model`, unless there is a ready reranker, which knows its own."""
        return self.model if self.reranker is None else None

    def _secrets_in_options(self) -> list[str]:
        kinds = [] if self._provider_model is None else [provider_class(self._provider_model, self.provider)]
        kinds += [provider_class(fallback) for fallback in self.fallbacks if isinstance(fallback, str)]
        secret = {name for kind in kinds for name, setting in kind.settings.items() if setting.secret}
        return sorted(secret & self.options.keys())

    def _set_beside_reranker(self) -> list[str]:
        fields = RerankFields.model_fields
        allowed = {"reranker", "top_n", "fuse", "keep_retrieval_score", "user", "metadata"}
        allowed |= {"model"} if isinstance(self.reranker, Router) else set()
        return sorted(
            name
            for name in self.model_fields_set & fields.keys() - allowed
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        )

    def _core(self) -> BaseReranker:
        """The `Reranker` of the fields as they are now; made anew when one was changed or copied with an update."""
        if self.reranker is not None:
            if self.guardrails or self.hooks:
                raise ConfigurationError("guardrails, hooks: a ready reranker has its own; set them where it is made")
            return self.reranker.named(self.model) if isinstance(self.reranker, Router) else self.reranker
        fields = _OF_RERANKER(self.__dict__)
        if self._made is None or self._made[0] != fields:
            as_they_are = tuple(value.copy() if isinstance(value, dict | list) else value for value in fields)
            self._made = (as_they_are, Reranker(**self._arguments()))
        return self._made[1]

    def _arguments(self) -> dict[str, Any]:
        shared = {name: getattr(self, name) for name in RerankFields.model_fields if name not in _NOT_ARGUMENTS}
        key = self.api_key.get_secret_value() if isinstance(self.api_key, SecretStr) else self.api_key
        own = {**self.options, **(self.credentials or {})}
        return {**shared, **own, "api_key": key, "custom_llm_provider": self.provider}

    def _call_options(self, core: BaseReranker, own: Mapping[str, Any]) -> dict[str, Any]:
        """What this call overrides of `core`; a ready one keeps its own options in all else.

        Args:
            own: What the call says for itself, which wins.
        """
        fields: dict[str, Any] = {"fuse": core.pipeline_fuse if self.fuse == "auto" else self.fuse}
        if self.top_n is not None:
            fields["top_n"] = self.top_n
        if self.reranker is not None:
            fields |= self._beside_reranker(core)
        return {**fields, **own, "return_documents": False}

    def _beside_reranker(self, core: BaseReranker) -> dict[str, Any]:
        """Whom a call is for, as the fields say it beside a ready reranker: over what that was made with."""
        around = attributes(None)
        found: dict[str, Any] = {}
        if self.user is not None and around.get("user") is None:
            found["user"] = self.user
        if self.metadata:
            found["metadata"] = {**(core.options.metadata or {}), **self.metadata, **around.get("metadata", {})}
        return found

    def _unwritable(self) -> list[str]:
        """The fields that no text can hold and that are not left out of one: what is restored would not be the same."""
        found = [name for name in ("text_fn", "reranker") if getattr(self, name, None) is not None]
        found += ["fallbacks"] if not all(isinstance(each, str) for each in self.fallbacks) else []
        return found + (["provider"] if isinstance(self.provider, type) else [])

    def _check_base(self) -> None:
        """Raise when the query string of `api_base` would show a secret in a dump."""
        given = parse_qsl((self.api_base or "").partition("?")[2], keep_blank_values=True)
        if shown := sorted({name for name, _ in given if _SECRET_WORDS & set(_WORDS.split(name.lower()))}):
            raise ConfigurationError(
                f"api_base cannot be written down with {', '.join(shown)} in its query string, which looks like a "
                "secret: give it as headers= or credentials="
            )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields; without the query string of `api_base`, which may hold a key."""
        for name, value in super().__repr_args__():
            yield name, value.partition("?")[0] if name == "api_base" and isinstance(value, str) else value

    def __eq__(self, other: object) -> bool:
        """Whether all options agree; what was made of them, or was put in by an engine, does not count."""
        if type(self) is not type(other):
            return NotImplemented
        names = type(self).model_fields.keys() - {"callback_manager"}
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy that sends through the same client, if the caller gave one: clients cannot be copied."""
        memo = {} if memo is None else memo
        memo[id(self.http_client)] = self.http_client
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """The options without an engine's callback manager; fails for what cannot be pickled, rather than lose it."""
        state = BaseModel.__getstate__(self)
        fields = {name: value for name, value in state["__dict__"].items() if name != "callback_manager"}
        return {**state, "__dict__": fields, "__pydantic_private__": {"_made": None}}

    __hash__ = None  # type: ignore[assignment]


_NOT_ARGUMENTS = frozenset({"reranker", "keep_retrieval_score", "fuse", "options", "credentials", "provider"})
_OF_RERANKER = itemgetter(*RerankFields.model_fields.keys() - {"reranker", "keep_retrieval_score", "fuse"})
_WORDS = re.compile("[^a-z]+")
_SECRET_WORDS = frozenset({"key", "apikey", "token", "code", "sig", "signature", "secret", "password"})


@dataclass(frozen=True, slots=True)
class Admitted:
    """A query that the guardrails have seen, or refused.

    Attributes:
        query: What the core is handed.
        shown: What runs and events hold: the query as the guardrails left it; empty when they refused it.
        overrides: What they leave to the core.
        refused: Whether the core will raise what a guardrail raised.
    """

    query: str
    shown: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False


def admitted(query: str, options: Options) -> Flow[Admitted]:
    """Ask the guardrails of a call within its time, before anything is traced: no trace holds what they take out.

    What they raise is raised by the core, so that its hooks and its log hear of it.
    """
    if not options.guardrails:
        return Admitted(query, query)
    deadline = None if options.timeout is None else monotonic() + options.timeout
    try:
        left = yield from within(guarded(query, options.guardrails), deadline, monotonic)
    except (GuardrailRaisedError, ConfigurationError, APITimeoutError) as error:
        return Admitted(query, "", {"guardrails": (partial(_refuse, error),)}, refused=True)
    overrides: dict[str, Any] = {"guardrails": ()}
    if deadline is not None:
        overrides["timeout"] = max(deadline - monotonic(), _NO_TIME)
    return Admitted(left, left, overrides)


_NO_TIME = 1e-9
"""Seconds with which a call times out before it sends anything; 0 is no timeout."""


def _refuse(error: Exception, _: str) -> NoReturn:
    raise error


def listed(found: Iterable[T]) -> list[T]:
    """What a caller hands in, as something that can be read more than once."""
    return found if isinstance(found, list) else list(found)


def projected(document: Mapping[str, Any], rank_fields: Sequence[str]) -> dict[str, str]:
    """The `rank_fields` of a document as texts, and nothing else of it."""
    return {name: str(document[name]) for name in rank_fields if document.get(name) is not None}


def usage_of(response: RerankResponse) -> dict[str, Any]:
    """What a trace says of a call besides its documents: no text in it, and no number that is not known."""
    billed, tokens = response.meta.billed_units, response.meta.tokens
    known = {
        "search_units": billed and billed.search_units,
        "total_tokens": billed and billed.total_tokens,
        "input_tokens": tokens and tokens.input_tokens,
        "output_tokens": tokens and tokens.output_tokens,
        "total_cost": response.cost,
        "cached": response.cached or None,
        "saved": response.saved if response.cached else None,
        "model_group": response.model_group,
        "request_id": response.request_id,
    }
    return {
        "provider": response.provider,
        "model": response.model,
        "latency": response.latency,
        "attempts": len(response.attempts),
        "degraded": response.degraded,
        **{name: value for name, value in known.items() if value is not None},
    }


def image_data_url(data: str, media_type: str | None) -> str:
    """A data URL of base64 `data`, or `data` itself when it is an address already.

    Args:
        media_type: By default what the first bytes say.
    """
    if data.startswith(("data:", "http://", "https://")):
        return data
    seen = next((kind for start, kind in _FIRST_BYTES.items() if data.startswith(start)), "image/png")
    return f"data:{media_type or seen};base64,{data}"


_FIRST_BYTES = {
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "Qk": "image/bmp",
    "SUkqA": "image/tiff",
    "TU0AK": "image/tiff",
}
"""How the signatures of the formats begin in base64."""


M = TypeVar("M", bound=BaseModel)
_set_fields_set, _set_private, _set_extra = (
    vars(BaseModel)[name].__set__ for name in ("__pydantic_fields_set__", "__pydantic_private__", "__pydantic_extra__")
)


def unchecked(kinds: Iterable[type[M]], fields: Iterable[dict[str, Any]], fields_set: Iterable[set[str]]) -> list[M]:
    """Models of values that are known to be right, for half of what their own ways of copying and making them take.

    Making them is most of what reranking a thousand documents costs in an adapter; by the column it is cheapest.

    Args:
        kinds: Class of each, without private attributes and extra fields.
        fields: The value of every field of each; becomes the model's own.
        fields_set: The fields that count as given, of each; becomes the model's own.
    """
    made = list(map(object.__new__, kinds))
    for step in (
        map(object.__setattr__, made, repeat("__dict__"), fields),
        map(_set_fields_set, made, fields_set),
        map(_set_private, made, repeat(None)),
        map(_set_extra, made, repeat(None)),
    ):
        deque(step, maxlen=0)
    return made
