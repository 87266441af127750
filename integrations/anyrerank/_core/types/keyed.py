"""Access by key, as in LiteLLM's responses."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class Keyed:
    """Access by key, as in LiteLLM's responses: `response["results"]`, `result.get("document")`, `{**result}`.

    As in LiteLLM, `in` and `get` treat a field that is `None` as missing.
    """

    __slots__ = ()

    @classmethod
    def _names(cls) -> Iterable[str]:
        raise NotImplementedError

    def keys(self) -> list[str]:
        """The names of all fields."""
        return list(self._names())

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a field, or `default` if it is `None` or does not exist."""
        value = getattr(self, key) if key in self._names() else None
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)


class Value(Keyed, BaseModel):
    """A frozen model with access by key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def _names(cls) -> Iterable[str]:
        return cls.model_fields
