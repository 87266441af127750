"""What one version of the configuration serves: a router, its names, and the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyrerank._core.client import BaseReranker, Router
from anyrerank._core.types import Scale
from anyrerank.errors import BadRequestError
from anyrerank.gateway.caller import Access, Caller
from anyrerank.gateway.errors import GatewayError, bad_request
from anyrerank.gateway.isolation import Isolation
from anyrerank.gateway.settings import GatewaySettings

_MOST_FALLBACKS = 5
"""Each is asked in turn, and the limits of a key count the request once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A reload replaces it as a whole.

    Attributes:
        router: Answers the calls.
        settings: Those of the gateway.
        access: Finds out who calls.
        unavailable: Names that have no deployment left, and why.
        isolation: Gives each caller a cache of its own, if the settings say so.
    """

    router: Router
    settings: GatewaySettings
    access: Access
    unavailable: Mapping[str, str] = field(default_factory=dict)
    isolation: Isolation | None = None

    def names(self, caller: Caller) -> list[str]:
        """The names that a caller may use."""
        return [name for name in self.router.model_names if caller.may_use(name)]

    def model(self, name: str | None, caller: Caller, others: Sequence[str] = ()) -> tuple[str, BaseReranker]:
        """The model that a request names, or the default, and the name that it has here.

        Args:
            name: As in the request.
            caller: Who asks.
            others: Names to try if there is no such model.

        Raises:
            GatewayError: There is none, or the caller may not use it.
        """
        named = () if name is None else (name, *others)
        for candidate in [each for given in named for each in _spellings(given)] or [self._default(caller)]:
            if candidate in self.unavailable:
                raise GatewayError(kind="unavailable", message=self.unavailable[candidate])
            try:
                reranker = self.router.as_reranker(candidate)
            except BadRequestError:
                continue
            if caller.may_use(candidate):
                return candidate, reranker
            raise GatewayError(
                kind="permission_error",
                message=f"this key may not use the model {candidate!r}; it may use {self._listed(caller)}",
                param="model",
            )
        shown = "" if name is None else f" {name[:80]!r}"
        raise GatewayError(
            kind="unknown_model",
            message=f"there is no model{shown}; this key may use {self._listed(caller)}",
            param="model",
        )

    def with_fallbacks(self, name: str, fallbacks: Sequence[str], caller: Caller) -> BaseReranker:
        """A model with the fallbacks of a request in the place of its own.

        Raises:
            GatewayError: There is no such fallback, the caller may not use it, or there are too many.
        """
        if len(fallbacks) > _MOST_FALLBACKS:
            raise bad_request(f"fallbacks may name {_MOST_FALLBACKS} models, got {len(fallbacks)}", "fallbacks")
        names = dict.fromkeys(self.model(each, caller)[0] for each in fallbacks)
        return self.router.as_reranker(name, [each for each in names if each != name])

    def _default(self, caller: Caller) -> str:
        mine = [name for name in self.names(caller) if "*" not in name]
        if self.settings.default_model is not None and (self.settings.default_model in mine or not mine):
            return self.settings.default_model
        return mine[0] if mine else ""

    def _listed(self, caller: Caller) -> str:
        return ", ".join(self.names(caller)) or "none"


def check_scales(scales: Collection[Scale], settings: GatewaySettings) -> None:
    """Raise if the scores of a model and its fallbacks have different scales, and the settings refuse that.

    Raises:
        GatewayError: They do.
    """
    if settings.allow_score_scale_change is False and len(scales) > 1 and "unknown" in scales:
        raise bad_request(
            f"the scores of this model and its fallbacks have different scales ({', '.join(sorted(scales))}), which "
            "allow_score_scale_change: false refuses"
        )


def _spellings(name: str) -> list[str]:
    """The names that a client may mean: `/` as `___`, or with a prefix that it adds itself."""
    plain = name.replace("___", "/")
    found = [name, plain, *([plain.partition("/")[2]] if "/" in plain else [])]
    return list(dict.fromkeys(filter(None, found)))


def options_of_call(service: Service, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call, where a `timeout` may only shorten that of the gateway."""
    given = dict(options)
    limit = service.router.timeout
    if "timeout" in given and limit is not None:
        given["timeout"] = min(given["timeout"], limit)
    return given
