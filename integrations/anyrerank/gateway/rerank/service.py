"""`Service`: the router, the settings and the keys of one version of the configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyrerank import providers
from anyrerank._core.client import BaseReranker, Router
from anyrerank._core.routing import NamedGuardrail, is_wildcard
from anyrerank._core.types import Scale
from anyrerank.errors import BadRequestError
from anyrerank.gateway.errors import GatewayError, bad_request
from anyrerank.gateway.rerank.caller import Access, Caller, matches
from anyrerank.gateway.rerank.isolation import Isolation
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.guardrails import Guardrail

_MOST_FALLBACKS = 5
"""Each is asked in turn, and the limits of a key count the request once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """The models of the configuration that are not served.

    Attributes:
        unavailable: Names that have no deployment left because a variable is not set, and what to do about it.
        spares: The fallbacks that answer for such a name, if it has some.
        reasons: Why each model was left out.
        names: All names of the file in its order, or none if there is no file.
    """

    unavailable: Mapping[str, str] = field(default_factory=dict)
    spares: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The router, settings and keys of a gateway, which a reload replaces as a whole.

    Attributes:
        router: Answers the calls.
        settings: Those of the gateway.
        access: Finds out who calls.
        absent: What is not served.
        isolation: Gives each caller a cache of its own, if the settings say so.
        guardrails: Those that a request or a key may name.
    """

    router: Router
    settings: GatewaySettings
    access: Access
    absent: Absent = field(default_factory=Absent)
    isolation: Isolation | None = None
    guardrails: Sequence[NamedGuardrail] = ()

    def names(self, caller: Caller) -> list[str]:
        """The names that a caller may use, and that something answers for.

        They include those that its key names and that a wildcard stands for.
        """
        named = [name for name in (*self.router.model_names, *self.absent.spares) if caller.may_use(name)]
        return [*named, *(name for name in caller.models or () if name not in named and self._is_in_wildcard(name))]

    def model(
        self,
        name: str | None,
        caller: Caller,
        others: Sequence[str] = (),
        fallbacks: Sequence[str] | None = None,
    ) -> tuple[str, BaseReranker]:
        """The model that a request names, or the default, and the name that it has here.

        Args:
            name: As in the request.
            caller: Who asks.
            others: Names to try if there is no such model.
            fallbacks: Those of the request, in the place of the model's own.

        Raises:
            GatewayError: There is none, or the caller may not use it; or one of the fallbacks is wrong, or they are too
                many.
        """
        named = () if name is None else (name, *others)
        for candidate in [each for given in named for each in _spellings(given)] or [self._default(caller)]:
            if candidate not in self.absent.unavailable and not self._has(candidate):
                continue
            if caller.may_use(candidate):
                chosen = None if fallbacks is None else self._chosen(candidate, fallbacks, caller)
                return candidate, self._reranker(candidate, chosen)
            raise GatewayError(
                kind="permission_error",
                message=f"this key may not use the model {candidate!r}; it may use {self._listed(caller)}",
                param="model",
            )
        raise GatewayError(kind="unknown_model", message=self._unknown(name, caller), param="model")

    def guardrails_for(self, names: Sequence[str]) -> tuple[Guardrail, ...]:
        """The guardrails of a call: those of the router, and those that the call names.

        Raises:
            GatewayError: There is no such guardrail.
        """
        always = self.router.options.guardrails
        known = {each.name: each for each in self.guardrails}
        for name in names:
            if name not in known:
                message = f"there is no guardrail {name[:80]!r}; the gateway has {', '.join(known) or 'none'}"
                raise bad_request(message, "guardrails")
        named = (known[name] for name in dict.fromkeys(names))
        return (*always, *(each for each in named if each not in always))

    def _unknown(self, name: str | None, caller: Caller) -> str:
        may = f"this key may use {self._listed(caller)}"
        if name is None:
            return f"there is no model; {may}"
        for each in _spellings(name):
            if each in self.absent.reasons and caller.may_use(each):
                return f"the gateway left out the model {each[:80]!r}: {self.absent.reasons[each]}; {may}"
        what = f"there is no model {name[:80]!r}; {may}"
        with_prefix = not self.absent.names and name.partition("/")[0] in providers.names() and len(name) <= 80
        return f"{what}; or start it with --model {name}" if with_prefix else what

    def knows(self, name: str) -> bool:
        """Whether the configuration has a model of a name, or one that a pattern with `*` fits."""
        if is_wildcard(name) and any(matches(name, each) for each in (*self.router.model_names, *self.absent.names)):
            return True
        return name in self.absent.names or self._has(name)

    def _is_in_wildcard(self, name: str) -> bool:
        """Whether a wildcard stands for a name, or for all that a narrower wildcard stands for."""
        if not any(is_wildcard(each) and matches(each, name) for each in self.router.model_names):
            return False
        return is_wildcard(name) or self._has(name)

    def _has(self, name: str) -> bool:
        try:
            self.router.as_reranker(name)
        except BadRequestError:
            return False
        return True

    def _reranker(self, name: str, fallbacks: Sequence[str] | None) -> BaseReranker:
        """A model, or what answers for one that has no deployment left."""
        if name not in self.absent.unavailable:
            return self.router.as_reranker(name, fallbacks)
        names = self.absent.spares.get(name, ()) if fallbacks is None else fallbacks
        if not names:
            raise GatewayError(kind="unavailable", message=self.absent.unavailable[name])
        return self.router.as_reranker(names[0], names[1:])

    def _chosen(self, name: str, fallbacks: Sequence[str], caller: Caller) -> list[str]:
        """The fallbacks of a request, by the names that they have here.

        Raises:
            GatewayError: There is no such fallback, the caller may not use it, or there are too many.
        """
        if len(fallbacks) > _MOST_FALLBACKS:
            raise bad_request(f"fallbacks may name {_MOST_FALLBACKS} models, got {len(fallbacks)}", "fallbacks")
        found = dict.fromkeys(self.model(each, caller)[0] for each in fallbacks)
        served = [other for each in found for other in self.absent.spares.get(each, (each,))]
        return [each for each in dict.fromkeys(served) if each != name]

    def _default(self, caller: Caller) -> str:
        known = dict.fromkeys((*self.absent.names, *self.router.model_names))
        served = {*self.router.model_names, *self.absent.unavailable}
        mine = [name for name in known if name in served and not is_wildcard(name) and caller.may_use(name)]
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
