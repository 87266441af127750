"""Options that only some providers have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyrerank._core.engine.options import CONNECTION, NAMES, UNIFIED
from anyrerank._core.engine.truncation import LOCAL_OPTION
from anyrerank._core.runtime import did_you_mean
from anyrerank.errors import BadRequestError
from anyrerank.providers import Provider


def provider_options(given: Mapping[str, Any], kind: type[Provider], *, drop_params: bool) -> dict[str, Any]:
    """The options in `given` that the provider has, or that are applied here.

    Raises:
        BadRequestError: The provider does not have one of them, and `drop_params` is false.
    """
    if not given:
        return {}
    known = option_names(kind)
    unknown = sorted(given.keys() - known)
    if unknown and not drop_params:
        raise BadRequestError(_unknown(unknown, kind), provider=kind.prefix)
    return {name: value for name, value in given.items() if name in known}


def option_names(kind: type[Provider]) -> frozenset[str]:
    """The options of a provider, and those that are applied here for any provider."""
    return kind.options | {LOCAL_OPTION}


def _unknown(unknown: list[str], kind: type[Provider]) -> str:
    everywhere = (NAMES - set(UNIFIED)) | CONNECTION | {LOCAL_OPTION}
    near = [did_you_mean(name, {*kind.options, *kind.settings, *everywhere}) for name in unknown]
    its = ", ".join(sorted({*kind.options, LOCAL_OPTION}))
    settings = f", and the settings {', '.join(sorted(kind.settings))}" if kind.settings else ""
    return (
        f"{kind.prefix} has no option {', '.join(unknown)}{next(filter(None, near), '')}; its own options are "
        f"{its}{settings}; all providers have those of anyrerank.Reranker, such as top_n and score_threshold. Use "
        "drop_params=True to drop options that a provider does not have"
    )
