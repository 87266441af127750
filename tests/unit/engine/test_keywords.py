"""The keyword arguments for type checkers agree with the options, and with what providers declare."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import httpx
import pytest
from pydantic import SecretStr

from anyrerank import Reranker, Router, arerank, rerank
from anyrerank._core.client import FunctionKeywords, RerankerKeywords
from anyrerank._core.engine import (
    ALIASES,
    CallKeywords,
    Options,
    RerankerOptions,
    RouterCallKeywords,
)
from anyrerank._core.engine import keywords as module
from anyrerank._core.engine.options import UNIFIED
from anyrerank.providers import load, names

PROVIDERS = [load(name) for name in names()]
POSITIONAL = {"top_n", "rank_fields", "return_documents", "max_chunks_per_doc", "max_tokens_per_doc"}

WIDER = {
    "timeout": float | str | httpx.Timeout | None,
    "rank_fields": Sequence[str] | None,
    "http_client": httpx.Client | httpx.AsyncClient | None,
    "fallbacks": Sequence[str | Reranker],
}
"""Options that are converted, or checked by other means than their annotation."""


def hints(keywords: Any) -> dict[str, Any]:
    """The annotations of a TypedDict, with what only type checkers import."""
    return get_type_hints(keywords, localns={"httpx": httpx, "SecretStr": SecretStr, "Reranker": Reranker})


def plain(annotation: Any) -> Any:
    """An annotation without `Annotated`, and with the members of a union in no order."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return plain(get_args(annotation)[0])
    if origin in (Union, UnionType):
        members: list[Any] = []
        for member in map(plain, get_args(annotation)):
            members += member if isinstance(member, frozenset) else [member]
        return frozenset(members)
    return annotation


OWN = {*Options.model_fields, *(alias for alias, name in ALIASES.items() if name in Options.model_fields)}
CONNECTION = {*RerankerOptions.model_fields, *ALIASES} - OWN
PROVIDER_OPTIONS = frozenset[str]().union(*(kind.options for kind in PROVIDERS)) - set(UNIFIED)
SETTINGS = frozenset[str]().union(*(kind.settings.keys() for kind in PROVIDERS))


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        (CallKeywords, OWN | PROVIDER_OPTIONS),
        (RouterCallKeywords, OWN | PROVIDER_OPTIONS | {"fallbacks"}),
        (RerankerKeywords, OWN | CONNECTION | PROVIDER_OPTIONS | SETTINGS),
        (FunctionKeywords, (OWN | CONNECTION | PROVIDER_OPTIONS | SETTINGS) - POSITIONAL),
        (module.ProviderKeywords, PROVIDER_OPTIONS),
        (module.SettingKeywords, SETTINGS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_keywords_are_the_options(keywords: Any, expected: set[str]) -> None:
    assert set(hints(keywords)) == expected


@pytest.mark.parametrize("name", [*RerankerOptions.model_fields])
def test_keyword_has_the_type_of_the_option(name: str) -> None:
    field = RerankerOptions.model_fields[name]
    assert plain(hints(RerankerKeywords)[name]) == plain(WIDER.get(name, field.annotation))


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_alias_has_the_type_of_the_option(alias: str, name: str) -> None:
    found = hints(RerankerKeywords)
    assert plain(found[alias]) | {type(None)} == plain(found[name] | None)


@pytest.mark.parametrize("name", sorted(POSITIONAL))
def test_positional_parameter_has_the_type_of_the_option(name: str) -> None:
    annotation = get_type_hints(inspect.unwrap(rerank))[name]
    assert plain(annotation) == plain(hints(CallKeywords)[name])


def test_secret_settings_may_be_secret_strings() -> None:
    found = hints(module.SettingKeywords)
    secret = {name for kind in PROVIDERS for name, setting in kind.settings.items() if setting.secret}
    takes = {name for name, annotation in found.items() if annotation is Any or SecretStr in get_args(annotation)}
    assert secret - takes <= {"azure_ad_token_provider"}


# What help() and editors show

EVERYTHING = {"rerank": rerank, "arerank": arerank, "Reranker": Reranker.__init__}
CALLS = {
    f"{kind.__name__}.{name}": getattr(kind, name)
    for kind in (Reranker, Router)
    for name in ("rerank", "arerank", "rerank_many", "arerank_many")
}


def documented(function: Any) -> set[str]:
    """The names that the docstring of a function describes."""
    lines = (inspect.getdoc(function) or "").splitlines()
    heads = [line.strip().partition(":")[0] for line in lines if line.startswith("    ") and ":" in line]
    return {name.strip() for head in heads for name in head.split(",")}


@pytest.mark.parametrize(
    ("function", "options"),
    [*((each, RerankerOptions) for each in EVERYTHING.values()), *((each, Options) for each in CALLS.values())],
    ids=[*EVERYTHING, *CALLS],
)
def test_signature_and_docstring_list_every_option(function: Any, options: type[Options]) -> None:
    parameters, fields = inspect.signature(function).parameters, options.model_fields
    assert {name: parameters[name].default for name in fields} == {name: fields[name].default for name in fields}
    assert parameters.keys() - {"self"} <= documented(function)
    assert "{options}" not in (function.__doc__ or "")


@pytest.mark.parametrize("name", [*RerankerOptions.model_fields])
def test_every_option_is_described(name: str) -> None:
    assert RerankerOptions.model_fields[name].description
