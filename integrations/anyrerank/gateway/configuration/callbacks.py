"""The callbacks of LiteLLM's proxy: those that have an equivalent in a gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from anyrerank.hooks import Hook

_SETTINGS = ("callbacks", "failure_callback", "success_callback")
_OTEL = "otel"
_HONOURED = frozenset({_OTEL, "prometheus"})
"""`/metrics` is always there, whatever the callbacks are."""


def hooks_of(litellm: Mapping[str, Any]) -> tuple[Hook, ...]:
    """The hooks for the callbacks in `litellm_settings`.

    Raises:
        MissingExtraError: One of them needs a library that is not installed.
    """
    return (_opentelemetry(),) if any(_OTEL in _names(litellm.get(name)) for name in _SETTINGS) else ()


def lost_telemetry(hooks: Sequence[Hook]) -> str | None:
    """Why nothing is exported of what these hooks record, or `None`: that is up to an SDK in the same process."""
    trace = import_module("opentelemetry.trace") if hooks else None
    if trace is None or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return (
        "callbacks: otel: no OpenTelemetry SDK is set up in this process, so nothing is exported: start it with "
        "opentelemetry-instrument"
    )


def without_honoured(ignored: Iterable[str], litellm: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of settings that have no effect, without the callbacks that have one."""
    callbacks = {f"litellm_settings.{name}": _names(litellm.get(name)) for name in _SETTINGS}
    named = ((name, callbacks.get(name, [])) for name in ignored)
    shown = (_shown(name, names) for name, names in named)
    return tuple(name for name in shown if name is not None)


def _shown(setting: str, callbacks: list[str]) -> str | None:
    """A setting that has no effect, with the callbacks for which this is true if it is not true for all."""
    others = [each[:40] for each in callbacks if each not in _HONOURED]
    if len(others) == len(callbacks):
        return setting
    return f"{setting} ({', '.join(others)})" if others else None


def _names(value: object) -> list[str]:
    return list(map(str, value if isinstance(value, list) else [] if value is None else [value]))


@cache
def _opentelemetry() -> Hook:
    """One for the process, since every reload would define the same metrics again."""
    hook: Hook = import_module("anyrerank.telemetry").OpenTelemetry()  # an extra
    return hook
