"""The usage that a response reports."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict

from anyrerank._core.types.public import public

T = TypeVar("T")


class _Known(dict[str, Any]):
    """A dict of what is known, as in LiteLLM; every field is an attribute too, `None` if it is not known."""

    __slots__ = ()

    _row: ClassVar[Any]
    """The fields, for validation."""

    def __init__(self, **fields: Any) -> None:
        unknown = fields.keys() - self._row.__annotations__.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        super().__init__((name, value) for name, value in fields.items() if value is not None)

    def __missing__(self, key: str) -> None:
        if key not in self._row.__annotations__:
            raise KeyError(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), dict(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda value, validate: value if isinstance(value, cls) else cls(**validate(value)),
            handler.generate_schema(cls._row),
        )


def _restored(kind: type[T], fields: dict[str, Any]) -> T:
    return kind(**fields)


class _BilledUnitsRow(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    search_units: int | float | None
    total_tokens: int | float | None


@public("anyrerank")
class BilledUnits(_Known):
    """What the provider bills for: a dict of the numbers that it reports, which are attributes too.

    Attributes:
        search_units: Number of search units, or `None`.
        total_tokens: Number of tokens, or `None`.
    """

    __slots__ = ()
    _row = _BilledUnitsRow

    if TYPE_CHECKING:

        def __init__(self, *, search_units: float | None = None, total_tokens: float | None = None) -> None: ...

    @property
    def search_units(self) -> int | float | None:
        """Number of search units, or `None`."""
        return self.get("search_units")

    @property
    def total_tokens(self) -> int | float | None:
        """Number of tokens, or `None`."""
        return self.get("total_tokens")


class _TokensRow(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    input_tokens: int | float | None
    output_tokens: int | float | None


@public("anyrerank")
class Tokens(_Known):
    """Tokens that the provider read and wrote: a dict of the numbers that it reports, which are attributes too.

    Attributes:
        input_tokens: Tokens that the model read, or `None`.
        output_tokens: Tokens that the model wrote, or `None`.
    """

    __slots__ = ()
    _row = _TokensRow

    if TYPE_CHECKING:

        def __init__(self, *, input_tokens: float | None = None, output_tokens: float | None = None) -> None: ...

    @property
    def input_tokens(self) -> int | float | None:
        """Tokens that the model read, or `None`."""
        return self.get("input_tokens")

    @property
    def output_tokens(self) -> int | float | None:
        """Tokens that the model wrote, or `None`."""
        return self.get("output_tokens")


class _MetaRow(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    api_version: dict[str, Any] | None
    billed_units: BilledUnits | None
    tokens: Tokens | None
    warnings: list[str] | None
    estimated: bool | None


@public("anyrerank")
class Meta(_Known):
    """Usage, and warnings of the provider: a dict of what is known, as in LiteLLM, whose fields are attributes too.

    Attributes:
        api_version: What the provider reports of its API, or `None`.
        billed_units: What is billed, or `None`.
        tokens: Tokens, or `None`.
        warnings: Warnings of the provider.
        estimated: Whether the numbers are estimated, because the provider reports none.
    """

    __slots__ = ()
    _row = _MetaRow

    def __init__(
        self,
        *,
        api_version: Mapping[str, Any] | None = None,
        billed_units: BilledUnits | None = None,
        tokens: Tokens | None = None,
        warnings: Any = (),
        estimated: bool | None = False,
    ) -> None:
        super().__init__(
            api_version=None if api_version is None else dict(api_version),
            billed_units=billed_units,
            tokens=tokens,
            warnings=list(warnings or ()) or None,
            estimated=estimated or None,
        )

    @property
    def api_version(self) -> Mapping[str, Any] | None:
        """What the provider reports of its API, or `None`."""
        return self.get("api_version")

    @property
    def billed_units(self) -> BilledUnits | None:
        """What is billed, or `None`."""
        return self.get("billed_units")

    @property
    def tokens(self) -> Tokens | None:
        """Tokens, or `None`."""
        return self.get("tokens")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the provider."""
        return tuple(self.get("warnings", ()))

    @property
    def estimated(self) -> bool:
        """Whether the numbers are estimated, because the provider reports none."""
        return bool(self.get("estimated"))


def default_search_units(documents: int) -> int:
    """Search units of a request, if the provider reports none: one for every 100 documents."""
    return math.ceil(documents / 100)


def reported_tokens(meta: Meta) -> int | float | None:
    """The billed tokens of a request, else the tokens that were read; `None` if the provider reports neither."""
    billed, tokens = meta.billed_units, meta.tokens
    return (billed and billed.total_tokens) or (tokens and tokens.input_tokens) or None
