"""Access by key, as LiteLLM's answers have it."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class Keyed:
    """Access by key, as LiteLLM's answers have it: `response["results"]`, `result.get("document")`, `{**result}`.

    What is `None` is not there for `in` and `get`, as it would not be in LiteLLM's.
    """

    __slots__ = ()

    @classmethod
    def _names(cls) -> Iterable[str]:
        raise NotImplementedError

    def keys(self) -> list[str]:
        """The names of all that it has."""
        return list(self._names())

    def get(self, key: str, default: Any = None) -> Any:
        """What has this name, or `default` where there is nothing."""
        value = getattr(self, key) if key in self._names() else None
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)


class Value(Keyed, BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def _names(cls) -> Iterable[str]:
        return cls.model_fields
