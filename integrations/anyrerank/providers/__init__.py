"""One file for each provider; the name of the file is the prefix. Files whose name starts with `_` are shared code.

Providers that need no code of their own are rows in `_table`. Other packages add theirs through entry points in the
group `anyrerank.providers`, or a caller passes a class; `ADDING.md` in this folder explains both.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from anyrerank._core.types import Answer, RerankRequest, text_of, texts_of
from anyrerank.errors import ConfigurationError
from anyrerank.providers._base import (
    CohereStyle,
    Connection,
    Provider,
    Setting,
    UnusableAnswerError,
    dig,
    dollars,
    endpoint,
    in_order,
    is_http_url,
    ranked,
    usage,
)

__all__ = [
    "ENTRY_POINTS",
    "Answer",
    "CohereStyle",
    "Connection",
    "Provider",
    "RerankRequest",
    "Setting",
    "UnusableAnswerError",
    "also_called",
    "dig",
    "dollars",
    "endpoint",
    "in_order",
    "is_http_url",
    "load",
    "names",
    "ranked",
    "text_of",
    "texts_of",
    "usage",
    "validate_class",
]

ENTRY_POINTS = "anyrerank.providers"
"""The group of entry points in which other packages register providers."""


def names() -> tuple[str, ...]:
    """The prefixes of all providers, sorted."""
    return tuple(sorted({*_files(), *_rows(), *(point.name for point in entry_points(group=ENTRY_POINTS))}))


@cache
def load(prefix: str) -> type[Provider]:
    """The provider class for a prefix. Imports only the file of that provider.

    A provider of this package takes precedence over an entry point of the same name.

    Raises:
        ConfigurationError: There is no such provider; the message suggests similar names. Or the entry point of that
            name cannot be imported or is not a provider.
    """
    if prefix in _files():
        return _in_file(prefix)
    if prefix in _rows():
        return _rows()[prefix]
    for point in entry_points(group=ENTRY_POINTS, name=prefix):
        return _in_entry_point(point)
    raise ConfigurationError(f"unknown provider '{prefix[:60]}': {_suggestion(prefix)}")


_ALSO_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "alibaba": "dashscope",
        "aliyun": "dashscope",
        "amazon": "bedrock",
        "atlas": "voyage",
        "aws": "bedrock",
        "azure": "azure_ai",
        "azure_ai_foundry": "azure_ai",
        "azure_openai": "azure_ai",
        "bailian": "dashscope",
        "cf": "cloudflare",
        "cross_encoder": "sentence_transformers",
        "dashscope_intl": "dashscope",
        "databricks": "cohere_compatible",
        "discoveryengine": "vertex_ai",
        "elastic": "elasticsearch",
        "es": "elasticsearch",
        "fireworks": "fireworks_ai",
        "flashrank": "fastembed",
        "gcp": "vertex_ai",
        "gemini": "vertex_ai",
        "google": "vertex_ai",
        "gpustack": "jina_compatible",
        "hf": "huggingface",
        "ibm": "watsonx",
        "jina": "jina_ai",
        "litellm": "litellm_proxy",
        "llamacpp": "llama_cpp",
        "lm_studio": "cohere_compatible",
        "mongodb": "voyage",
        "mxbai": "mixedbread",
        "nemo": "nvidia_nim",
        "nim": "nvidia_nim",
        "nvidia": "nvidia_nim",
        "ollama": "cohere_compatible",
        "openai": "cohere_compatible",
        "openai_like": "cohere_compatible",
        "qwen": "dashscope",
        "sagemaker": "cohere_compatible",
        "sbert": "sentence_transformers",
        "st": "sentence_transformers",
        "tei": "huggingface",
        "text_embeddings_inference": "huggingface",
        "together": "together_ai",
        "vertex": "vertex_ai",
        "vllm": "hosted_vllm",
        "voyageai": "voyage",
        "workers_ai": "cloudflare",
        "zerank": "zeroentropy",
    }
)
"""Names by which people look for a provider."""


def also_called(name: str) -> str | None:
    """The prefix of a provider that people know under another name, or `None`."""
    return _ALSO_CALLED.get(name.lower().replace("-", "_"))


def _suggestion(prefix: str) -> str:
    """The providers that may be meant."""
    plain = prefix.lower().replace("-", "_")
    similar = [plain] if plain in names() else difflib.get_close_matches(plain, [*names(), *_ALSO_CALLED], n=3)
    found = dict.fromkeys(_ALSO_CALLED.get(each, each) for each in ([plain] if plain in _ALSO_CALLED else similar))
    return f"did you mean {' or '.join(found)}?" if found else "`anyrerank providers` lists all"


def validate_class(kind: Any) -> type[Provider]:
    """`kind`, if it is a provider class with `prefix` and `title`.

    Raises:
        ConfigurationError: It is not.
    """
    if not (isinstance(kind, type) and issubclass(kind, Provider)):
        got = kind.__name__ if isinstance(kind, type) else type(kind).__name__
        raise ConfigurationError(f"a custom provider must be a subclass of anyrerank.providers.Provider, got {got}")
    for name in ("prefix", "title"):
        if not isinstance(getattr(kind, name, None), str):
            raise ConfigurationError(f"the provider class {kind.__name__} must have a {name}, which is a string")
    return kind


@cache
def _files() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def _rows() -> dict[str, type[Provider]]:
    from anyrerank.providers._table import ROWS

    return ROWS


def _in_file(prefix: str) -> type[Provider]:
    module = importlib.import_module(f"{__name__}.{prefix}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Provider) and value.__module__ == module.__name__
    )


def _in_entry_point(point: EntryPoint) -> type[Provider]:
    try:
        kind = validate_class(point.load())
    except ConfigurationError as error:
        problem = error.message
    except Exception as error:  # noqa: BLE001  the module of another package may raise anything
        problem = f"{type(error).__name__}: {error}"
    else:
        if kind.prefix == point.name:
            return kind
        problem = f"its prefix is '{kind.prefix}'"
    raise ConfigurationError(f"the entry point '{point.name}' = {point.value} is not a usable provider: {problem}")
