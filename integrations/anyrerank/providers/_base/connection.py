"""Where a provider is, and how to authenticate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Something that a connection needs besides key and base URL, such as a project or a region."""

    about: str
    variables: tuple[str, ...] = ()
    """Environment variables that may hold it; the first that is set wins."""
    secret: bool = False
    sent: bool = False
    """Whether it goes into a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a provider is and how to get in. Nothing that may be secret is part of a `repr`."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    key_variable: str | None = None
    """The environment variable that the key came from; `None` when the caller gave it."""
    api_base: str | None = field(default=None, repr=False)
    base_variable: str | None = None
    """The environment variable that the base URL came from; `None` when the caller gave it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Those of the provider's `settings` that are known, from the caller or the environment."""
    from_environment: frozenset[str] = frozenset()
    """Names of the settings that came from the environment."""

    def holding(self, **settings: Any) -> Connection:
        """This connection with some settings found out."""
        return replace(
            self, settings={**self.settings, **settings}, from_environment=self.from_environment - settings.keys()
        )
