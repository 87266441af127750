"""The connection to a provider: its address, credentials and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from typing_extensions import Self

from anyrerank._core.types import public


@public("anyrerank.providers")
@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An argument of the connection besides key and base URL, such as a project or a region.

    Attributes:
        about: A short description.
        variables: Environment variables that may hold it; the first one that is set is used.
        secret: Whether no error, log or `repr` may show it.
        sent: Whether it is sent in a header, which limits its characters.
        same_as: The setting, or `api_base`, of which this is only another name.
    """

    about: str
    variables: tuple[str, ...] = ()
    secret: bool = False
    sent: bool = False
    same_as: str | None = None


@public("anyrerank.providers")
@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The address, credentials and settings of a provider. The `repr` shows nothing that may be secret.

    Attributes:
        model: Name of the model, without the provider's prefix.
        api_key: The API key.
        key_variable: Environment variable that the key came from; `None` for a key that was passed.
        api_base: The base URL.
        base_variable: Environment variable that the base URL came from; `None` for one that was passed.
        headers: Headers that were passed; they override the provider's own.
        settings: Values for the provider's `settings`, passed or from the environment.
        from_environment: Names of the settings that came from the environment.
    """

    model: str
    api_key: str | None = field(default=None, repr=False)
    key_variable: str | None = None
    api_base: str | None = field(default=None, repr=False)
    base_variable: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    from_environment: frozenset[str] = frozenset()

    def with_settings(self, **settings: Any) -> Self:
        """A copy in which these settings count as passed."""
        return replace(
            self, settings={**self.settings, **settings}, from_environment=self.from_environment - settings.keys()
        )
