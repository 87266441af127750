"""The fields that the adapters share, from which they create a `Reranker`."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, WithJsonSchema, field_serializer
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self

from anyrerank._adapters.checked import CheckedModel
from anyrerank._adapters.secrets import check_query_string, has_login
from anyrerank._core.client import BaseReranker, Reranker, Router, attributes
from anyrerank._core.engine import Fuse, RerankerOptions, provider_class, two_values, unknown_option, without_aliases
from anyrerank.errors import ConfigurationError, InvalidArgumentError, RerankError
from anyrerank.providers import Provider

_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}]}


class RerankFields(RerankerOptions, CheckedModel):
    """The options of `anyrerank.Reranker` as fields.

    The constructor sends nothing and needs no key; a missing key is an error of the first call.

    Raises:
        BadRequestError: Unknown option, or a value that an option cannot have.
        ConfigurationError: Unknown provider.
    """

    model_config = ConfigDict(frozen=False)

    model: str | None = None
    """`provider/model`, or the bare model with `provider`; required unless `reranker` is given.

    With a `Router` as `reranker`, one of its model names.
    """
    provider: Annotated[str | type[Provider] | None, WithJsonSchema(_TEXT)] = None
    """The provider, if `model` does not name it; or a `Provider` class, which cannot be dumped.

    `custom_llm_provider` is another name for it.
    """
    options: dict[str, Any] | None = Field(default=None, repr=False)
    """Options of the provider that have no field here, and settings of its connection. Dumps show them."""
    credentials: dict[str, Any] | None = Field(default=None, exclude=True, repr=False)
    """Secret settings of the connection, such as `aws_secret_access_key`. Never dumped."""
    fuse: Fuse | None = "auto"
    """`"rrf"` to fuse the reranker's order with the incoming one by reciprocal rank (k = 60); scores are then fused.

    `"auto"` does so for `local/lexical` only.
    """
    keep_retrieval_score: bool = False
    """Keep the incoming score in the metadata, as `retrieval_score`."""
    model_key: str | None = None
    """Key in the metadata for the `provider/model` that ranked the documents; by default it is not stored.

    After a fallback it is the model that answered; with `degraded` results it is `None`.
    """
    reranker: Annotated[BaseReranker | Router | None, SkipJsonSchema()] = Field(default=None, exclude=True)
    """A `Reranker` or `Router` to use, instead of a model and its options. It is never closed here."""

    _made: tuple[tuple[Any, ...], Reranker] | None = PrivateAttr(default=None)
    _set_by_framework: ClassVar[frozenset[str]] = frozenset()
    """Fields that are left out of comparisons and pickles."""

    def __init__(self, /, **fields: Any) -> None:
        super().__init__(**self._sorted_in(fields))
        self._check()
        self._core()

    @classmethod
    def _sorted_in(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` under our names, with options of the provider in `options` and secret settings in `credentials`."""
        plain = without_aliases(given)
        if (named := plain.pop("custom_llm_provider", None)) is not None:
            if plain.get("provider") not in (None, named):
                raise two_values("provider", "custom_llm_provider")
            plain["provider"] = named
        model, provider = (plain.get(name, cls.model_fields[name].default) for name in ("model", "provider"))
        if plain.get("reranker") is not None or not isinstance(model, str):
            return plain
        kind = provider_class(model, provider)
        secret = {name for name, setting in kind.settings.items() if setting.secret}
        known = cls.model_fields.keys() | kind.options | kind.settings.keys()
        for name in plain.keys() - cls.model_fields.keys():
            if name not in known:
                raise InvalidArgumentError(unknown_option(name, cls, known))
            where = "credentials" if name in secret else "options"
            plain[where] = {**(plain.get(where) or {}), name: plain.pop(name)}
        return plain

    def _check(self) -> None:
        """Refuse fields that contradict each other, and secrets that a dump would show."""
        if (self.model is None) == (self.reranker is None) and not isinstance(self.reranker, Router):
            raise InvalidArgumentError("pass either model='provider/model' or reranker=Reranker(...)")
        if self.reranker is not None and (others := self._set_with_reranker()):
            raise InvalidArgumentError(f"{', '.join(others)} cannot be set with reranker=: set it where that is made")
        for where in ("options", "credentials"):
            if fields := sorted((getattr(self, where) or {}).keys() & self._fields_alone()):
                raise InvalidArgumentError(f"{where} must not hold {', '.join(fields)}: pass it by its own name")
        if secret := self._secret_options():
            raise InvalidArgumentError(
                f"options must not hold {', '.join(secret)}, as dumps show them: use credentials"
            )
        if has_login(self.api_base):
            raise InvalidArgumentError(
                "api_base must not hold a login, as dumps show it: use an Authorization header in headers"
            )

    def _fields_alone(self) -> set[str]:
        """The fields that are not options of the provider too."""
        return type(self).model_fields.keys() - (self._kind.options if self._kind else frozenset())

    @property
    def _kind(self) -> type[Provider] | None:
        """The provider class of `model`; `None` with a `reranker`, which has its own."""
        return None if self.model is None or self.reranker is not None else provider_class(self.model, self.provider)

    def _secret_options(self) -> list[str]:
        """The names in `options` that are secret settings of the provider, or of a fallback."""
        kinds = [self._kind, *(provider_class(each) for each in self.fallbacks if isinstance(each, str))]
        settings = {name: setting for kind in kinds if kind for name, setting in kind.settings.items()}
        return sorted(name for name in self.options or () if name in settings and settings[name].secret)

    @field_serializer("options")
    def _without_secrets(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        """`options` without secrets that were added after the check."""
        secret = self._secret_options()
        return None if options is None else {name: value for name, value in options.items() if name not in secret}

    @field_serializer("prices")
    def _prices_as_json(self, prices: Any) -> Any:
        return prices if isinstance(prices, Mapping | None) else str(prices)

    @field_serializer("api_base")
    def _without_query_secrets(self, api_base: str | None) -> str | None:
        check_query_string(api_base)
        return api_base

    def _set_with_reranker(self) -> list[str]:
        """The fields that belong to the reranker itself, if they differ from their defaults."""
        fields = RerankFields.model_fields
        allowed = {"reranker", "top_n", "fuse", "keep_retrieval_score", "model_key", "user", "metadata"}
        allowed |= {"model"} if isinstance(self.reranker, Router) else set()
        candidates = self.model_fields_set & fields.keys() - allowed
        return sorted(name for name in candidates if getattr(self, name) != fields[name].default)

    def _core(self) -> BaseReranker:
        """The reranker of the current fields: a new one if a field has changed since the last call.

        It reads the environment when it is created.
        """
        if self.reranker is not None:
            if self.guardrails or self.hooks:
                raise ConfigurationError(
                    "guardrails and hooks cannot be set with reranker=: set them where that is made"
                )
            return self.reranker.as_reranker(self.model) if isinstance(self.reranker, Router) else self.reranker
        fields = _FIELDS(self.__dict__)
        if self._made is None or self._made[0] != fields:
            snapshot = tuple(value.copy() if isinstance(value, dict | list) else value for value in fields)
            made = Reranker(**self._arguments())
            with suppress(RerankError):  # of the first call, if the environment is still incomplete then
                made.check()
            self._made = (snapshot, made)
        return self._made[1]

    def _arguments(self) -> dict[str, Any]:
        shared = {name: getattr(self, name) for name in RerankFields.model_fields if name not in _NOT_ARGUMENTS}
        own = {**(self.options or {}), **(self.credentials or {})}
        return {**shared, **own, "custom_llm_provider": self.provider}

    def _overrides(self, core: BaseReranker, own: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a call, in place of those of `core`.

        Args:
            core: The reranker that is called.
            own: Options of the call, which replace those of the fields.
        """
        overrides: dict[str, Any] = {"fuse": core.options.fuse or "auto" if self.fuse == "auto" else self.fuse}
        if self.top_n is not None:
            overrides["top_n"] = self.top_n
        if self.reranker is not None:
            overrides |= self._user_and_metadata(core)
        return {**overrides, **own, "return_documents": False}

    def _user_and_metadata(self, core: BaseReranker) -> dict[str, Any]:
        """`user` and `metadata` of the fields, which `core` does not have; `using_attributes` replaces them."""
        around = attributes(None)
        found: dict[str, Any] = {}
        if self.user is not None and around.get("user") is None:
            found["user"] = self.user
        if self.metadata:
            found["metadata"] = {**(core.options.metadata or {}), **self.metadata, **around.get("metadata", {})}
        return found

    def check_dumpable(self) -> None:
        """Refuse to dump fields that JSON cannot hold, and without which the copy would behave differently.

        Raises:
            ConfigurationError: There are guardrails, budgets, limits, a `text_fn`, a `reranker`, a `Reranker` among the
                fallbacks or a `Provider` class; or the query string of `api_base` seems to hold a secret.
        """
        if self.guardrails or self.budget or self.user_budget or self.limit:
            raise ConfigurationError("guardrails, budgets and limits cannot be dumped: dump a copy without them")
        if self.reranker is not None:
            raise ConfigurationError("a reranker or router cannot be dumped")
        if undumpable := self._undumpable():
            raise ConfigurationError(f"{', '.join(undumpable)} cannot be dumped: dump a copy without it")
        check_query_string(self.api_base)

    def _undumpable(self) -> list[str]:
        """The fields that change the result and cannot be dumped."""
        found = [name for name in ("text_fn", "reranker") if getattr(self, name, None) is not None]
        found += ["fallbacks"] if not all(isinstance(each, str) for each in self.fallbacks) else []
        return found + (["provider"] if isinstance(self.provider, type) else [])

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones.

        Those of a `reranker` that was passed in stay open.
        """
        if self._made is not None:
            self._made[1].close()

    async def aclose(self) -> None:
        """Close the connections of calls on the running event loop, and those of synchronous calls.

        Those of a `reranker` that was passed in stay open.
        """
        if self._made is not None:
            await self._made[1].aclose()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields that differ from their defaults; without the query string of `api_base`, which may hold a key."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if name is not None and name not in self._set_by_framework and value != fields[name].default:
                yield name, value.partition("?")[0] if name == "api_base" and isinstance(value, str) else value

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal."""
        if type(self) is not type(other):
            return NotImplemented
        names = type(self).model_fields.keys() - self._set_by_framework
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy with the same `http_client`, which cannot be copied."""
        memo = {} if memo is None else memo
        memo[id(self.http_client)] = self.http_client
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """The fields, and no connections."""
        state = BaseModel.__getstate__(self)
        fields = {name: value for name, value in state["__dict__"].items() if name not in self._set_by_framework}
        return {**state, "__dict__": fields, "__pydantic_private__": {"_made": None}}


_OF_THE_ADAPTER = frozenset({"reranker", "keep_retrieval_score", "model_key", "fuse"})
_NOT_ARGUMENTS = _OF_THE_ADAPTER | {"options", "credentials", "provider"}
_FIELDS = itemgetter(*RerankFields.model_fields.keys() - _OF_THE_ADAPTER)
