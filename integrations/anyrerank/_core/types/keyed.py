"""The base class of responses: a frozen model with access by key, as in LiteLLM."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class KeyedModel(BaseModel):
    """A frozen model with access by key: `response["results"]`, `meta.get("tokens")`, `{**response}`.

    As in LiteLLM, `in` and `get` treat a field that is `None` as missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def keys(self) -> list[str]:
        """The names of all fields."""
        return list(type(self).model_fields)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a field, or `default` if it is `None` or does not exist."""
        value = getattr(self, key) if key in type(self).model_fields else None
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)
