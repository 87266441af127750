"""The fields that the adapters of all frameworks have, and the `Reranker` made of them."""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    field_serializer,
    model_validator,
)
from typing_extensions import Self

from anyrerank._adapters.secrets import check_query_string, has_login, secret_options
from anyrerank._core.client import BaseReranker, Reranker, Router, attributes
from anyrerank._core.engine import ALIASES, RerankerOptions, problem, provider_class
from anyrerank.errors import BadRequestError, ConfigurationError
from anyrerank.providers import Provider


class RerankFields(RerankerOptions):
    """The options of `anyrerank.Reranker` as fields.

    Nothing is sent and no key is needed to make one: a missing key is an error of the first call.
    """

    model_config = ConfigDict(frozen=False, populate_by_name=True)

    model: str | None = None
    """`provider/model`; needed unless `reranker` is given. One of the names of a router."""
    provider: str | type[Provider] | None = Field(
        default=None, validation_alias=AliasChoices("provider", "custom_llm_provider")
    )
    """The provider, if `model` does not name it; or a `Provider` class, which no dump can hold."""
    options: dict[str, Any] | None = Field(default=None, repr=False)
    """Options of the provider that have no field here, and settings of its connection. Dumps show them."""
    credentials: dict[str, Any] | None = Field(default=None, exclude=True, repr=False)
    """Settings of the connection that are secret, such as `aws_secret_access_key`. Never dumped."""
    fuse: Literal["auto", "rrf"] | None = "auto"
    """`"rrf"` fuses the reranker's order with the incoming one; `"auto"` does so for `local/lexical` only."""
    keep_retrieval_score: bool = False
    """Keep the incoming score as `retrieval_score`."""
    reranker: BaseReranker | Router | None = Field(default=None, exclude=True, repr=False)
    """A `Reranker` or `Router` to use, instead of a model and its options."""

    _made: tuple[tuple[Any, ...], Reranker] | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Raise our errors in place of pydantic's."""
        try:
            return handler(cls._sorted_in(given) if isinstance(given, dict) else given)
        except ValidationError as error:
            raise BadRequestError(problem(error, cls, given if isinstance(given, dict) else {})) from None

    @classmethod
    def _sorted_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        """`given` with our names, and with provider options under `options` and secret settings under `credentials`."""
        plain = {ALIASES.get(name, name): value for name, value in given.items()}
        if plain.get("reranker") is not None:
            return plain
        usual = {name: cls.model_fields[name].default for name in ("model", "provider")}
        model = plain.get("model", usual["model"])
        if not isinstance(model, str):
            return plain
        kind = provider_class(model, plain.get("provider") or plain.get("custom_llm_provider") or usual["provider"])
        for name in plain.keys() & (kind.options | kind.settings.keys()) - cls.model_fields.keys():
            secret = name in kind.settings and kind.settings[name].secret
            where = "credentials" if secret else "options"
            plain[where] = {**(plain.get(where) or {}), name: plain.pop(name)}
        return plain

    @model_validator(mode="after")
    def _complete(self) -> Self:
        routed = isinstance(self.reranker, Router)
        if (self.model is None) == (self.reranker is None) and not routed:
            raise ValueError("pass either model='provider/model' or reranker=Reranker(...)")
        for where in ("options", "credentials"):
            if fields := sorted((getattr(self, where) or {}).keys() & type(self).model_fields.keys()):
                raise ValueError(f"{where} must not hold {', '.join(fields)}: pass it by its own name")
        if secret := self._secret_options():
            raise ValueError(f"options must not hold {', '.join(secret)}, as dumps show them: use credentials")
        if has_login(self.api_base):
            raise ValueError("api_base must not hold a login, as dumps show it: use an Authorization header in headers")
        if self.reranker is not None and (others := self._set_with_reranker()):
            raise ValueError(f"{', '.join(others)} cannot be set with reranker=: set it where the reranker is made")
        self._core()
        return self

    @field_serializer("options")
    def _without_secrets(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        """`options` may have got a secret after validation."""
        secret = self._secret_options()
        return None if options is None else {name: value for name, value in options.items() if name not in secret}

    @field_serializer("prices")
    def _prices_as_json(self, prices: Any) -> Any:
        return prices if isinstance(prices, Mapping | None) else str(prices)

    @field_serializer("api_base")
    def _without_query_secrets(self, api_base: str | None) -> str | None:
        check_query_string(api_base)
        return api_base

    def _secret_options(self) -> list[str]:
        return secret_options(self.options or {}, self._provider_model, self.provider, self.fallbacks)

    @property
    def _provider_model(self) -> str | None:
        """`provider/model`, unless a `reranker` knows its own."""
        return self.model if self.reranker is None else None

    def _set_with_reranker(self) -> list[str]:
        """The fields that a ready reranker has itself, if they differ from their defaults."""
        fields = RerankFields.model_fields
        allowed = {"reranker", "top_n", "fuse", "keep_retrieval_score", "user", "metadata"}
        allowed |= {"model"} if isinstance(self.reranker, Router) else set()
        candidates = self.model_fields_set & fields.keys() - allowed
        return sorted(name for name in candidates if getattr(self, name) != fields[name].default)

    def _core(self) -> BaseReranker:
        """The reranker of the fields as they are now: a new one if a field was changed since the last call."""
        if self.reranker is not None:
            if self.guardrails or self.hooks:
                raise ConfigurationError("guardrails and hooks cannot be set with reranker=: set them where it is made")
            return self.reranker.as_reranker(self.model) if isinstance(self.reranker, Router) else self.reranker
        fields = _FIELDS(self.__dict__)
        if self._made is None or self._made[0] != fields:
            snapshot = tuple(value.copy() if isinstance(value, dict | list) else value for value in fields)
            self._made = (snapshot, Reranker(**self._arguments()))
        return self._made[1]

    def _arguments(self) -> dict[str, Any]:
        shared = {name: getattr(self, name) for name in RerankFields.model_fields if name not in _NOT_ARGUMENTS}
        own = {**(self.options or {}), **(self.credentials or {})}
        return {**shared, **own, "custom_llm_provider": self.provider}

    def _overrides(self, core: BaseReranker, own: Mapping[str, Any]) -> dict[str, Any]:
        """What a call overrides of `core`.

        Args:
            core: Who is asked.
            own: Options of the call itself, which win over the fields.
        """
        overrides: dict[str, Any] = {"fuse": core.options.fuse or "auto" if self.fuse == "auto" else self.fuse}
        if self.top_n is not None:
            overrides["top_n"] = self.top_n
        if self.reranker is not None:
            overrides |= self._whom_for(core)
        return {**overrides, **own, "return_documents": False}

    def _whom_for(self, core: BaseReranker) -> dict[str, Any]:
        """`user` and `metadata` of the fields, in place of those of a ready reranker."""
        around = attributes(None)
        found: dict[str, Any] = {}
        if self.user is not None and around.get("user") is None:
            found["user"] = self.user
        if self.metadata:
            found["metadata"] = {**(core.options.metadata or {}), **self.metadata, **around.get("metadata", {})}
        return found

    def _undumpable(self) -> list[str]:
        """The fields that a dump cannot hold and must not leave out."""
        found = [name for name in ("text_fn", "reranker") if getattr(self, name, None) is not None]
        found += ["fallbacks"] if not all(isinstance(each, str) for each in self.fallbacks) else []
        return found + (["provider"] if isinstance(self.provider, type) else [])

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones."""
        if self._made is not None:
            self._made[1].close()

    async def aclose(self) -> None:
        """Close the connections of calls on the running event loop, and those of synchronous calls."""
        if self._made is not None:
            await self._made[1].aclose()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields; without the query string of `api_base`, which may hold a key."""
        for name, value in super().__repr_args__():
            yield name, value.partition("?")[0] if name == "api_base" and isinstance(value, str) else value

    def __eq__(self, other: object) -> bool:
        """Whether all options are equal."""
        if type(self) is not type(other):
            return NotImplemented
        names = type(self).model_fields.keys() - {"callback_manager"}
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy that sends with the same `http_client`, which cannot be copied."""
        memo = {} if memo is None else memo
        memo[id(self.http_client)] = self.http_client
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """The fields, without the callback manager of an engine."""
        state = BaseModel.__getstate__(self)
        fields = {name: value for name, value in state["__dict__"].items() if name != "callback_manager"}
        return {**state, "__dict__": fields, "__pydantic_private__": {"_made": None}}

    __hash__ = None  # type: ignore[assignment]


_NOT_ARGUMENTS = frozenset({"reranker", "keep_retrieval_score", "fuse", "options", "credentials", "provider"})
_FIELDS = itemgetter(*RerankFields.model_fields.keys() - {"reranker", "keep_retrieval_score", "fuse"})
