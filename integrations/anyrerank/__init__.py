"""Rerank retrieved chunks through any provider, in the pipeline you already have.

`rerank` and `arerank` for one call, `Reranker` to keep, `Router` for several deployments. `anyrerank.langchain` and
`anyrerank.llama_index` hold the adapters for those frameworks, and import them only when they are imported themselves.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from anyrerank._core.client.attributes import using_attributes
    from anyrerank._core.client.functions import arerank, rerank
    from anyrerank._core.client.reranker import Reranker
    from anyrerank._core.client.router import Router
    from anyrerank._core.pricing.budget import Budget
    from anyrerank._core.types.schema import Attempt, Document, Meta, RerankResponse, RerankResult, Results
    from anyrerank.cache.base import MemoryCache
    from anyrerank.cache.sqlite import SQLiteCache
    from anyrerank.errors import (
        APIConnectionError,
        APIResponseValidationError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigurationError,
        FallbackError,
        GuardrailRaisedError,
        InternalServerError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RerankError,
    )

__version__ = "0.1.0"

__all__ = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APITimeoutError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Budget",
    "BudgetExceededError",
    "ConfigurationError",
    "Document",
    "FallbackError",
    "GuardrailRaisedError",
    "InternalServerError",
    "MemoryCache",
    "Meta",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RerankError",
    "RerankResponse",
    "RerankResult",
    "Reranker",
    "Results",
    "Router",
    "SQLiteCache",
    "__version__",
    "arerank",
    "rerank",
    "using_attributes",
]

_HOMES = {
    "Budget": "_core.pricing.budget",
    "MemoryCache": "cache",
    "Reranker": "_core.client.reranker",
    "Router": "_core.client.router",
    "SQLiteCache": "cache",
    "arerank": "_core.client.functions",
    "rerank": "_core.client.functions",
    "using_attributes": "_core.client.attributes",
} | dict.fromkeys(("Attempt", "Document", "Meta", "RerankResponse", "RerankResult", "Results"), "_core.types.schema")


def __getattr__(name: str) -> _typing.Any:
    """Load a public name when it is first used, so that importing the package costs next to nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
